"""Whether an exported file finds what PyTorch finds, from the same raw images."""

import copy
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from rle_onestage.data.mapper import image_to_tensor
from rle_onestage.errors import PoseError, counted
from rle_onestage.modeling.people import found_people
from rle_onestage.predictor import Predictor

from .graph import OUTPUTS, InputSize

Outputs = dict[str, np.ndarray]
Seen = Sequence[tuple[np.ndarray, Outputs]]
Reference = Callable[[np.ndarray, bool], Outputs]

# Of those people and candidates above this score joints and sigmas are compared, of all of them the scores.
SCORE = 0.05
# Candidates of each image, best first, that are compared where none of any image is above that score.
BEST = 10


class Limits(NamedTuple):
    """How far from PyTorch a file may be.

    Attributes:
        near: pixels that nearly all joints and sides of boxes may be apart.
        outer: multiple of each limit that nothing may be beyond.
        nearly_all: share of joints, sigmas, scores and the like that are held to the limits.
        sigmas: difference as a share of themselves.
        scores: difference.
        squares: of areas and covariances, difference as a share of themselves.
        probabilities: difference of presence, visibility and expected OKS.
        lost: share of the people that one of both may not have.
    """

    near: float = 0.05
    outer: float = 10.0
    nearly_all: float = 0.999
    sigmas: float = 1e-3
    scores: float = 1e-3
    squares: float = 1e-2
    probabilities: float = 1e-3
    lost: float = 0.0

    def of(self, name: str) -> float:
        """The limit for an output."""
        own = {"boxes": self.near, "sigmas": self.sigmas, "areas": self.squares, "covariances": self.squares}
        return self.scores if "scores" in name else own.get(name, self.probabilities)


EXACT = Limits()
# These say their own differences; the limits are against what is broken.
HALF = Limits(
    near=1.0, outer=float("inf"), nearly_all=0.95, sigmas=0.05, scores=0.02, squares=0.2, probabilities=0.05, lost=0.05
)
INT8 = Limits(
    near=16.0, outer=float("inf"), nearly_all=0.7, sigmas=1.0, scores=0.2, squares=3.0, probabilities=0.3, lost=0.3
)


# What to do about a file beyond its limits; beyond those of EXACT it is a fault of this package.
_REMEDIES = {HALF: "leave out --half", INT8: "calibrate on more images, or leave out --int8"}


class NotEqualError(PoseError):
    """An exported file does not give the numbers of PyTorch."""


class Parity(NamedTuple):
    """How far apart an exported file and PyTorch are on some images.

    Attributes:
        images: how many.
        joints: (n,) distances of joints in pixels, the larger of x and y, of people and candidates above ``SCORE``.
        sigmas: (n,) differences of sigmas as a share of themselves, the larger of x and y.
        scores: (m,) differences of the scores of all candidates, ranked.
        lost: people above ``SCORE`` by more than the limit of scores, whom one of both has, and not the other.
        found: people above ``SCORE`` by more than that.
        limits: how far apart they may be.
        others: by the name of each other output, (l,) differences of those that ``joints`` is about.
        wrong: what is missing or out of order, in words.
    """

    images: int
    joints: np.ndarray
    sigmas: np.ndarray
    scores: np.ndarray
    lost: int
    found: int
    limits: Limits = EXACT
    others: Mapping[str, np.ndarray] = MappingProxyType({})
    wrong: Sequence[str] = ()

    @property
    def faults(self) -> list[str]:
        """What differs by more than it may, in words; empty where nothing does."""
        limits, found = self.limits, list(self.wrong)
        if self.lost > limits.lost * self.found:
            found.append(f"{self.lost} of {counted(self.found, 'person', 'people')} are not in both")
        if not len(self.joints):
            found.append("no joint could be compared")
        parts = {"joints": self.joints, "sigmas": self.sigmas, "scores": self.scores, **self.others}
        for name, values in parts.items():
            limit, unit = (limits.near, " px") if name in ("joints", "boxes") else (limits.of(name), "")
            share, largest = _share(values, limit), float(values.max(initial=0))
            if not (share >= limits.nearly_all and largest <= limits.outer * limit):
                off = f"{_short(100 * (1 - share))} % by more than {limit}{unit}"
                found.append(f"{name} differ by up to {largest:.3g}{unit}, and {off}")
        return found

    @property
    def share_near(self) -> float:
        """Of the joints within ``limits.near``."""
        return _share(self.joints, self.limits.near)

    def __str__(self) -> str:
        largest = [float(values.max(initial=0)) for values in (self.joints, self.sigmas, self.scores)]
        near = f"{100 * self.share_near:.2f} % of joints" if len(self.joints) else "no joints"
        how = "as PyTorch" if self.limits == EXACT else "compared with PyTorch"
        return (
            f"{how} on {counted(self.images, 'image')} with {counted(self.found, 'person', 'people')} above "
            f"{SCORE + self.limits.scores:.2f}: {near} within {self.limits.near} px, all within "
            f"{_short(largest[0])} px, sigmas within {_short(100 * largest[1])} %, "
            f"scores of all candidates within {largest[2]:.2g}"
        )


def _short(value: float) -> str:
    """Two digits, without an exponent."""
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")


def _share(values: np.ndarray, limit: float) -> float:
    """Of the values within a limit."""
    return float((values <= limit).mean()) if len(values) else 1.0


def compare(
    reference: Reference,
    images: Sequence[np.ndarray],
    people: Callable[[np.ndarray], Seen],
    candidates: Callable[[np.ndarray], Seen],
    *,
    limits: Limits = EXACT,
) -> Parity:
    """Run both on images.

    Args:
        reference: gives PyTorch's people of an image, or all candidates if its second argument is true, see
            :func:`pytorch`.
        images: (H, W, 3) uint8 BGR each.
        people: gives an image, and others of its size that the file takes with it, with the outputs of each.
        candidates: gives those of the same without suppression and threshold.
        limits: how far apart they may be.
    """
    scores, lost, found = [np.zeros(0)], 0, 0
    wrong: list[str] = []
    of_people, of_best = [], []
    for image in images:
        runs = [(everybody, *pair) for run, everybody in ((people, False), (candidates, True)) for pair in run(image)]
        for everybody, seen, theirs in runs:
            ours = reference(seen, everybody)
            if faults := _wrong(ours, theirs):
                wrong.extend(fault for fault in faults if fault not in wrong)
                continue
            if everybody:
                scores.append(_ranked_difference(ours["scores"], theirs["scores"]))
            rows, columns = matched(ours, theirs)
            sure = [part["scores"] > SCORE + limits.scores for part in (ours, theirs)]
            together = sure[0][rows] & (theirs["scores"][columns] > SCORE - limits.scores)
            if not everybody:
                found += int(sure[0].sum())
                lost += int(sure[0].sum() - together.sum()) + int(np.delete(sure[1], columns).sum())
            of_people.append(_differences(ours, theirs, rows[together], columns[together]))
            if everybody:
                of_best.append(_differences(ours, theirs, rows[rows < BEST], columns[rows < BEST]))
    # Without anybody above the score, the best of nobody say whether the file is right.
    used = of_people if any(len(each["joints"]) for each in of_people) else of_best
    others = {name: np.concatenate([each[name] for each in used]) for name in (used[0] if used else ())}
    joints, sigmas = (others.pop(name, np.zeros(0)) for name in ("joints", "sigmas"))
    return Parity(len(images), joints, sigmas, np.concatenate(scores), lost, found, limits, others, wrong)


def _wrong(ours: Outputs, theirs: Outputs) -> list[str]:
    """What cannot be compared: outputs that are missing or of another shape, and people out of order."""
    if missing := [name for name in ours if name not in theirs]:
        return [f"there is no output {', '.join(missing)}"]
    count = theirs["scores"].shape[:1]
    if odd := [name for name, part in ours.items() if theirs[name].shape != count + part.shape[1:]]:
        return [f"{', '.join(odd)} have another shape"]
    return ["the scores are not in descending order"] if (np.diff(theirs["scores"]) > 0).any() else []


def _differences(ours: Outputs, theirs: Outputs, rows: np.ndarray, columns: np.ndarray) -> dict[str, np.ndarray]:
    """(n,) for each output, of people whose numbers in both are ``rows`` and ``columns``."""
    pairs = {name: (part[rows], theirs[name][columns]) for name, part in ours.items()}
    apart = {name: np.abs(first - second) for name, (first, second) in pairs.items()}
    joints = apart.pop("keypoints")
    sigmas, areas = pairs["sigmas"][0], pairs["areas"][0]
    apart["sigmas"] = (apart["sigmas"] / sigmas).max(-1)
    apart["areas"] = apart["areas"] / areas
    apart["boxes"] = apart["boxes"].max(-1)
    if "covariances" in apart:  # beside the diagonal they may be 0
        apart["covariances"] = (apart["covariances"] / (sigmas[..., :, None] * sigmas[..., None, :])).max((-2, -1))
    apart["scores of people"] = apart.pop("scores")
    named = {"joints": joints[..., :2].max(-1), "expected OKS": joints[..., 2], **apart}
    return {name: values.ravel() for name, values in named.items()}


def check(parity: Parity, path: str) -> None:
    """Raises NotEqualError where the file is not equal to PyTorch."""
    if parity.faults:
        remedy = _REMEDIES.get(parity.limits, "export another format, or report it")
        raise NotEqualError(
            f"{path} is not written, because the exported model does not give PyTorch's numbers on "
            f"{counted(parity.images, 'image')}: {'; '.join(parity.faults)}; {remedy}"
        )


@torch.no_grad()
def pytorch(predictor: Predictor, size: InputSize, image: np.ndarray, candidates: bool = False) -> Outputs:
    """What PyTorch gives for an image, by the names of the outputs.

    Args:
        predictor: whose model it is.
        size: of the network's input.
        image: (H, W, 3) uint8 BGR.
        candidates: all, not suppressed, whatever their score.
    """
    model = predictor.model
    tensor = image_to_tensor(size.resize(image), predictor.image_format)
    images = model.preprocess_image([{"image": tensor}])
    pixels = images.tensor
    if size.canvas is not None:
        height, width = size.canvas
        pixels = torch.nn.functional.pad(pixels, (0, width - pixels.shape[3], 0, height - pixels.shape[2]))
    people, decoder = model.find(pixels), model.decoder
    if candidates:
        people, decoder = people._replace(kept=torch.ones_like(people.kept)), copy.copy(decoder)
        decoder.score_thresh, decoder.max_people = 0.0, people.scores.shape[1]
    given, inner = (torch.tensor([[w, h]]).float() for h, w in (image.shape[:2], images.image_sizes[0]))
    cut, order, count = decoder.rank(people, inner, given)
    found = found_people(people, cut, 0, order[0, : int(count)], (given / inner)[0])
    return {name: part.numpy() for name, part in zip(found._fields, found) if name in OUTPUTS and part is not None}


def matched(ours: Outputs, theirs: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """Rows of both that are the same people: those of nearly equal scores may stand in another order."""
    first, second = (part["keypoints"][..., :2] for part in (ours, theirs))
    first, second = (part.reshape(len(part), 2 * part.shape[1]) for part in (first, second))
    cost = np.abs(first[:, None] - second[None]).mean(-1) if len(first) and len(second) else np.zeros((0, 0))
    # A few candidates lie on top of each other; the score tells them apart.
    apart = np.abs(ours["scores"][:, None] - theirs["scores"][None]) if cost.size else cost
    return linear_sum_assignment(np.nan_to_num(cost, nan=1e6) + apart)


def _ranked_difference(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(N,) of the scores of both, best first; one that the other has not is compared with 0."""
    count = max(len(ours), len(theirs))
    padded = [np.pad(np.sort(part)[::-1], (0, count - len(part))) for part in (ours, theirs)]
    return np.abs(padded[0] - padded[1])
