"""Densities of the standardised error: presets, the flow, their product, and the quadrature of each."""

from .build import build_density, density_from_config
from .densities import Density, FlowDensity, ReleasedDensity
from .flow import RealNVP
from .flow_1d import LineFlow
from .groups import GroupedDensity
from .presets import StudentPreset
from .registry import DENSITY_REGISTRY

__all__ = [
    "DENSITY_REGISTRY",
    "Density",
    "FlowDensity",
    "GroupedDensity",
    "LineFlow",
    "RealNVP",
    "ReleasedDensity",
    "StudentPreset",
    "build_density",
    "density_from_config",
]
