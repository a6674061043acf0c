"""The weights that come with the package, by name."""
