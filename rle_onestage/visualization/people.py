"""People on images: skeletons with their confidence, sigma ellipses, names of identities.

Colours tell the sides apart for everybody, also with a red-green weakness: left is blue, right is orange, what joins
both is white. Every light stroke has a dark edge, so that it reads on any background. Widths follow the size of the
person and of the image. All images are BGR uint8; coordinates are those of the model (pixels, origin at the corner of
the first one).
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from detectron2.structures import Instances

from ..structures import Skeleton
from ..structures.covariance import ellipse_axes
from .strokes import EDGE, FAR, Colour, Plate, capsule, disc, draw_tag, ellipse, tag_plate

# BGR.
SIDE_COLOURS: dict[str, Colour] = {"left": (255, 176, 64), "right": (48, 128, 255), "": (242, 242, 242)}
PERSON_COLOURS: tuple[Colour, ...] = (
    (110, 235, 255),
    (180, 240, 120),
    (255, 170, 230),
    (150, 200, 255),
    (255, 235, 140),
    (170, 150, 255),
    (140, 255, 220),
    (120, 200, 160),
    (200, 150, 255),
    (90, 190, 230),
)
# About this expected OKS a joint goes from filled to hollow.
CONFIDENT = 0.5
# What is done with joints that are probably hidden.
HIDDEN = ("show", "hollow", "omit")
# Joints less likely than this to be visible are hidden.
VISIBLE = 0.5
# Joints less likely than this to be in the image at all are left out.
PRESENT = 0.25
PREDICTED_OPACITY = 0.5
_SMALL = 2.0  # radius of a joint, in pixels
_FULL = 2.0  # standard deviation in widths of a limb, up to which an ellipse is drawn in full
_WITH_SIGMA = 0.5  # size of a joint beside its usual one where ellipses are drawn, which it would cover


class _Person(NamedTuple):
    """One person ready to draw."""

    joints: np.ndarray  # (K, 2) in OpenCV's coordinates (pixel centres)
    confidence: np.ndarray  # (K,)
    filling: np.ndarray  # (K,) opacity of the joints' middles
    shown: np.ndarray  # (K,) bool
    covariances: np.ndarray | None  # (K, 2, 2)
    box: np.ndarray  # (4,)
    score: float
    colour: Colour  # fill of the joints
    width: float  # of the limbs, pixels
    name: str | None  # identity
    opacity: float  # below 1 for people who were not found, but predicted from their motion


def draw_people(
    image: np.ndarray,
    instances: Instances,
    skeleton: Skeleton,
    *,
    threshold: float = 0.3,
    draw_sigma: bool = False,
    draw_boxes: bool = False,
    labels: bool = True,
    person_colours: bool = True,
    scale: float = 1.0,
    hidden: str = "hollow",
) -> np.ndarray:
    """Draw the people whose score reaches a threshold.

    Where the model tells hidden joints from visible ones, these are filled and those hollow. Else confident joints are
    filled; about an expected OKS of 0.5 they empty. Joints of a lower one are faint, and their limbs thin. Joints that
    are probably not in the image (presence below 0.25) are left out.

    Args:
        image: (H, W, 3) BGR uint8; not changed.
        instances: N people with ``pred_keypoints`` (N, K, 3) and, where there are any, ``scores``, ``pred_boxes``,
            ``pred_keypoint_covariances`` or ``pred_keypoint_sigmas``, ``pred_keypoint_presence``,
            ``pred_keypoint_visibility``, ``ID`` (which then
            chooses the colours and is written) and ``predicted`` (drawn faintly).
        skeleton: the K joints.
        threshold: lowest score drawn.
        draw_sigma: also ellipses of one and two predicted standard deviations.
        draw_boxes: also the boxes.
        labels: also the scores, of people of whom a joint is drawn in the image; tags that would overlap move aside.
        person_colours: joints have a colour for each person; without, white (for videos without tracks).
        scale: enlarge the image by this first, so that small ones can be read.
        hidden: what is done with joints whose probability of being visible is below 0.5, where the model says it:
            "show" draws them as if it did not, "hollow" draws them hollow, "omit" leaves them out.

    Returns:
        (H * scale, W * scale, 3) BGR uint8.
    """
    canvas = image.copy()
    if scale != 1.0:
        canvas = cv2.resize(
            canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        )
    people = _people(instances, canvas.shape, threshold, person_colours, scale, hidden)
    sides = skeleton.sides
    for person in people:
        if draw_boxes:
            _draw_box(canvas, person)
        _draw_limbs(canvas, person, skeleton.limbs, sides)
        if draw_sigma:
            _draw_sigmas(canvas, person, sides)
        _draw_joints(canvas, person, sides, _WITH_SIGMA if draw_sigma and person.covariances is not None else 1.0)
    if labels:
        _draw_labels(canvas, [person for person in people if _in_image(person, canvas.shape)])
    return canvas


def _in_image(person: _Person, shape: Sequence[int]) -> bool:
    """Whether a joint that is drawn lies in the image: who has left it must not leave a label at its border."""
    joints = person.joints[person.shown]
    return bool(((joints >= 0) & (joints < (shape[1], shape[0]))).all(1).any())


def _people(
    instances: Instances, shape: Sequence[int], threshold: float, person_colours: bool, scale: float, hidden: str
) -> list[_Person]:
    """The people to draw, least certain first, so that the surer ones lie on top."""
    instances = instances.to(torch.device("cpu"))
    number = len(instances)
    if not number or not instances.has("pred_keypoints"):
        return []
    keypoints = instances.pred_keypoints.detach().double().numpy() * np.array([scale, scale, 1.0])
    scores = instances.scores.detach().numpy() if instances.has("scores") else np.ones(number)
    presence = _field(instances, "pred_keypoint_presence")
    covariances = _covariances(instances)
    visibility = None if hidden == "show" else _field(instances, "pred_keypoint_visibility")
    named = instances.has("ID")
    ids = instances.ID.tolist() if named else range(number)
    predicted = instances.predicted.tolist() if instances.has("predicted") else [False] * number
    people = []
    for i in sorted(np.flatnonzero(scores >= threshold).tolist(), key=lambda i: scores[i]):
        joints = keypoints[i, :, :2] - 0.5
        shown = np.isfinite(joints).all(1) & (np.abs(joints) < FAR).all(1)
        if presence is not None:
            shown &= presence[i] >= PRESENT
        if visibility is not None and hidden == "omit":
            shown &= visibility[i] >= VISIBLE
        confidence = np.nan_to_num(keypoints[i, :, 2]).clip(0, 1)
        box = _box_of(instances, i, joints, shown, scale)
        colour = PERSON_COLOURS[int(ids[i]) % len(PERSON_COLOURS)] if person_colours or named else (255, 255, 255)
        people.append(
            _Person(
                joints,
                confidence,
                _filling(confidence, None if visibility is None else visibility[i]),
                shown,
                None if covariances is None else covariances[i] * scale**2,
                box,
                float(scores[i]),
                colour,
                _line_width(box, shape),
                str(ids[i]) if named else None,
                PREDICTED_OPACITY if predicted[i] else 1.0,
            )
        )
    return people


def _field(instances: Instances, name: str) -> np.ndarray | None:
    """A field as an array, None where there is none."""
    return instances.get(name).detach().double().numpy() if instances.has(name) else None


def _covariances(instances: Instances) -> np.ndarray | None:
    """(N, K, 2, 2), upright where there are sigmas alone; None without either."""
    sigmas = _field(instances, "pred_keypoint_sigmas")
    if instances.has("pred_keypoint_covariances") or sigmas is None:
        return _field(instances, "pred_keypoint_covariances")
    return np.square(sigmas)[..., None] * np.eye(2)


def _box_of(instances: Instances, i: int, joints: np.ndarray, shown: np.ndarray, scale: float) -> np.ndarray:
    """A person's box (4,), else that round the joints that are shown."""
    if instances.has("pred_boxes"):
        return np.nan_to_num(instances.pred_boxes.tensor[i].detach().double().numpy() * scale).clip(-FAR, FAR)
    seen = joints[shown] if shown.any() else np.zeros((1, 2))
    return np.concatenate([seen.min(0), seen.max(0)])


def _line_width(box: np.ndarray, shape: Sequence[int]) -> float:
    """Limb width: 1.3 % of the person's larger side, within limits set by the image's size."""
    size = np.sqrt(shape[0] * shape[1])
    person = max(box[2] - box[0], box[3] - box[1])
    return float(np.clip(0.013 * person, max(1.2, size / 420), max(2.0, size / 110)))


def _alpha(confidence: float) -> float:
    """Opacity of a joint: full when confident, else fading with the expected OKS."""
    return 0.42 + 0.58 * min(confidence / CONFIDENT, 1.0)


def _thickness(confidence: float) -> float:
    """Width of a limb beside that of a confident one."""
    return 0.6 + 0.4 * min(confidence / CONFIDENT, 1.0)


def _filling(confidence: np.ndarray, visibility: np.ndarray | None) -> np.ndarray:
    """Opacity of the joints' middles (K,): a joint that goes from sure to unsure in a video, or from visible to hidden,
    empties, it does not blink."""
    if visibility is not None:
        return np.clip((visibility - VISIBLE) / 0.15, 0.0, 1.0)
    return np.clip((confidence - CONFIDENT + 0.15) / 0.3, 0.0, 1.0)


def _draw_limbs(canvas: np.ndarray, person: _Person, limbs: Sequence[tuple[int, int]], sides: Sequence[str]) -> None:
    """Lines without round ends: the joints lie on them."""
    joints, drawn = person.joints.tolist(), []
    for a, b in limbs:
        if not (person.shown[a] and person.shown[b]):
            continue
        pair = {sides[a], sides[b]} - {""}
        confidence = float(min(person.confidence[a], person.confidence[b]))
        width = person.width * _thickness(confidence)
        colour = SIDE_COLOURS[pair.pop() if len(pair) == 1 else ""]
        drawn.append((joints[a], joints[b], width, colour, person.opacity * _alpha(confidence)))
    edge = _edge(person)
    for start, end, width, _, alpha in drawn:
        capsule(canvas, start, end, width + 2 * edge, EDGE, 0.75 * alpha, round_ends=False)
    for start, end, width, colour, alpha in drawn:
        capsule(canvas, start, end, width, colour, alpha, round_ends=False)


def _edge(person: _Person) -> float:
    """Width of the dark edge round the strokes."""
    return max(0.8, 0.28 * person.width)


def _draw_joints(canvas: np.ndarray, person: _Person, sides: Sequence[str], size: float) -> None:
    """Rings in the colour of the side, filled with the person's where the joint is sure."""
    radius, edge = size * 0.95 * person.width, size * _edge(person)
    ring = max(1.0, size * 0.45 * person.width)
    joints, confidences, fillings = person.joints.tolist(), person.confidence.tolist(), person.filling.tolist()
    for k in np.flatnonzero(person.shown).tolist():
        centre, side = joints[k], SIDE_COLOURS[sides[k]]
        alpha, filling = person.opacity * _alpha(confidences[k]), person.opacity * fillings[k]
        if radius < _SMALL:  # a ring of whole pixels would be wider than the joint, and its middle is covered anyway
            disc(canvas, centre, radius + edge, EDGE, 0.85 * alpha)
        else:
            disc(canvas, centre, radius - 0.5 * ring, EDGE, 0.85 * alpha, ring + 2 * edge)
        if filling > 0:
            disc(canvas, centre, 0.7 * radius, person.colour, filling)
        disc(canvas, centre, radius - 0.5 * ring, side, alpha, ring)


def _draw_sigmas(canvas: np.ndarray, person: _Person, sides: Sequence[str]) -> None:
    """Ellipses of one (filled) and two (outlined) standard deviations, over the limbs, the inner with a dark edge."""
    if person.covariances is None:
        return
    joints, known = person.joints.tolist(), np.isfinite(person.covariances).all((1, 2))
    for k in np.flatnonzero(person.shown & known).tolist():
        colour = SIDE_COLOURS[sides[k]]
        *axes, angle = ellipse_axes(person.covariances[k])
        line = max(1, round(0.3 * person.width))
        # A large ellipse has much line, which would hide the people beside it.
        fade = person.opacity * min(1.0, max(0.4, _FULL * person.width / max(axes)))
        inner = (1.0, -1, 0.25, colour), (1.0, line + 2, 0.4, EDGE), (1.0, line, 0.95, colour)
        for factor, thickness, alpha, paint in ((2.0, line, 0.6, colour), *inner):
            a, b = (min(max(factor * s, 0.5), FAR / 4) for s in axes)
            ellipse(canvas, joints[k], (a, b), paint, fade * alpha, thickness, angle)


def _draw_box(canvas: np.ndarray, person: _Person) -> None:
    """The box in the person's colour, with a dark edge."""
    x0, y0, x1, y1 = (person.box - 0.5).tolist()
    corners = (x0, y0), (x1, y0), (x1, y1), (x0, y1)
    for width, colour, alpha in ((2.6, EDGE, 0.5), (1.2, person.colour, 0.9)):
        for i in range(4):
            capsule(canvas, corners[i], corners[(i + 1) % 4], width, colour, person.opacity * alpha)


def _draw_labels(canvas: np.ndarray, people: Sequence[_Person]) -> None:
    """Scores and identities on tags above the people; the surest chooses its place first."""
    taken: list[Plate] = []
    for person in reversed(people):
        size = int(np.clip(3.8 * person.width, 9, max(11, min(canvas.shape[:2]) / 32)))
        text = f"{person.score:.2f}" if person.name is None else f"{person.name}  {person.score:.2f}"
        wish = person.box[0], max(person.box[1] - 1.5 * size, 0)
        taken.append(tag_plate(canvas, text, wish, size, dot=True, taken=taken))
        draw_tag(canvas, text, taken[-1][:2], size, dot=person.colour)
