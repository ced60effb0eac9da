"""Published files and the BREEDS tasks, by name; every download is verified."""
