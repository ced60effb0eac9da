"""Score many arms on many tasks: a TOML file names them, and a folder holds the results."""
