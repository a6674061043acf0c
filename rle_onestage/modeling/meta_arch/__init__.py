"""The architecture, and how a config makes its parts."""
