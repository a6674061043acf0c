"""Videos: reading and writing them, and people followed through them."""
