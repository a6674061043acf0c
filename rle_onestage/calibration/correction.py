"""The fit of the post-hoc correction of sigma, see :mod:`~rle_onestage.modeling.correction`, on held-out people.

A scale and a power of each joint, an exponent of the person's size and a factor of hidden joints are fitted to the
likelihood. One sigma cannot make all intervals and all regions hold where the true errors have another shape than the
learned ones. So intervals, ellipses and regions of highest density get the sizes that hold, each their own.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..evaluation.calibration import has_std
from ..evaluation.per_joint import Matches
from ..evaluation.ranking import powered
from ..evaluation.regions import density_levels, distances
from ..evaluation.results import Result
from ..modeling.correction import Correction, correct_sigma
from ..modeling.postprocessing import Decoder
from ..structures import LEVELS, ErrorDensity, expected_joint_oks
from ..structures.covariance import correlation_of, covariance_of, packed, unpacked

# Standard deviations of the normal priors on a log-scale and on the log of a power: of what all joints share, about no
# correction, and of each joint about that. Some hundred labels outweigh the second. On held-out LSPET it gives 0.005
# nats a joint more than four times that width (ten splits), on synthetic people it makes no difference.
_SHARED, _OWN = (1.0, 0.5), (0.05, 0.05)
# The same on the exponent of the person's size, and on the log-factor of a joint that is surely hidden, about none.
_SIZE, _HIDDEN = 0.2, 0.5
# Sizes of people within these quantiles are told apart; beyond, nothing was seen.
_SIZES = (0.02, 0.98)
# Share of labels that may lie anywhere on the person, so that an absurd one carries nothing away.
_ANYWHERE = 1e-4
# A joint's own quantiles count as much as those of all joints once it has so many coordinates.
_COORDINATES = 100
# Results in one piece when expected OKS is computed anew.
_CHUNK = 500


def fit_correction(matches: Matches, density: ErrorDensity) -> Correction:
    """Fit by maximum likelihood, under the model's own density of the standardised error.

    One label in ten thousand may lie anywhere on the person. Few labels pull a joint's scale and power to those that
    all joints share, and these to no correction (normal priors); so do they the dependence on the person's size and on
    visibility, which all joints share. Without predicted visibility there is no dependence on it.

    The intervals are empirical quantiles of ``|error| / corrected sigma`` over both coordinates, the ellipses' radii
    those of the Mahalanobis distance, the regions' levels those of the density's own level of the label's region; a
    joint's own are mixed with those of all joints by its number of labels.

    Args:
        matches: with standard deviations and predicted areas.
        density: of the model's error, without fitted intervals and regions.

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
    log_scale, power, dependence = _fit_scales(matches, labelled, density)
    bare = Correction(log_scale, power, torch.zeros(len(power), len(LEVELS), dtype=power.dtype), None, dependence)
    corrected = matches._replace(std=corrected_std(matches, bare))
    units = torch.from_numpy(np.abs(corrected.joints - corrected.predicted) / corrected.std)
    levels = torch.from_numpy(density_levels(corrected, density))
    radii = torch.from_numpy(distances(corrected))
    # Without covariances the density's own ellipses stay.
    own_radii = torch.stack([density.ellipse_radius(level) for level in LEVELS], 1).to(units)
    radii = _quantiles(radii[..., None], labelled) if bool(torch.isfinite(radii).all()) else own_radii
    regions = torch.stack([radii, _quantiles(levels[..., None], labelled)], 1)
    parts = (log_scale, power, _quantiles(units, labelled), regions, dependence)
    return Correction(*(part.float() for part in parts))


def corrected_std(matches: Matches, correction: Correction) -> np.ndarray:
    """Corrected standard deviations (S, K, 2) of matched people, in pixels.

    Args:
        matches: with standard deviations and predicted areas.
        correction: of the K joints.
    """
    return correct_sigma(
        torch.from_numpy(matches.std),
        torch.from_numpy(matches.predicted_area),
        correction,
        input_area=torch.from_numpy(matches.input_area),
        visible=torch.from_numpy(matches.visible) if knows_visibility(matches) else None,
    ).numpy()


def knows_visibility(matches: Matches) -> bool:
    """Whether all matches come with probabilities of visibility."""
    return len(matches.visible) > 0 and bool(np.isfinite(matches.visible).all())


class _Features(NamedTuple):
    """What the fit of the scales looks at, S people."""

    residual: Tensor  # (S, K, 2) pixels
    log_size: Tensor  # (S, 1, 1) log of the size of the person, pixels
    relative: Tensor  # (S, K, 2) log of sigma over size, about its centre
    seen: Tensor  # (S, 1, 1) log of the size in pixels of the network's input, about the middle
    hidden: Tensor | None  # (S, K, 1) probability of being hidden; None: not known


def _fit_scales(matches: Matches, labelled: Tensor, density: ErrorDensity) -> tuple[Tensor, Tensor, Tensor]:
    """Log-scale and power (K,), and the dependence (4,), by L-BFGS."""
    residual, std, area, input_area, visible = (
        torch.from_numpy(part)
        for part in (
            matches.joints - matches.predicted, matches.std, matches.predicted_area, matches.input_area, matches.visible
        )
    )  # fmt: skip
    log_size = area.clamp(min=1).log()[:, None, None] / 2
    relative = torch.log(std) - log_size  # (S, K, 2)
    size = input_area.clamp(min=1).sqrt()
    least, most = torch.quantile(size[labelled.any(1)], torch.tensor(_SIZES, dtype=size.dtype))
    seen = size.clamp(least, most).log()[:, None, None]
    # About its centre, each parameter hardly depends on the others.
    centre, middle = relative[labelled].mean(), (least * most).log() / 2
    hidden = 1 - visible[..., None] if knows_visibility(matches) else None
    features = _Features(residual, log_size, relative - centre, seen - middle, hidden)
    log_scale, power, exponent, factor = _most_likely(features, labelled, density, centre)
    return log_scale + centre - power * centre, power, torch.stack([exponent, least, most, factor])


def _most_likely(
    features: _Features, labelled: Tensor, density: ErrorDensity, centre: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-scale and power (K,) about the centres, exponent of the size and log-factor of hidden joints."""
    count, joints = int(labelled.sum()), labelled.shape[1]
    shared = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    own = torch.zeros(joints, 2, dtype=torch.float64, requires_grad=True)
    depends = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    anywhere = math.log(_ANYWHERE) - 2 * features.log_size[..., 0]  # (S, 1) per square pixel
    shared_std, own_std, depends_std = (torch.tensor(std).double() for std in (_SHARED, _OWN, (_SIZE, _HIDDEN)))

    def objective() -> Tensor:
        log_scale, log_power = (shared + own).unbind(-1)
        log_sigma = features.log_size + centre + log_scale[:, None] + torch.exp(log_power)[:, None] * features.relative
        log_sigma = log_sigma + depends[0] * features.seen
        if features.hidden is not None:
            log_sigma = log_sigma + depends[1] * features.hidden
        # The density's Jacobian keeps sigma from growing without end.
        log_density = density.log_q(features.residual * torch.exp(-log_sigma)).double() - log_sigma.sum(-1)
        log_density = torch.logaddexp(log_density, anywhere)
        parts = (shared / shared_std, own / own_std, depends / depends_std)
        prior = sum((part**2).sum() for part in parts) / 2
        return (prior - log_density[labelled].sum()) / count

    optimizer = torch.optim.LBFGS([shared, own, depends], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        log_scale, log_power = (shared + own).unbind(-1)
        return log_scale, torch.exp(log_power), *depends.detach()


def _quantiles(units: Tensor, labelled: Tensor) -> Tensor:
    """Half-widths (K, L) from standardised absolute errors (S, K, 2); radii and levels from (S, K, 1)."""
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
        results: COCO results with ``keypoint_sigmas``, ``keypoint_covariances``, ``keypoint_presence``,
            ``score_factors`` and ``person_area``, from a model without a correction; ``input_area`` where the network's
            input had other pixels, ``keypoint_visibility`` where the model says it.
        correction: of the K joints.
        decoder: the model's: it has the density's nodes and the powers.

    Returns:
        New results, with sigmas, covariances, expected OKS of joints and people, and scores.
    """
    corrected: list[Result] = []
    parts: dict[str, Any] = {name: None if v is None else v.double() for name, v in correction._asdict().items()}
    correction = Correction(**parts)
    for start in range(0, len(results), _CHUNK):
        part = results[start : start + _CHUNK]
        corrected += map(_replaced, part, *_rescored(part, correction, decoder))
    return corrected


def _stacked(results: Sequence[Result], key: str) -> Tensor:
    """A field of N results: (N, ...)."""
    return torch.tensor([result[key] for result in results], dtype=torch.float64)


def _rescored(
    results: Sequence[Result], correction: Correction, decoder: Decoder
) -> tuple[list[list[float]], list[list[float]], list[list[float]], list[list[float]], list[float]]:
    """Sigmas (N, 2K), covariances (N, 3K), expected OKS (N, K), factors (N, 3) and scores (N,) as nested lists."""
    keys = ("keypoint_sigmas", "keypoint_presence", "score_factors", "person_area")
    found, presence, factors, area = (_stacked(results, key) for key in keys)
    input_area = torch.tensor([r.get("input_area", r["person_area"]) for r in results], dtype=torch.float64)
    known = all("keypoint_visibility" in r for r in results)
    visible = _stacked(results, "keypoint_visibility") if known else None
    sigma = found.view(len(found), -1, 2)
    sigma = correct_sigma(sigma, area, correction, input_area=input_area, visible=visible)
    # The results are on the CPU, wherever the model is.
    *tables, oks_sigmas = (getattr(decoder, name).cpu().double() for name in ("nodes", "weights", "std", "oks_sigmas"))
    nodes, weights, std = (table[decoder.group.cpu()] for table in tables)
    expected = expected_joint_oks(sigma / std, area, oks_sigmas, nodes, weights)
    person = (presence * expected).sum(1) / presence.sum(1).clamp(min=1e-6)
    factors = torch.cat([factors[:, :2], person[:, None]], 1)
    scores = powered(factors.numpy(), (decoder.score_power, decoder.quality_power, decoder.oks_power))
    before = _stacked(results, "keypoint_covariances").view(len(found), -1, 3).numpy()
    covariance = covariance_of(sigma, torch.from_numpy(correlation_of(unpacked(before))))
    numbers = packed(covariance.numpy()).reshape(len(found), -1)
    return sigma.flatten(1).tolist(), numbers.tolist(), expected.tolist(), factors.tolist(), scores.tolist()


def _replaced(
    result: Result,
    sigmas: list[float],
    covariances: list[float],
    expected: list[float],
    factors: list[float],
    score: float,
) -> Result:
    """A result with other sigmas, covariances, expected OKS of the joints, factors and score."""
    keypoints = list(result["keypoints"])
    keypoints[2::3] = expected
    own = {"keypoints": keypoints, "keypoint_sigmas": sigmas, "keypoint_covariances": covariances}
    return {**result, **own, "score_factors": factors, "score": score}
