"""The tables of the RLE paper at the size of two cores: costs of heads, and losses under given boxes."""
