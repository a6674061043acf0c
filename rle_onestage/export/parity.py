"""Whether an exported file finds what PyTorch finds, from the same raw images."""

import copy
from collections.abc import Callable, Sequence
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

# Of those people and candidates above this score joints and sigmas are compared, of all of them the scores.
SCORE = 0.05


class Limits(NamedTuple):
    """How far from PyTorch a file may be.

    Attributes:
        near: pixels that nearly all joints may be apart.
        far: pixels that all joints may be apart.
        nearly_all: share of joints, sigmas, scores and people that are held to the limits.
        sigmas: difference as a share of themselves.
        scores: difference.
    """

    near: float = 0.05
    far: float = 0.5
    nearly_all: float = 0.999
    sigmas: float = 1e-3
    scores: float = 1e-3


EXACT = Limits()
# These say their own differences; the limits are against what is broken.
HALF = Limits(near=1.0, far=float("inf"), nearly_all=0.95, sigmas=0.05, scores=0.02)
INT8 = Limits(near=16.0, far=float("inf"), nearly_all=0.7, sigmas=1.0, scores=0.2)


class NotEqualError(PoseError):
    """An exported file does not give the numbers of PyTorch."""


class Parity(NamedTuple):
    """How far apart an exported file and PyTorch are on some images.

    Attributes:
        images: how many.
        joints: (n,) distances of joints in pixels, the larger of x and y, of people and candidates above ``SCORE``.
        sigmas: (n,) differences of sigmas as a share of themselves, the larger of x and y.
        scores: (m,) differences of the scores of all candidates, ranked.
        lost: people above ``SCORE`` that one of both has, and not the other.
        found: people above ``SCORE``.
        limits: how far apart they may be.
    """

    images: int
    joints: np.ndarray
    sigmas: np.ndarray
    scores: np.ndarray
    lost: int
    found: int
    limits: Limits = EXACT

    @property
    def faults(self) -> list[str]:
        """What differs by more than it may, in words; empty where nothing does."""
        limits, found = self.limits, []
        if self.lost > (1 - limits.nearly_all) * self.found:
            found.append(f"{self.lost} of {counted(self.found, 'person', 'people')} are not in both")
        far, near = float(self.joints.max(initial=0)), self.share_near
        if not (far <= limits.far and near >= limits.nearly_all):
            off = f"{100 * (1 - near):.2g} % by more than {limits.near} px"
            found.append(f"joints differ by up to {far:.3g} px, and {off}")
        for name, values, limit in (("sigmas", self.sigmas, limits.sigmas), ("scores", self.scores, limits.scores)):
            share = float((values <= limit).mean()) if len(values) else 1.0
            if not share >= limits.nearly_all:
                largest, off = float(values.max()), f"{100 * (1 - share):.2g} % by more than {limit}"
                found.append(f"{name} differ by up to {largest:.3g}, and {off}")
        return found

    @property
    def share_near(self) -> float:
        """Of the joints within ``limits.near``."""
        return float((self.joints <= self.limits.near).mean()) if len(self.joints) else 1.0

    def __str__(self) -> str:
        largest = [float(values.max(initial=0)) for values in (self.joints, self.sigmas, self.scores)]
        return (
            f"as PyTorch on {counted(self.images, 'image')} with {counted(self.found, 'person', 'people')} above "
            f"{SCORE}: {100 * self.share_near:.2f} % of joints within {self.limits.near} px, all within "
            f"{largest[0]:.2g} px, "
            f"sigmas within {100 * largest[1]:.2g} %, scores of all candidates within {largest[2]:.2g}"
        )


def compare(
    predictor: Predictor,
    size: InputSize,
    images: Sequence[np.ndarray],
    people: Callable[[np.ndarray], Outputs],
    candidates: Callable[[np.ndarray], Outputs],
    *,
    limits: Limits = EXACT,
) -> Parity:
    """Run both on images.

    Args:
        predictor: PyTorch.
        size: of the network's input.
        images: (H, W, 3) uint8 BGR each.
        people: gives the outputs of the exported file.
        candidates: gives those of the same without suppression and threshold.
        limits: how far apart they may be.
    """
    joints, sigmas, scores, lost, found = [], [], [], 0, 0
    for image in images:
        for run, everybody in ((people, False), (candidates, True)):
            ours, theirs = pytorch(predictor, size, image, candidates=everybody), run(image)
            if everybody:
                scores.append(_ranked_difference(ours["scores"], theirs["scores"]))
            rows, columns = matched(ours, theirs)
            sure = [part["scores"] > SCORE + limits.scores for part in (ours, theirs)]
            together = sure[0][rows] & (theirs["scores"][columns] > SCORE - limits.scores)
            if not everybody:
                found += int(sure[0].sum())
                lost += int(sure[0].sum() - together.sum()) + int(np.delete(sure[1], columns).sum())
            rows, columns = rows[together], columns[together]
            distance = ours["keypoints"][rows, :, :2] - theirs["keypoints"][columns, :, :2]
            joints.append(np.abs(distance).max(-1).ravel())
            ratio = theirs["sigmas"][columns] / ours["sigmas"][rows]
            sigmas.append(np.abs(ratio - 1).max(-1).ravel())
    apart, ratios, differences = (np.concatenate(part or [np.zeros(0)]) for part in (joints, sigmas, scores))
    return Parity(len(images), apart, ratios, differences, lost, found, limits)


def check(parity: Parity, path: str) -> None:
    """Raises NotEqualError where the file is not equal to PyTorch."""
    if parity.faults:
        raise NotEqualError(
            f"{path} is not written, because the exported model does not give PyTorch's numbers on "
            f"{counted(parity.images, 'image')}: {'; '.join(parity.faults)}; export another format, or report it"
        )


@torch.no_grad()
def pytorch(predictor: Predictor, size: InputSize, image: np.ndarray, *, candidates: bool = False) -> Outputs:
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
    first, second = (part["keypoints"][..., :2].reshape(len(part["keypoints"]), -1) for part in (ours, theirs))
    cost = np.abs(first[:, None] - second[None]).mean(-1) if len(first) and len(second) else np.zeros((0, 0))
    # A few candidates lie on top of each other; the score tells them apart.
    apart = np.abs(ours["scores"][:, None] - theirs["scores"][None]) if cost.size else cost
    return linear_sum_assignment(np.nan_to_num(cost, nan=1e6) + apart)


def _ranked_difference(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(N,) of the scores of both, best first; one that the other has not is compared with 0."""
    count = max(len(ours), len(theirs))
    padded = [np.pad(np.sort(part)[::-1], (0, count - len(part))) for part in (ours, theirs)]
    return np.abs(padded[0] - padded[1])
