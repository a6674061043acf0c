"""People in space: an image with its people, beside views of their skeletons from the side and from above."""

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from detectron2.structures import Instances

from ..structures import Skeleton, split_side
from ..structures.root import Camera, root_weights
from .people import CONFIDENT, PERSON_COLOURS, PRESENT, SIDE_COLOURS, draw_people
from .strokes import PAPER, Colour, capsule, disc, draw_tag, draw_text, text_width

_METRE = 1000.0
_GRID: Colour = (74, 68, 64)
_EDGE: Colour = (16, 14, 13)
_TEXT: Colour = (205, 205, 205)
# Degrees by which the scene is turned about the vertical, and then towards the viewer.
_VIEWS = (("from the side", -62.0, 10.0), ("from above", -20.0, 62.0))
_MARGIN, _GAP = 0.06, 6
# Focal length in sides of the image where no camera is given, of an ordinary photograph. It decides how far away people
# are, not how they are built.
_USUAL_FOCAL = 1.2


def usual_camera(height: int, width: int) -> Camera:
    """The camera that stands in for one that is not known: a field of view of 45 degrees along the longer side."""
    focal = _USUAL_FOCAL * max(height, width)
    return Camera((focal, focal), (width / 2, height / 2))


def draw_people_3d(
    image: np.ndarray,
    instances: Instances,
    skeleton: Skeleton,
    *,
    threshold: float = 0.3,
    camera: Camera | None = None,
    height: int = 0,
    draw_sigma: bool = False,
    draw_boxes: bool = False,
    hidden: str = "hollow",
) -> np.ndarray:
    """One page: the image with its people, and two views of their skeletons on a grid of metres.

    Args:
        image: (H, W, 3) BGR uint8; not changed.
        instances: N people with ``pred_keypoints``, ``pred_keypoints_3d`` and ``pred_pixel_sizes``, and what
            :func:`~.people.draw_people` takes.
        skeleton: the K joints.
        threshold: lowest score drawn.
        camera: of the image; None: :func:`usual_camera`, and the page says so.
        height: of the page, in pixels; 0: the image's, but at least 420.
        draw_sigma: ellipses of one and two standard deviations in the image, and in the views lines of one standard
            deviation of depth to both sides.
        draw_boxes: also the boxes in the image.
        hidden: as in :func:`~.people.draw_people`.

    Returns:
        (height, 3 panels, 3) BGR uint8.
    """
    height = height or max(420, image.shape[0])
    scale = height / image.shape[0]
    left = draw_people(
        image, instances, skeleton, threshold=threshold, draw_sigma=draw_sigma, draw_boxes=draw_boxes, scale=scale,
        hidden=hidden,
    )  # fmt: skip
    left = left if left.shape[0] == height else cv2.resize(left, (left.shape[1], height))
    people = _in_space(instances, skeleton, threshold, camera or usual_camera(*image.shape[:2]))
    width = round(max(0.75 * height, min(height, 0.8 * left.shape[1])))
    strip = np.full((height, _GAP, 3), PAPER, np.uint8)
    parts = [left]
    for title, yaw, pitch in _VIEWS:
        note = "" if camera is not None else "; distances assume a usual lens"
        parts += [
            strip,
            _view(people, skeleton, (width, height), yaw, pitch, f"{title}, grid of 1 m{note}", draw_sigma),
        ]
    return np.concatenate(parts, axis=1)


class _PersonInSpace:
    """One person in the camera's axes.

    Args:
        joints: (K, 3) millimetres.
        sigma: (K,) of depth, millimetres.
        shown: (K,) bool.
        confidence: (K,).
        colour: of the person.
    """

    def __init__(
        self, joints: np.ndarray, sigma: np.ndarray, shown: np.ndarray, confidence: np.ndarray, colour: Colour
    ):
        self.joints, self.sigma, self.shown, self.confidence, self.colour = joints, sigma, shown, confidence, colour


def _in_space(instances: Instances, skeleton: Skeleton, threshold: float, camera: Camera) -> list[_PersonInSpace]:
    """The people to draw, the surest last."""
    instances = instances.to(torch.device("cpu"))
    if not len(instances) or not instances.has("pred_keypoints_3d"):
        return []
    fields = ("pred_keypoints", "pred_keypoints_3d", "pred_keypoint_3d_sigmas", "pred_pixel_sizes", "scores")
    flat, points, sigmas, sizes, scores = (instances.get(name).detach().double().numpy() for name in fields)
    presence = (
        instances.pred_keypoint_presence.detach().numpy()
        if instances.has("pred_keypoint_presence")
        else np.ones(flat.shape[:2])
    )
    weights, _ = root_weights(skeleton.names)
    people = []
    for i in sorted(np.flatnonzero(scores >= threshold).tolist(), key=lambda i: scores[i]):
        far = sizes[i] * camera.mean_focal
        root = np.append((weights @ flat[i, :, :2] - camera.principal_point) / np.array(camera.focal), 1.0) * far
        joints = points[i] + root
        shown = np.isfinite(joints).all(1) & (presence[i] >= PRESENT)
        colour = PERSON_COLOURS[i % len(PERSON_COLOURS)]
        people.append(_PersonInSpace(joints, sigmas[i, :, 2], shown, flat[i, :, 2].clip(0, 1), colour))
    return people


def _turned(points: np.ndarray, centre: np.ndarray, yaw: float, pitch: float) -> np.ndarray:
    """Points (..., 3) about the centre as another camera would have them: x right, y down, z away."""
    a, b = math.radians(yaw), math.radians(pitch)
    about = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    tilt = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    return (points - centre) @ about.T @ tilt.T


def _view(
    people: Sequence[_PersonInSpace],
    skeleton: Skeleton,
    size: tuple[int, int],
    yaw: float,
    pitch: float,
    title: str,
    draw_sigma: bool,
) -> np.ndarray:
    """A panel (height, width, 3), of a parallel projection."""
    width, height = size
    canvas = np.full((height, width, 3), PAPER, np.uint8)
    text = max(10, height // 40)
    everybody = [p.joints[p.shown] for p in people if p.shown.any()]
    if not everybody:
        draw_text(canvas, "nobody in space", (text, height // 2 - text), text, _TEXT)
        draw_tag(canvas, title, (4, 4), text)
        return canvas
    joints = np.concatenate(everybody)
    low, high = joints.min(0), joints.max(0)
    centre = (low + high) / 2
    lines = _grid(low, high)
    seen = _turned(np.concatenate([joints, lines.reshape(-1, 3)]), centre, yaw, pitch)[:, :2]
    room = np.array([width, height - 2.2 * text]) * (1 - 2 * _MARGIN)
    factor = float((room / np.maximum(np.ptp(seen, axis=0), 1.0)).min())
    middle = np.array([width / 2, height / 2 + 1.1 * text]) - factor * (seen.min(0) + seen.max(0)) / 2

    def place(points: np.ndarray) -> np.ndarray:
        """(..., 3) pixels of the panel, and how far away."""
        turned = _turned(points, centre, yaw, pitch)
        return np.concatenate([turned[..., :2] * factor + middle, turned[..., 2:]], -1)

    for start, end in place(lines)[..., :2].tolist():
        capsule(canvas, start, end, max(1.0, height / 600), _GRID)
    depth = [float(place(p.joints[p.shown])[:, 2].mean()) for p in people if p.shown.any()]
    shown = [p for p in people if p.shown.any()]
    for index in np.argsort(depth)[::-1]:  # the nearest last
        _draw_person(canvas, shown[index], skeleton, place, factor, draw_sigma)
    _draw_arrow(canvas, yaw, pitch, text)
    draw_tag(canvas, title, (4, 4), text)
    return canvas


def _grid(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Lines (n, 2, 3) of a floor of whole metres below everybody, in millimetres."""
    (x0, z0), (x1, z1) = (np.floor(low[[0, 2]] / _METRE), np.ceil(high[[0, 2]] / _METRE))
    # A scene of many metres has fewer lines.
    step = max(1, math.ceil(max(x1 - x0, z1 - z0) / 40))
    xs, zs = (np.arange(a, b + step, step) * _METRE for a, b in ((x0, x1), (z0, z1)))
    y = high[1]
    along = [[(x, y, zs[0]), (x, y, zs[-1])] for x in xs]
    across = [[(xs[0], y, z), (xs[-1], y, z)] for z in zs]
    return np.array(along + across, float)


def _draw_arrow(canvas: np.ndarray, yaw: float, pitch: float, text: int) -> None:
    """Which way leads away from the camera, in the lower left corner."""
    x, y, _ = _turned(np.array([0.0, 0.0, 1.0]), np.zeros(3), yaw, pitch)
    way = np.array([x, y]) * 2.4 * text
    start = np.array([3.4 * text, canvas.shape[0] - 2.6 * text]) - way / 2
    end = start + way
    side = np.array([-way[1], way[0]]) * 0.18
    for tip in (end - 0.3 * way + side, end - 0.3 * way - side, start):
        capsule(canvas, tuple(end), tuple(tip), max(1.4, text / 6), _TEXT)
    draw_text(canvas, "away", (3.4 * text - text_width("away", text) / 2, canvas.shape[0] - 1.5 * text), text, _TEXT)


def _draw_person(
    canvas: np.ndarray,
    person: _PersonInSpace,
    skeleton: Skeleton,
    place: Callable[[np.ndarray], np.ndarray],
    factor: float,
    draw_sigma: bool,
) -> None:
    """Limbs in the colours of their sides, the farthest first, and joints."""
    sides = [split_side(name)[1] for name in skeleton.names]
    points = place(person.joints)
    flat = points[:, :2]
    width = float(np.clip(32 * factor, 1.6, canvas.shape[0] / 110))
    edge = max(0.8, 0.3 * width)
    limbs = [(a, b) for a, b in skeleton.limbs if person.shown[a] and person.shown[b]]
    for a, b in sorted(limbs, key=lambda limb: -points[list(limb), 2].sum()):
        pair = {sides[a], sides[b]} - {""}
        colour = SIDE_COLOURS[pair.pop() if len(pair) == 1 else ""]
        fade = 0.45 + 0.55 * min(float(person.confidence[[a, b]].min()) / CONFIDENT, 1.0)
        for stroke in ((width + 2 * edge, _EDGE, 0.8), (width, colour, fade)):
            capsule(canvas, tuple(flat[a]), tuple(flat[b]), *stroke)
    if draw_sigma:
        along = person.joints[:, None] + person.sigma[:, None, None] * np.array([[0, 0, -1.0], [0, 0, 1.0]])
        for k in np.flatnonzero(person.shown & np.isfinite(person.sigma)).tolist():
            start, end = place(along[k])[:, :2].tolist()
            capsule(canvas, start, end, max(1.0, 0.35 * width), SIDE_COLOURS[sides[k]], 0.55)
    for k in np.flatnonzero(person.shown).tolist():
        disc(canvas, tuple(flat[k]), 0.75 * width + edge, _EDGE, 0.9)
        disc(canvas, tuple(flat[k]), 0.75 * width, person.colour, 1.0)
