"""The correction of the sigmas of joints in space: a factor for each coordinate of a joint, and its intervals."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..evaluation.space import SpaceMatches, coverage, match_in_space
from ..modeling.postprocessing import Decoder
from ..structures.depth_density import SpaceDensity
from ..structures.error_density import LEVELS
from ..utils.tables import table_text
from .samples import Sample

REPORTED = (0.5, 0.8, 0.9, 0.95)
AXES = ("x", "y", "depth")
# Labels that weigh as much as all joints together do: a joint with fewer goes with the others.
_PRIOR = 20.0
# Of the residuals a share is left out of the factor, so that a wrong match does not widen all intervals.
_TRIMMED = 0.99


def fit_space(matches: SpaceMatches) -> tuple[Tensor, Tensor]:
    """Factors and intervals that hold on people who were matched.

    A coordinate's residuals in sigmas have a root mean square, without the largest hundredth: that is the factor. The
    half-widths are quantiles of what is left. Both are means, in logs, of a joint's own and of all joints', weighted by
    their labels.

    Args:
        matches: S people with sigmas.

    Returns:
        (log_scale (K, 3), intervals (K, 3, L) at ``LEVELS``).

    Raises:
        DataError: nobody with depth was matched.
    """
    error = np.abs(matches.predicted - matches.labels)
    known = np.isfinite(error) & (matches.sigmas > 0)
    if not known[..., 2].any():
        raise DataError(
            "nobody with joints in space was found, so their sigmas cannot be calibrated; take images with "
            "`keypoints_3d`, or train longer"
        )
    z = np.where(known, error / np.where(known, matches.sigmas, 1), np.nan)
    joints = z.shape[1]
    log_scale, intervals = np.zeros((joints, 3)), np.zeros((joints, 3, len(LEVELS)))
    for axis in range(3):
        pooled_scale, pooled_widths = _of(z[..., axis].ravel())
        for joint in range(joints):
            own = z[:, joint, axis]
            number = int(np.isfinite(own).sum())
            share = number / (number + _PRIOR)
            scale, widths = _of(own) if number > 1 else (pooled_scale, pooled_widths)
            log_scale[joint, axis] = share * scale + (1 - share) * pooled_scale
            intervals[joint, axis] = np.exp(share * widths + (1 - share) * pooled_widths - log_scale[joint, axis])
    return torch.tensor(log_scale, dtype=torch.float32), torch.tensor(intervals, dtype=torch.float32)


def _of(z: np.ndarray) -> tuple[float, np.ndarray]:
    """Log of the factor, and logs of the half-widths in uncorrected sigmas, of residuals in sigmas."""
    z = np.maximum(z[np.isfinite(z)], 1e-6)
    kept = z[z <= np.quantile(z, _TRIMMED)]
    return float(np.log(np.sqrt((kept**2).mean()))), np.log(np.quantile(z, LEVELS))


def calibrate_space(decoder: Decoder, fit: Sample, held_out: Sample, names: Sequence[str]) -> OrderedDict[str, Any]:
    """Give a model the correction in space that fits some images; what it holds on others.

    Args:
        decoder: of the model, whose other correction is in place already.
        fit: labels and what the model finds now.
        held_out: the same of other images.
        names: K joint names.

    Returns:
        ``people`` that were fitted on and held out; the ``correction`` by joint; ``before`` and ``after``, the share of
        held-out coordinates within the intervals of each level, in percent.
    """
    matches, others = (
        match_in_space(sample.truth, sample.results, names, max_people=sample.max_people) for sample in (fit, held_out)
    )
    before = _held(others, decoder)
    log_scale, intervals = fit_space(matches)
    if decoder.space is not None:
        decoder.space.set_correction(log_scale, intervals)
    factor = np.exp(log_scale.numpy())
    after = _held(others._replace(sigmas=others.sigmas * factor), decoder)
    rows = zip(names, log_scale.tolist(), intervals.tolist())
    return OrderedDict(
        people={"fit": len(matches.labels), "held_out": len(others.labels)},
        correction={name: {"log_scale": scale, "intervals": widths} for name, scale, widths in rows},
        before=before,
        after=after,
    )


def _held(matches: SpaceMatches, decoder: Decoder) -> dict[str, dict[str, float]]:
    density: SpaceDensity | None = decoder.space_density()
    if density is None:
        return {}
    rows = {level: (100 * coverage(matches, density, level)).tolist() for level in REPORTED}
    return {axis: {f"{100 * level:g}": row[number] for level, row in rows.items()} for number, axis in enumerate(AXES)}


def format_space(report: Mapping[str, Any]) -> str:
    """The part of :func:`calibrate_space` as text."""
    columns = [f"{100 * level:g} %" for level in REPORTED]
    rows = [[f"{axis}, {key}", *report[key][axis].values()] for key in ("before", "after") for axis in report[key]]
    return table_text(rows, ["joints in space within intervals (%)", *columns])
