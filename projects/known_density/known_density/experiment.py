"""A test bed in which the true density of the labels is known: does a loss find it?

A point has features, as a joint has in an image: whether it is occluded, how blurred and how small it is, where it
lies. They decide the true joint and the true standard deviation of its label, 0.5 to 10 pixels; the noise is of a
chosen model (:mod:`synthetic_people.noise`). A small network predicts the joint and the scale from the
features and is trained as the detector is: the project's density and sigma codec, the preset alone at first, the nodes
of the normaliser renewed every 25 iterations. On fresh points, what is reported is compared with what is true.
"""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from synthetic_people.noise import NOISE_MODELS, NoiseModel
from tabulate import tabulate
from torch import Tensor, nn
from tqdm import tqdm

from rle_onestage.data.coco.json_files import load_json
from rle_onestage.errors import ConfigError
from rle_onestage.evaluation.results import write_json
from rle_onestage.modeling.codec import ScaleCodec
from rle_onestage.modeling.criterion import Criterion
from rle_onestage.modeling.density import build_density
from rle_onestage.modeling.density.densities import Density


@dataclass(frozen=True)
class Loss:
    """How a loss is trained here.

    Attributes:
        density: arguments of :func:`~rle_onestage.modeling.density.build_density`.
        form: of the sigma codec.
        stride: its unit in pixels.
        clamped: the mean over the batch, with sigma in strides, is clamped at zero.
    """

    density: dict
    form: str = "softplus"
    stride: float = 8.0
    clamped: bool = False


# The last two exist here only: the released sum with sigma a sigmoid, below one stride, and the same with its mean over
# the batch clamped at zero, both as in Ultralytics' PoseLoss26. The stride holds the largest true standard deviations.
LOSSES = {
    "l1": Loss({"name": "l1"}),
    "l2": Loss({"name": "l2"}),
    "laplace": Loss({"name": "laplace"}),
    "gaussian": Loss({"name": "gaussian"}),
    "student": Loss({"name": "student"}),
    "flow": Loss({"name": "flow"}),
    "rle": Loss({"name": "rle"}),
    "rle_gaussian": Loss({"name": "rle", "preset": "gaussian"}),
    "rle_student": Loss({"name": "rle", "preset": "student"}),
    "rle_released": Loss({"name": "rle_released"}),
    "rle_sigmoid": Loss({"name": "rle_released"}, form="sigmoid", stride=16.0),
    "rle_clamped": Loss({"name": "rle_released"}, form="sigmoid", stride=16.0, clamped=True),
}
GRID = np.linspace(-4, 4, 81)  # of the drawn densities, in true standard deviations
BINS = 10


@dataclass(frozen=True)
class Settings:
    """What decides the metrics of one case, beside the noise model and the loss.

    Attributes:
        steps: iterations of training.
        batch: fresh points in each.
        warmup: iterations with the preset alone.
        learning_rate: the highest.
        held_out: points of the evaluation.
        seed: of all random choices.
    """

    steps: int = 2000
    batch: int = 1024
    warmup: int = 300
    learning_rate: float = 5e-3
    held_out: int = 400_000
    seed: int = 0


@dataclass(frozen=True)
class Points:
    """n points, float32 tensors."""

    features: Tensor  # (n, 5): occluded, blur, size, x, y
    joints: Tensor  # (n, 2) true joints in pixels
    std: Tensor  # (n, 2) true standard deviations of the labels in pixels
    labels: Tensor  # (n, 2) in pixels


def make_points(noise_model: NoiseModel, count: int, rng: np.random.Generator) -> Points:
    """Fresh points with labels of a noise model.

    ``log s = log 0.6 + occluded + 0.9 blur + 0.4 (1 - size) +- 0.15 x``, + along x and - along y, with ``occluded`` 0
    or 1, ``blur`` in [0, 1] and ``size``, x, y in [-1, 1].

    Args:
        noise_model: of the labels.
        count: of the points.
        rng: what all random choices come from.
    """
    occluded = rng.random(count) < 0.3
    blur = rng.random(count)
    size, x, y = rng.uniform(-1, 1, (3, count))
    joints = 12 * np.stack([x + 0.4 * np.sin(2 * y) + 0.2 * size, y - 0.4 * x * size + 0.3 * occluded * np.cos(x)], 1)
    log_std = math.log(0.6) + occluded + 0.9 * blur + 0.4 * (1 - size)
    std = np.exp(np.stack([log_std + 0.15 * x, log_std - 0.15 * x], 1))
    features = np.stack([occluded, blur, size, x, y], 1)
    labels = joints + std * noise_model.sample(rng, count)
    return Points(*(torch.from_numpy(np.asarray(a, np.float32)) for a in (features, joints, std, labels)))


class Predictor(nn.Module):
    """Features to joint and scale, with a density: what the detector has behind its features.

    Args:
        loss: one of :data:`LOSSES`.
    """

    def __init__(self, *, loss: str):
        super().__init__()
        layers = [nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU()]
        last = nn.Linear(64, 4)
        self.layers = nn.Sequential(*layers, last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.how = LOSSES[loss]
        density = build_density(**self.how.density)
        assert isinstance(density, Density)  # for the type checker: without groups it is one of all joints
        self.density = density
        self.codec = ScaleCodec(form=self.how.form, floor=0.02, init=1.0, learned=bool(density.learns_scale))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, scale), both (n, 2) in pixels."""
        out = self.layers(features)
        unit = out.new_full((len(out),), self.how.stride)
        return out[:, :2] * self.how.stride, self.codec.decode(out[:, None, 2:], unit)[:, 0]

    def loss(self, points: Points, step: int, warmup: int) -> Tensor:
        """Mean loss in nats, in the way of :class:`~rle_onestage.modeling.criterion.Criterion`."""
        mu, sigma = self(points.features)
        residual = (points.labels - mu) / sigma
        self.density.fit(residual.detach())
        preset_only = step < warmup
        if not preset_only and step % Criterion.REFRESH_EVERY == 0:
            self.density.refresh(self.density.TRAINING_TOLERANCE)
        if self.how.clamped:
            in_strides = sigma / self.how.stride
            return self.density.nll(residual, in_strides, preset_only=preset_only).mean().clamp(min=0)
        return self.density.nll(residual, sigma, preset_only=preset_only).mean()


def train(noise: str, loss: str, settings: Settings, advance: Callable[[], object] = lambda: None) -> Predictor:
    """Train a predictor.

    Args:
        noise: name of the noise model.
        loss: one of :data:`LOSSES`.
        settings: of the training.
        advance: called after every step.

    Returns:
        The predictor, in evaluation mode.
    """
    noise_model = NOISE_MODELS[noise]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = Predictor(loss=loss)
    rng = np.random.default_rng([settings.seed, noise_model.number, 0])
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    for step in range(settings.steps):
        optimizer.zero_grad()
        model.loss(make_points(noise_model, settings.batch, rng), step, settings.warmup).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        advance()
    model.density.refresh()
    return model.eval()


@torch.no_grad()
def evaluate(model: Predictor, noise: str, settings: Settings) -> dict[str, Any]:
    """Metrics of a predictor on fresh points.

    Args:
        model: a :class:`Predictor`.
        noise: name of the noise model.
        settings: of the evaluation.

    Returns:
        dict of

        - ``sigma_ratio``: mean over points and coordinates of the reported standard deviation over the true one;
          ``sigma_ratio_worst``: the same in the tenth of the true standard deviations where it is furthest from 1;
        - ``bins``: of these tenths, mean true and reported standard deviation in pixels;
        - ``bias``: [x, y] mean of (reported point - true joint) / true standard deviation; ``point_error``: its root
          mean square over points and coordinates;
        - ``nll``, ``entropy``: nats per joint, in pixels, and ``excess`` their difference;
        - ``divergence``: mean of log true density - log reported density of the labels, which estimates the same as
          ``excess`` with less noise: the Kullback-Leibler divergence;
        - ``density``: reported density at GRID x GRID (x first), in true standard deviations about the true joint.
    """
    noise_model = NOISE_MODELS[noise]
    points = make_points(noise_model, settings.held_out, np.random.default_rng([settings.seed, noise_model.number, 1]))
    mu, sigma = model(points.features)
    _, _, mean, std = model.density.table()
    reported = sigma * std[0]
    ratio = reported / points.std
    offset = (mu + sigma * mean[0] - points.joints) / points.std
    nll = torch.log(sigma).sum(-1) - _log_q(model.density, (points.labels - mu) / sigma)
    log_true = torch.log(points.std).sum(-1)
    z = ((points.labels - points.joints) / points.std).double().numpy()
    true_nll = log_true.double() - torch.from_numpy(noise_model.log_prob(z))
    entropy = noise_model.entropy + float(log_true.double().mean())
    bins = _bins(points.std, reported, ratio)
    worst = max(bins, key=lambda b: abs(math.log(b["ratio"])))
    return {
        "sigma_ratio": float(ratio.mean()),
        "sigma_ratio_worst": worst["ratio"],
        "bins": bins,
        "bias": offset.mean(0).tolist(),
        "point_error": float(offset.square().mean().sqrt()),
        "nll": float(nll.double().mean()),
        "entropy": entropy,
        "excess": float(nll.double().mean()) - entropy,
        "divergence": float((nll.double() - true_nll).mean()),
        "density": _drawn_density(model, points).tolist(),
    }


def _log_q(density: Density, e: Tensor, chunk: int = 65536) -> Tensor:
    """Log (n,) of the reported density at residuals (n, 2)."""
    return torch.cat([density.reported_log_q(rows[None])[0] for rows in e.split(chunk)])


def _bins(true: Tensor, reported: Tensor, ratio: Tensor) -> list[dict[str, float]]:
    """Means in tenths of the true standard deviation, both coordinates together."""
    order = true.flatten().argsort()
    parts = zip(*(v.flatten()[order].tensor_split(BINS) for v in (true, reported, ratio)))
    return [{"true": float(t.mean()), "reported": float(r.mean()), "ratio": float(q.mean())} for t, r, q in parts]


def _drawn_density(model: Predictor, points: Points, count: int = 48) -> np.ndarray:
    """Mean over some points of the reported density of (label - true joint) / true standard deviation, on the grid."""
    axis = torch.tensor(GRID, dtype=torch.float32)
    z = torch.cartesian_prod(axis, axis)
    total = torch.zeros(len(z), dtype=torch.float64)
    mu, sigma = model(points.features[:count])
    for n in range(count):
        e = (points.joints[n] + points.std[n] * z - mu[n]) / sigma[n]
        log_density = _log_q(model.density, e) + torch.log(points.std[n] / sigma[n]).sum()
        total += log_density.double().exp()
    return (total / count).view(len(axis), len(axis)).numpy().round(6)


def run_case(noise: str, loss: str, settings: Settings, advance: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Train and evaluate one noise model and loss.

    Args:
        noise: name of the noise model.
        loss: one of :data:`LOSSES`.
        settings: of the case.
        advance: called after every step.

    Returns:
        The dict of :func:`evaluate` with ``noise_model``, ``loss`` and ``settings``.
    """
    metrics = evaluate(train(noise, loss, settings, advance), noise, settings)
    return {"noise_model": noise, "loss": loss, "settings": asdict(settings), **metrics}


def run_all(output: str, noises: Sequence[str], losses: Sequence[str], settings: Settings) -> list[dict[str, Any]]:
    """Every noise model under every loss.

    Each result is written to ``output/cases/NOISE-LOSS.json``; those that are there with the same settings are read.

    Args:
        output: folder.
        noises: names of the noise models.
        losses: of :data:`LOSSES`.
        settings: of all cases.

    Returns:
        list of dicts of :func:`run_case`.

    Raises:
        ConfigError: an unknown noise model or loss, or a number that is too small.
        MediaError: ``output`` cannot be written.
    """
    _check(noises, losses, settings)
    paths = {(name, loss): os.path.join(output, "cases", f"{name}-{loss}.json") for name in noises for loss in losses}
    done = {case: _read(path, settings) for case, path in paths.items()}
    missing = [case for case, metrics in done.items() if metrics is None]
    with tqdm(total=len(missing) * settings.steps, unit="step", mininterval=1, disable=not missing) as bar:
        for name, loss in missing:
            bar.set_description(f"{name}, {loss}")
            done[name, loss] = run_case(name, loss, settings, bar.update)
            write_json(done[name, loss], paths[name, loss])
    return [case for case in done.values() if case is not None]


def _check(noises: Sequence[str], losses: Sequence[str], settings: Settings) -> None:
    kinds: tuple[tuple[str, Sequence[str], Iterable[str]], ...] = (
        ("noise model", noises, NOISE_MODELS),
        ("loss", losses, LOSSES),
    )
    for name, values, known in kinds:
        for value in values:
            if value not in known:
                raise ConfigError(f"{name} {value!r} is unknown; choose from {', '.join(known)}")
    if settings.steps < 10 or settings.batch < 1 or settings.held_out < 100:
        raise ConfigError(
            f"{settings.steps} steps of {settings.batch} points and {settings.held_out} held out are too few; "
            "give at least 10, 1 and 100"
        )


def _read(path: str, settings: Settings) -> dict[str, Any] | None:
    """A finished case of these settings, or None."""
    if not os.path.isfile(path):
        return None
    case = load_json(path, path)
    if not isinstance(case, dict) or case.get("settings") != asdict(settings):
        return None
    if "law" in case:  # as the field was called
        case["noise_model"] = case.pop("law")
    return case


def bars(cases: Sequence[dict[str, Any]]) -> list[tuple[str, bool]]:
    """What must hold of the exact ``rle``: list of (sentence, whether it does), for the noise models that were run.

    Under Laplace, Gaussian, correlated and asymmetric noise sigma is within 5 % of the true standard deviation, in
    each tenth of these, and the likelihood within 0.02 nats of the entropy; under two-peaked and Student noise ``rle``
    is more likely than ``laplace``.
    """
    found = {(case["noise_model"], case["loss"]): case for case in cases}
    out = []
    for name in ("laplace", "gaussian", "correlated", "asymmetric"):
        case = found.get((name, "rle"))
        if case:
            text = f"{name}: sigma {case['sigma_ratio']:.3f} (worst tenth {case['sigma_ratio_worst']:.3f}) of the true"
            out.append((text, 0.95 <= case["sigma_ratio_worst"] <= 1.05))
            out.append((f"{name}: {case['excess']:.4f} nats above the entropy", abs(case["excess"]) <= 0.02))
    for name in ("two_peaked", "student"):
        rle, laplace = found.get((name, "rle")), found.get((name, "laplace"))
        if rle and laplace:
            text = f"{name}: rle {laplace['nll'] - rle['nll']:.3f} nats more likely than laplace"
            out.append((text, rle["nll"] < laplace["nll"]))
    return out


def format_table(cases: Sequence[dict[str, Any]]) -> str:
    """The metrics as a Markdown table, and the bars below; bias and error in true standard deviations."""
    header = ["noise", "loss", "sigma / true", "worst tenth", "bias x", "bias y", "error", "NLL", "NLL - entropy", "KL"]
    rows = [
        [
            case["noise_model"],
            case["loss"],
            case["sigma_ratio"],
            case["sigma_ratio_worst"],
            *case["bias"],
            case["point_error"],
            case["nll"],
            case["excess"],
            case["divergence"],
        ]
        for case in cases
    ]
    formats = ("", "", ".3f", ".3f", "+.3f", "+.3f", ".3f", ".3f", "+.4f", ".4f")
    table = tabulate(rows, header, tablefmt="github", floatfmt=formats)
    return "\n".join([table, "", *(f"{'holds' if holds else 'FAILS'}: {text}" for text, holds in bars(cases))])
