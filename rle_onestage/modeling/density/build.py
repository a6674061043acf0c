"""Densities by the name that a config gives them."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode

from ...errors import ConfigError
from .densities import Density
from .groups import GroupedDensity
from .registry import DENSITY_REGISTRY


def build_density(name: str, *, groups: Sequence[int] | None = None, **options: Any) -> Density | GroupedDensity:
    """Build a density by its name in the config.

    Args:
        name: in ``DENSITY_REGISTRY``: "rle", "rle_released", "flow", "laplace", "gaussian", "student", "l1", "l2", or a
            user's.
        groups: (K,) index of the group of each joint, 0 to G - 1, when groups shall have densities of their own.
        options: of the constructor, such as ``preset``, ``couplings`` and ``hidden``; each class takes those that it
            has.

    Raises:
        ConfigError: for another name, a preset that the density does not have, or a user's density that does not
            integrate to 1.
    """
    cls = DENSITY_REGISTRY.get(name)
    known = inspect.signature(cls).parameters
    return _grouped(lambda: cls(**{key: value for key, value in options.items() if key in known}), groups)


def density_from_config(
    cfg: CfgNode, groups: Sequence[int] | None = None, *, dims: int = 2, name: str = ""
) -> Density | GroupedDensity:
    """The density that ``MODEL.RLE_ONESTAGE.DENSITY`` names, with the options that its class takes from ``cfg``.

    Args:
        cfg: the config.
        groups: (K,) index of the group of each joint; None for one density for all.
        dims: D, of the residual.
        name: another one in its place.

    Raises:
        ConfigError: there is no density of the name, or one in the plane alone, or a user's that does not integrate
            to 1.
    """
    name = name or cfg.MODEL.RLE_ONESTAGE.DENSITY
    cls = DENSITY_REGISTRY.get(name)
    if dims == 2:
        return _grouped(lambda: cls(**cls.from_config(cfg)), groups)
    if "dims" not in inspect.signature(cls).parameters:
        raise ConfigError(
            f"MODEL.RLE_ONESTAGE.DENSITY {name} is for two dimensions alone, but depth has {dims}; let its constructor "
            "take `dims`, or name another one by MODEL.RLE_ONESTAGE.DEPTH.DENSITY"
        )
    return _grouped(lambda: cls(**cls.from_config(cfg), dims=dims), groups)


def _grouped(make: Callable[[], Density], groups: Sequence[int] | None) -> Density | GroupedDensity:
    """One density, or one for each group, with their nodes placed; ConfigError for a user's that is none."""
    count = 1 if groups is None else max(groups) + 1
    members = [make() for _ in range(count)]
    for member in members:
        _check_shape(member)
    density = members[0] if groups is None or count == 1 else GroupedDensity(members=members, group=list(groups))
    density.refresh()
    for member in members:
        if wrong := member.wrong_mass():
            raise ConfigError(wrong)
        member._warns_of_mass = True  # of what it becomes while it learns
    return density


@torch.no_grad()
def _check_shape(density: Density) -> None:
    """Raises ConfigError unless ``log_q`` gives one number for each residual, which quadrature takes for granted."""
    e = density.fitted.new_full((2, 3, density.cubature.dims), 0.5)
    joint = torch.zeros(2, 3, dtype=torch.int64, device=e.device)
    given = density.log_q(e) if density.rows == 1 else density.log_q(e, joint)
    shape = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
    if shape != (2, 3):
        hint = ", so it lacks .sum(-1)" if shape == tuple(e.shape) else ""
        raise ConfigError(
            f"MODEL.RLE_ONESTAGE.DENSITY {type(density).__name__}: its log_q gives {shape} for residuals of the shape "
            f"{tuple(e.shape)}{hint}; let it give (2, 3), a log-density for each residual"
        )
