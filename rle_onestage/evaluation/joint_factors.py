"""What a file of results leaves open of its joints: their names, and how wide their intervals and ellipses are.

A COCO result has the standard deviations of a person's joints. How many of them hold a coordinate with a probability
depends on the learned density and its correction, and is the same for all people. So it is written once, beside.
"""

import contextlib
import os
from typing import Any

from torch import Tensor

from ..errors import ConfigError
from ..structures import ErrorDensity, Skeleton
from .regions import REPORTED

DECIMALS = 4


def joint_factors(skeleton: Skeleton, density: ErrorDensity | None) -> dict[str, Any]:
    """What the file says.

    Args:
        skeleton: of the model.
        density: of its error; None: names and limbs alone.

    Returns:
        ``keypoints``, the K names, and ``skeleton``, the limbs as pairs of numbers from 1, both as in COCO's
        categories; and :func:`density_factors`.
    """
    limbs = [[a + 1, b + 1] for a, b in skeleton.limbs]
    return {"keypoints": list(skeleton.names), "skeleton": limbs, **density_factors(density)}


def density_of(predictor: Any) -> ErrorDensity | None:
    """The density of a predictor's errors; None of other architectures, which have none.

    Args:
        predictor: of a config, or of an exported file.
    """
    with contextlib.suppress(AttributeError, ConfigError):
        return predictor.error_density
    return None


def density_factors(density: ErrorDensity | None) -> dict[str, Any]:
    """How wide intervals and ellipses of 50, 80, 90 and 95 % are, in reported standard deviations.

    Args:
        density: of the model's error; None: there is nothing to say.

    Returns:
        ``half_widths`` and ``ellipse_radii`` by level in percent, such as ``"90"``, K numbers each.
    """
    if density is None:
        return {}
    density = density.to("cpu")
    found = {"half_widths": density.half_width, "ellipse_radii": density.ellipse_radius}
    return {key: {f"{100 * level:g}": _rounded(of(level)) for level in REPORTED} for key, of in found.items()}


def joints_path(results_path: str) -> str:
    """The file beside a file of results: ``people_joints.json`` beside ``people.json``.

    Args:
        results_path: of the results.
    """
    return f"{os.path.splitext(results_path)[0]}_joints.json"


def _rounded(values: Tensor) -> list[float]:
    return [round(value, DECIMALS) for value in values.double().tolist()]
