"""Files of any address, as `glocal transforms pull` brings them."""
