"""Where densities are made known to the config."""

from ...utils.registry import NamedRegistry

# Subclasses of :class:`~.densities.Density`; a config names one as ``MODEL.RLE_ONESTAGE.DENSITY``.
DENSITY_REGISTRY = NamedRegistry("DENSITY", "MODEL.RLE_ONESTAGE.DENSITY")
