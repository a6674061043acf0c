"""Densities of the standardised error: presets, the flow, their product, and the quadrature of each."""

from .densities import Density, FlowDensity, GroupedDensity, ReleasedDensity, build_density
from .flow import RealNVP

__all__ = ["Density", "FlowDensity", "GroupedDensity", "RealNVP", "ReleasedDensity", "build_density"]
