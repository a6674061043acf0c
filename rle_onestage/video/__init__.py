"""Videos: reading and writing them, and people tracked through them."""
