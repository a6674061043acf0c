"""The peers' losses and uncertainties on this project's network.

Importing it registers densities, heads and the architecture ``PeerRule``: a config names it by ``IMPORTS``.
"""

from . import architecture, densities, parts

__all__ = ["architecture", "densities", "parts"]
