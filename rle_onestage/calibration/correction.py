"""The post-hoc correction of sigma: a scale and a power of each joint, and intervals, fitted on held-out people.

With ``s`` the square root of the person's predicted area, a joint's sigma becomes
``s exp(log_scale) (sigma / s)^power``.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..evaluation.calibration import has_std
from ..evaluation.per_joint import Matches
from ..evaluation.ranking import powered
from ..evaluation.results import Result
from ..modeling.postprocessing import Decoder
from ..structures import LEVELS, ErrorDensity, expected_joint_oks

# Standard deviations of the normal priors on a log-scale and on the log of a power: of what all joints share, about no
# correction, and of each joint about that. Some hundred labels outweigh the second. On held-out LSPET it gives 0.005
# nats a joint more than four times that width (ten splits), on synthetic people it makes no difference.
_SHARED, _OWN = (1.0, 0.5), (0.05, 0.05)
# Share of labels that may lie anywhere on the person, so that an absurd one carries nothing away.
_ANYWHERE = 1e-4
# A joint's own quantiles count as much as those of all joints once it has so many coordinates.
_COORDINATES = 100
# Results in one piece when expected OKS is computed anew.
_CHUNK = 500


class Correction(NamedTuple):
    """What the decoder's ``set_correction`` takes."""

    log_scale: Tensor  # (K,) log of the factor
    power: Tensor  # (K,)
    intervals: Tensor  # (K, L) half-widths in corrected standard deviations, at ``error_density.LEVELS``


def correct_sigma(sigma: Tensor, area: Tensor, correction: Correction) -> Tensor:
    """Corrected standard deviations.

    Args:
        sigma: (..., K, 2) predicted standard deviations, in pixels.
        area: (...) predicted areas, in square pixels.
        correction: of the K joints.

    Returns:
        (..., K, 2) in pixels.
    """
    size = area.clamp(min=1).sqrt()[..., None, None]
    return size * torch.exp(correction.log_scale)[:, None] * (sigma / size) ** correction.power[:, None]


def fit_correction(matches: Matches, density: ErrorDensity) -> Correction:
    """Fit by maximum likelihood, under the model's own density of the standardised error.

    One label in ten thousand may lie anywhere on the person. Few labels pull a joint's scale and power to those that
    all joints share, and these to no correction (normal priors). The intervals are empirical quantiles of
    ``|error| / corrected sigma`` over both coordinates, a joint's own mixed with those of all joints by its number of
    labels.

    Args:
        matches: with standard deviations and predicted areas.
        density: of the model's error, without fitted intervals.

    Returns:
        The correction, in float32.

    Raises:
        DataError: there is no labelled joint to fit to, or the predictions have no sigmas.
    """
    labelled = torch.from_numpy(matches.visibility > 0)
    if not labelled.any():
        raise DataError(
            "there is no labelled joint of a person matched at a box IoU of 0.5 to fit a correction to; give a set "
            "with more labelled people, or train the model longer"
        )
    if not has_std(matches) or not np.isfinite(matches.predicted_area).all():
        raise DataError("the predictions have no keypoint_sigmas and person_area, so there is nothing to correct")
    residual = torch.from_numpy(matches.joints - matches.predicted)  # (S, K, 2)
    std, area = torch.from_numpy(matches.std), torch.from_numpy(matches.predicted_area)
    log_scale, power = _fit_scales(residual, std, area, labelled, density)
    bare = Correction(log_scale, power, torch.zeros(len(power), len(LEVELS), dtype=power.dtype))
    units = (residual / correct_sigma(std, area, bare)).abs()
    return Correction(log_scale.float(), power.float(), _quantiles(units, labelled).float())


def _fit_scales(
    residual: Tensor, std: Tensor, area: Tensor, labelled: Tensor, density: ErrorDensity
) -> tuple[Tensor, Tensor]:
    """Log-scale and power (K,) by L-BFGS."""
    log_size = area.clamp(min=1).log()[:, None, None] / 2
    relative = torch.log(std) - log_size  # (S, K, 2)
    # About its centre, scale and power hardly depend on one another.
    centre = relative[labelled].mean()
    count, joints = int(labelled.sum()), labelled.shape[1]
    shared = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    own = torch.zeros(joints, 2, dtype=torch.float64, requires_grad=True)
    anywhere = math.log(_ANYWHERE) - 2 * log_size[..., 0]  # (S, 1) per square pixel
    shared_std, own_std = torch.tensor(_SHARED).double(), torch.tensor(_OWN).double()

    def objective() -> Tensor:
        log_scale, log_power = (shared + own).unbind(-1)
        log_sigma = log_size + centre + log_scale[:, None] + torch.exp(log_power)[:, None] * (relative - centre)
        # The density's Jacobian keeps sigma from growing without end.
        log_density = density.log_q(residual * torch.exp(-log_sigma)).double() - log_sigma.sum(-1)
        log_density = torch.logaddexp(log_density, anywhere)
        prior = ((shared / shared_std) ** 2).sum() / 2 + ((own / own_std) ** 2).sum() / 2
        return (prior - log_density[labelled].sum()) / count

    optimizer = torch.optim.LBFGS([shared, own], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        log_scale, log_power = (shared + own).unbind(-1)
        power = torch.exp(log_power)
        return centre + log_scale - power * centre, power


def _quantiles(units: Tensor, labelled: Tensor) -> Tensor:
    """Half-widths (K, L) from standardised absolute errors (S, K, 2)."""
    levels = torch.tensor(LEVELS, dtype=units.dtype)
    everyone = torch.quantile(units[labelled].flatten(), levels)
    rows = []
    for own, chosen in zip(units.unbind(1), labelled.unbind(1)):
        own = own[chosen].flatten()
        weight = len(own) / (len(own) + _COORDINATES)
        rows.append(everyone.lerp(torch.quantile(own, levels), weight) if len(own) else everyone)
    return torch.stack(rows)


class ConstantSigma(NamedTuple):
    """One standard deviation of each joint, as plain regression has it."""

    sigma: np.ndarray  # (K,) in pixels, or in units of the square root of the person's predicted area
    relative: bool

    def of(self, matches: Matches) -> Matches:
        """Matches with these standard deviations in place of the predicted ones.

        Args:
            matches: with predicted areas.
        """
        unit = np.sqrt(np.maximum(matches.predicted_area, 1.0)) if self.relative else np.ones(len(matches.area))
        return matches._replace(std=np.broadcast_to(self.sigma[:, None], matches.std.shape) * unit[:, None, None])


def fit_constant(matches: Matches, density: ErrorDensity, *, relative: bool) -> ConstantSigma:
    """The most likely constant standard deviation of each joint under the same density.

    Args:
        matches: with at least one labelled joint.
        density: see :func:`fit_correction`.
        relative: in units of the square root of the person's predicted area, else in pixels.

    Returns:
        One for each joint; a joint without labels has that of all joints.
    """
    labelled = torch.from_numpy(matches.visibility > 0)
    unit = np.sqrt(np.maximum(matches.predicted_area, 1.0)) if relative else np.ones(len(matches.area))
    residual = torch.from_numpy((matches.joints - matches.predicted) / unit[:, None, None])
    start = torch.log(residual.square().mean(-1)[labelled].mean().sqrt().clamp(min=1e-6))

    def cost(log_sigma: Tensor) -> Tensor:  # (K,) -> (K,)
        log_density = density.log_q(residual * torch.exp(-log_sigma)[:, None]).double() - 2 * log_sigma
        return -torch.where(labelled, log_density, 0.0).sum(0)

    joints = labelled.shape[1]
    shared = _golden_section(lambda x: cost(x.expand(joints)).sum()[None], start[None] - 5, start[None] + 3)
    own = _golden_section(cost, shared.expand(joints) - 4, shared.expand(joints) + 4)
    return ConstantSigma(torch.exp(torch.where(labelled.any(0), own, shared)).numpy(), relative)


def _golden_section(cost: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, steps: int = 40) -> Tensor:
    """Where a function of one variable is least, element by element, which SciPy 1.10 has no function for."""
    share = (math.sqrt(5) - 1) / 2
    for _ in range(steps):
        left, right = high - share * (high - low), low + share * (high - low)
        lower = cost(left) < cost(right)
        low, high = torch.where(lower, low, left), torch.where(lower, right, high)
    return (low + high) / 2


def corrected_results(results: Sequence[Result], correction: Correction, decoder: Decoder) -> list[Result]:
    """Results as the network would have given them with the correction, but for what suppression changes.

    Args:
        results: COCO results with ``keypoint_sigmas``, ``keypoint_presence``, ``score_factors`` and ``person_area``,
            from a model without a correction.
        correction: of the K joints.
        decoder: the model's: it has the density's nodes and the powers.

    Returns:
        New results, with sigmas, expected OKS of joints and people, and scores.
    """
    corrected: list[Result] = []
    correction = Correction(*(part.double() for part in correction))
    for start in range(0, len(results), _CHUNK):
        part = results[start : start + _CHUNK]
        sigmas, expected, factors, scores = _rescored([_stacked(part, key) for key in _NEEDED], correction, decoder)
        corrected += map(_replaced, part, sigmas, expected, factors, scores)
    return corrected


_NEEDED = ("keypoint_sigmas", "keypoint_presence", "score_factors", "person_area")


def _stacked(results: Sequence[Result], key: str) -> Tensor:
    """A field of N results: (N, ...)."""
    return torch.tensor([result[key] for result in results], dtype=torch.float64)


def _rescored(
    values: Sequence[Tensor], correction: Correction, decoder: Decoder
) -> tuple[list[list[float]], list[list[float]], list[list[float]], list[float]]:
    """Sigmas (N, 2K), expected OKS (N, K), factors (N, 3) and scores (N,) as nested lists."""
    found, presence, factors, area = values
    sigma = correct_sigma(found.view(len(found), -1, 2), area, correction)
    # The results are on the CPU, wherever the model is.
    *tables, oks_sigmas = (getattr(decoder, name).cpu().double() for name in ("nodes", "weights", "std", "sigmas"))
    nodes, weights, std = (table[decoder.group.cpu()] for table in tables)
    expected = expected_joint_oks(sigma / std, area, oks_sigmas, nodes, weights)
    person = (presence * expected).sum(1) / presence.sum(1).clamp(min=1e-6)
    factors = torch.cat([factors[:, :2], person[:, None]], 1)
    scores = powered(factors.numpy(), (decoder.person_power, decoder.quality_power, decoder.oks_power))
    return sigma.flatten(1).tolist(), expected.tolist(), factors.tolist(), scores.tolist()


def _replaced(result: Result, sigmas: list[float], expected: list[float], factors: list[float], score: float) -> Result:
    """A result with other sigmas, expected OKS of the joints, factors and score."""
    keypoints = list(result["keypoints"])
    keypoints[2::3] = expected
    return {**result, "keypoints": keypoints, "keypoint_sigmas": sigmas, "score_factors": factors, "score": score}
