"""Ask people about your own images over HTTP, and export their answers at any time."""

__version__ = "0.1.0"
