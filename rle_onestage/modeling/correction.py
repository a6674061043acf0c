"""The correction of sigma that a calibration fits, and decode and evaluation apply.

With ``s`` the square root of the person's predicted area, a joint's sigma becomes ``s exp(log_scale) (sigma /
s)^power``, times ``t^size exp(hidden (1 - v))``: ``t`` is the person's size in pixels of the network's input, kept
within the sizes that were fitted and over their geometric middle, and ``v`` the probability that the joint is visible,
where the model says it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# Places in ``dependence``: exponent of the size, range of sizes, and log-factor of a joint that is surely hidden.
DEPENDENCE = ("size", "smallest", "largest", "hidden")
INDEPENDENT = (0.0, 1.0, 1.0, 0.0)


class Correction(NamedTuple):
    """What the decoder's ``set_correction`` takes."""

    log_scale: Tensor  # (K,) log of the factor
    power: Tensor  # (K,)
    intervals: Tensor  # (K, L) half-widths in corrected standard deviations, at ``error_density.LEVELS``
    regions: Tensor | None = None  # (K, 2, L) see ``ErrorDensity``; None: those of the density
    dependence: Tensor | None = None  # (4,) see ``DEPENDENCE``; None: on nothing


def correct_sigma(
    sigma: Tensor,
    area: Tensor,
    correction: Correction,
    *,
    input_area: Tensor | None = None,
    visible: Tensor | None = None,
) -> Tensor:
    """Corrected standard deviations.

    Args:
        sigma: (..., K, 2) predicted standard deviations, in pixels.
        area: (...) predicted areas, in square pixels.
        correction: of the K joints.
        input_area: (...) the areas in square pixels of the network's input; None: ``area`` is in these.
        visible: (..., K) probabilities that a labelled joint is visible; None: the model does not say.

    Returns:
        (..., K, 2) in pixels.
    """
    size = area.clamp(min=1).sqrt()[..., None, None]
    corrected = size * torch.exp(correction.log_scale)[:, None] * (sigma / size) ** correction.power[:, None]
    if correction.dependence is None:
        return corrected
    power, smallest, largest, hidden = correction.dependence.unbind(-1)
    seen = (area if input_area is None else input_area).clamp(min=1).sqrt()
    middle = (smallest * largest).log() / 2
    factor = (power * (seen.clamp(min=smallest, max=largest).log() - middle))[..., None]
    if visible is not None:
        factor = factor + hidden * (1 - visible)
    return corrected * torch.exp(factor)[..., None]
