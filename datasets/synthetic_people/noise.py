"""Label noise of known models, as further annotation files over the same images.

How labels of photographs are wrong is unknown; here it is chosen. A noisy label is ``clean + std * e`` with ``e`` drawn
from a noise model of mean 0 and standard deviation 1 in each coordinate, and with a standard deviation in pixels that
depends on what the image shows (:func:`noise_std`). The best that a model can do is then known: to predict the clean
joint, that standard deviation and that noise model.

The training images are mirrored by default, and with them the noise: under ``asymmetric`` and ``two_peaked`` noise the
labels that a model is trained on have the mean of the noise model and its mirror image along x, unless
``INPUT.RANDOM_FLIP`` is "none".
"""

import copy
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rle_onestage.errors import DataError
from rle_onestage.structures.skeleton import COCO

from .labels import HIDDEN
from .seeds import stream

# Of noise_std: a share of COCO's own spread between labellers, more of it where the joint cannot be seen, and a pixel
# for people below COCO's bound of "small".
SHARE, HIDDEN_FACTOR, SMALL_AREA = 0.4, 2.5, 32.0**2


@dataclass(frozen=True)
class NoiseModel:
    """A density on the plane with mean 0 and standard deviation 1 in each coordinate.

    Attributes:
        name: as in file names and flags.
        number: fixed for ever, as it is part of the random stream's key.
        sample: (generator, n) -> (n, 2).
        log_prob: (..., 2) -> (...), nats.
        entropy: nats.
        formula: what is written into the annotation file.
    """

    name: str
    number: int
    sample: Callable[[np.random.Generator, int], np.ndarray]
    log_prob: Callable[[np.ndarray], np.ndarray]
    entropy: float
    formula: str


def _standard_normal(e: np.ndarray) -> np.ndarray:
    return (-0.5 * e**2 - 0.5 * math.log(2 * math.pi)).sum(-1)


def _laplace() -> NoiseModel:
    scale = 1 / math.sqrt(2)
    return NoiseModel(
        "laplace", 1,
        lambda rng, n: rng.laplace(scale=scale, size=(n, 2)),
        lambda e: (-np.abs(e) / scale - math.log(2 * scale)).sum(-1),
        2 * (1 + math.log(2 * scale)),
        "exp(-sqrt(2) |e|) / sqrt(2) in each coordinate",
    )  # fmt: skip


def _gaussian() -> NoiseModel:
    return NoiseModel(
        "gaussian", 2,
        lambda rng, n: rng.standard_normal((n, 2)),
        _standard_normal,
        1 + math.log(2 * math.pi),
        "exp(-e^2 / 2) / sqrt(2 pi) in each coordinate",
    )  # fmt: skip


def _correlated(rho: float = 0.7) -> NoiseModel:
    rest = math.sqrt(1 - rho**2)

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        x, z = rng.standard_normal((2, n))
        return np.stack([x, rho * x + rest * z], -1)

    def log_prob(e: np.ndarray) -> np.ndarray:
        white = np.stack([e[..., 0], (e[..., 1] - rho * e[..., 0]) / rest], -1)
        return _standard_normal(white) - math.log(rest)

    return NoiseModel(
        "correlated", 3, sample, log_prob, 1 + math.log(2 * math.pi * rest), f"Gaussian of correlation {rho}"
    )


def _asymmetric(ratio: float = 2.0) -> NoiseModel:
    """The difference of two exponential variables of the scales ``ratio a`` and ``a``, less its mean: density
    exp(-(e - m) / (ratio a)) / (a + ratio a) above the mode m = -(ratio - 1) a, exp((e - m) / a) / (a + ratio a) below;
    variance (1 + ratio^2) a^2 = 1, entropy 1 + log(a + ratio a)."""
    low = 1 / math.sqrt(1 + ratio**2)
    high = ratio * low
    mode = low - high

    def log_prob(e: np.ndarray) -> np.ndarray:
        d = np.asarray(e) - mode
        return (np.where(d > 0, -d / high, d / low) - math.log(low + high)).sum(-1)

    return NoiseModel(
        "asymmetric", 4,
        lambda rng, n: mode + rng.exponential(high, (n, 2)) - rng.exponential(low, (n, 2)),
        log_prob,
        2 * (1 + math.log(low + high)),
        f"Laplace with a {ratio:g} times longer tail to the right and downwards, in each coordinate",
    )  # fmt: skip


def _two_peaked(share: float = 0.3, width: float = 0.3) -> NoiseModel:
    """Along x ``(1 - share) N(-share d, width^2) + share N((1 - share) d, width^2)`` with ``share (1 - share) d^2 +
    width^2 = 1``; along y standard normal. The entropy along x is a trapezoid sum, exact to rounding for so smooth a
    density."""
    distance = math.sqrt((1 - width**2) / (share * (1 - share)))
    peaks, weights = np.array([-share, 1 - share]) * distance, np.array([1 - share, share])

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        second = rng.random(n) < share
        e = rng.standard_normal((n, 2))
        e[:, 0] = peaks[second.astype(int)] + width * e[:, 0]
        return e

    def log_x(x: np.ndarray) -> np.ndarray:
        log_peak = -0.5 * ((x[..., None] - peaks) / width) ** 2 + np.log(weights / (width * math.sqrt(2 * math.pi)))
        return np.logaddexp(log_peak[..., 0], log_peak[..., 1])

    def log_prob(e: np.ndarray) -> np.ndarray:
        e = np.asarray(e)
        return log_x(e[..., 0]) + _standard_normal(e[..., 1:])

    x = np.linspace(peaks[0] - 12 * width, peaks[1] + 12 * width, 20001)
    entropy_x = -(np.exp(log_x(x)) * log_x(x)).sum() * (x[1] - x[0])
    return NoiseModel(
        "two_peaked", 5, sample, log_prob, float(entropy_x) + 0.5 * (1 + math.log(2 * math.pi)),
        f"along x {1 - share:g} N({peaks[0]:.4f}, {width}^2) + {share:g} N({peaks[1]:.4f}, {width}^2), along y normal",
    )  # fmt: skip


def _student(nu: int = 4) -> NoiseModel:
    """Bivariate Student t of variance 1: density (1 + |e|^2 / (nu a))^(-(nu + 2) / 2) / (2 pi a) with
    a = (nu - 2) / nu, entropy log(2 pi a) + (nu + 2) / nu."""
    a = (nu - 2) / nu

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.standard_normal((n, 2)) * np.sqrt((nu - 2) / rng.chisquare(nu, (n, 1)))

    def log_prob(e: np.ndarray) -> np.ndarray:
        return -(nu + 2) / 2 * np.log1p((np.asarray(e) ** 2).sum(-1) / (nu * a)) - math.log(2 * math.pi * a)

    return NoiseModel(
        "student", 6, sample, log_prob, math.log(2 * math.pi * a) + (nu + 2) / nu, f"bivariate t, nu = {nu}"
    )


NOISE_MODELS = {
    model.name: model for model in (_laplace(), _gaussian(), _correlated(), _asymmetric(), _two_peaked(), _student())
}


def check_noise(name: str, scale: float = 1.0) -> NoiseModel:
    """The noise model of a name.

    Args:
        name: one of :data:`NOISE_MODELS`.
        scale: factor of the noise.

    Raises:
        DataError: there is none of this name, or the scale is not positive.
    """
    if name not in NOISE_MODELS:
        raise DataError(f"label noise {name!r} is unknown; choose one of {', '.join(NOISE_MODELS)}")
    if not 0 < scale < math.inf:
        raise DataError(f"--noise-scale {scale} is out of range; give a positive number")
    return NOISE_MODELS[name]


def noise_std(flags: np.ndarray, area: ArrayLike, sigmas: Sequence[float], scale: float = 1.0) -> np.ndarray:
    """Standard deviation (..., K) in pixels, the same for x and y, of the labels of joints.

    ``scale * h * (0.4 sigma sqrt(area) + 1 px * min(1, 32^2 / area))`` with ``h`` 1 for visible and 2.5 for hidden
    joints, ``sigma`` COCO's of the joint and ``area`` the person's in square pixels; 0 for joints without label.

    Args:
        flags: (..., K) COCO's visibility.
        area: (...) of the people, in square pixels.
        sigmas: (K,) COCO's of the joints.
        scale: factor of the noise.
    """
    areas = np.maximum(np.asarray(area, float), 1.0)[..., None]
    std = SHARE * np.asarray(sigmas) * np.sqrt(areas) + np.minimum(1.0, SMALL_AREA / areas)
    return scale * std * np.where(flags == HIDDEN, HIDDEN_FACTOR, 1.0) * (flags > 0)


def noisy_keypoints(
    annotation: dict, model: NoiseModel, scale: float, seed: int, split: str
) -> tuple[np.ndarray, np.ndarray]:
    """Noisy labels of one annotation: a pure function of the arguments.

    Labels are not clipped to the image, which would change their density: a few lie outside.

    Args:
        annotation: of the clean file.
        model: of the noise.
        scale: factor of the noise.
        seed: of the data set.
        split: ``train`` or ``val``.

    Returns:
        (keypoints (K, 3), standard deviations (K,) in pixels)
    """
    clean = np.array(annotation["keypoints"], float).reshape(-1, 3)
    std = noise_std(clean[:, 2], annotation["area"], COCO.oks_sigmas, scale)
    rng = stream(seed, split, annotation["id"], "label noise", model.number)
    noisy = clean.copy()
    noisy[:, :2] += std[:, None] * model.sample(rng, len(clean))
    return noisy, std


def with_noise(data: dict, model: NoiseModel, scale: float, seed: int, split: str) -> dict:
    """A copy of a COCO-format file of the generator with noisy ``keypoints``.

    ``keypoints_clean`` (3K) and ``keypoint_noise_std`` (2K, pixels) stand beside them; everything else is the clean
    render's.

    Args:
        data: the file.
        model: of the noise.
        scale: factor of the noise.
        seed: of the data set.
        split: ``train`` or ``val``.
    """
    out = {**data, "info": copy.deepcopy(data["info"]), "annotations": []}
    out["info"]["label_noise"] = {"noise_model": model.name, "formula": model.formula, "scale": scale}
    for annotation in data["annotations"]:
        noisy, std = noisy_keypoints(annotation, model, scale, seed, split)
        flat = [int(v) if k % 3 == 2 else round(v, 2) for k, v in enumerate(noisy.ravel().tolist())]
        out["annotations"].append(
            {
                **annotation,
                "keypoints": flat,
                "keypoints_clean": annotation["keypoints"],
                "keypoint_noise_std": [round(v, 4) for v in np.repeat(std, 2).tolist()],
            }
        )
    return out


def sentence(data: dict) -> str:
    """One readable line about a file of :func:`with_noise`."""
    noisy, clean = (
        np.array([a[key] for a in data["annotations"]], float).reshape(-1, COCO.num_joints, 3)
        for key in ("keypoints", "keypoints_clean")
    )
    error = np.linalg.norm((noisy - clean)[..., :2], axis=-1)
    labelled = clean[..., 2] > 0
    if not labelled.any():
        return "no labelled joints"
    area = np.array([a["area"] for a in data["annotations"]])[:, None]
    sizes = {image["id"]: (image["width"], image["height"]) for image in data["images"]}
    limits = np.array([sizes[a["image_id"]] for a in data["annotations"]])[:, None]
    outside = ((noisy[..., :2] < -0.5) | (noisy[..., :2] > limits - 0.5)).any(-1) & labelled
    similarity = np.exp(-(error**2) / (2 * area * (2 * np.array(COCO.oks_sigmas)) ** 2))
    return (
        f"median error {np.median(error[labelled]):.2f} px, {100 * np.median((error / np.sqrt(area))[labelled]):.1f} % "
        f"of the person's size; the clean labels' OKS with the noisy ones {similarity[labelled].mean():.3f}; "
        f"{100 * outside.sum() / labelled.sum():.2f} % of the labels outside of the image"
    )


def noise_file(folder: str, split: str, name: str) -> str:
    """Path of the annotation file of a split with noise of the model of this name."""
    return os.path.join(folder, "annotations", f"person_keypoints_{split}_{name}.json")


def write_noisy_labels(folder: str, name: str, scale: float = 1.0) -> dict[str, str]:
    """Write ``annotations/person_keypoints_{train,val}_{name}.json`` beside the clean ones of a complete set.

    Args:
        folder: of the data set.
        name: one of :data:`NOISE_MODELS`.
        scale: factor of the noise.

    Returns:
        dict path -> a readable line.

    Raises:
        DataError: unknown noise model, a scale that is not positive, or the folder cannot be written.
    """
    model = check_noise(name, scale)
    lines = {}
    for split in ("train", "val"):
        with open(os.path.join(folder, "annotations", f"person_keypoints_{split}.json")) as file:
            data = json.load(file)
        data = with_noise(data, model, scale, data["info"]["seed"], split)
        path = noise_file(folder, split, name)
        _write(path, data)
        lines[path] = sentence(data)
    return lines


def _write(path: str, data: dict) -> None:
    temporary = f"{path}.partial-{os.getpid()}"
    try:
        with open(temporary, "w") as file:
            json.dump(data, file)
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); check the space left on the disk") from error
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
