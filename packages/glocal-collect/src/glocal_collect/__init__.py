"""People → answers: a study of your own images, asked for over HTTP, kept in a database, exported at any time."""

__version__ = "0.1.0"
