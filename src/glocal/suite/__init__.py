"""Score many arms on many tasks: a TOML file names them, a folder keeps the results."""
