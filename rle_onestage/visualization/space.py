"""People in space: an image with its people, beside views of their skeletons from the side and from above."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from detectron2.structures import Instances

from ..structures import Skeleton
from ..structures.root import Camera, root_weights
from .people import CONFIDENT, PERSON_COLOURS, PRESENT, SIDE_COLOURS, draw_people
from .strokes import PAPER, Colour, capsule, disc, draw_tag, draw_text, text_width

_METRE = 1000.0
_GRID: Colour = (74, 68, 64)
_EDGE: Colour = (16, 14, 13)
_TEXT: Colour = (205, 205, 205)
# Degrees by which the scene is turned about the vertical, and then towards the viewer.
_SIDE, _ABOVE = (-62.0, 10.0), (0.0, 90.0)  # straight down: the camera's right is right, and away from it is up
_MARGIN, _GAP = 0.06, 6
_MOST_NAMED = 12  # people whose scores fit beside them
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
    """One page: the image with its people, and views of their skeletons from the side and straight from above.

    Both views have one scale. The floor is a grid below the lowest joint; from above its lines have their metres from
    the camera, and to its right. A disc on the floor is the place of a person, whose score has the person's colour.

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
    note = "" if camera is not None else " for a usual lens"
    side, above = _views(people, (width, height))
    views = ((side, f"from the side, grid of {side.step:g} m"), (above, f"from above, metres from the camera{note}"))
    parts = [left]
    for view, title in views:
        parts += [strip, _drawn(view, people, skeleton, title, draw_sigma)]
    return np.concatenate(parts, axis=1)


class _PersonInSpace:
    """One person in the camera's axes.

    Args:
        joints: (K, 3) millimetres.
        sigma: (K,) of depth, millimetres.
        shown: (K,) bool.
        confidence: (K,).
        colour: of the person.
        root: (3,) millimetres.
        score: of the person.
    """

    def __init__(
        self,
        joints: np.ndarray,
        sigma: np.ndarray,
        shown: np.ndarray,
        confidence: np.ndarray,
        colour: Colour,
        root: np.ndarray,
        score: float,
    ):
        self.joints, self.sigma, self.shown, self.confidence, self.colour = joints, sigma, shown, confidence, colour
        self.root, self.score = root, score


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
        people.append(
            _PersonInSpace(joints, sigmas[i, :, 2], shown, flat[i, :, 2].clip(0, 1), colour, root, float(scores[i]))
        )
    return people


def _turned(points: np.ndarray, centre: np.ndarray, yaw: float, pitch: float) -> np.ndarray:
    """Points (..., 3) about the centre as another camera would have them: x right, y down, z away."""
    a, b = math.radians(yaw), math.radians(pitch)
    about = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    tilt = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    return (points - centre) @ about.T @ tilt.T


class _View:
    """A parallel projection to a panel.

    Args:
        size: (width, height) of the panel, in pixels.
        angles: by which the scene is turned, see :func:`_turned`.
        centre: (3,) of the scene.
        lines: (n, 2, 3) of the floor.
        step: metres between them.
    """

    def __init__(
        self, size: tuple[int, int], angles: tuple[float, float], centre: np.ndarray, lines: np.ndarray, step: float
    ):
        self.size, self.angles, self.centre, self.lines, self.step = size, angles, centre, lines, step
        self.text = max(10, size[1] // 40)  # height of letters
        self.factor, self.middle = 1.0, np.zeros(2)  # pixels a millimetre; where the centre is

    def fit(self, points: np.ndarray) -> np.ndarray:
        """(2,) first and (2,) last pixels, at one pixel a millimetre, of what has to be seen of points (n, 3)."""
        seen = _turned(np.concatenate([points, self.lines.reshape(-1, 3)]), self.centre, *self.angles)[:, :2]
        return np.stack([seen.min(0), seen.max(0)])

    def room(self) -> np.ndarray:
        """(2, 2) first and last pixel that may be used: beside the floor seen from above stand numbers."""
        numbers = 3.0 * self.text if self.angles == _ABOVE else 0.0
        (width, height), edge = self.size, _MARGIN * np.array(self.size)
        return np.array([[edge[0] + numbers, edge[1] + 2.2 * self.text], [width - edge[0], height - edge[1] - numbers]])

    def place(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) pixels of the panel, and how far away, of points (..., 3)."""
        turned = _turned(points, self.centre, *self.angles)
        return np.concatenate([turned[..., :2] * self.factor + self.middle, turned[..., 2:]], -1)


def _views(people: Sequence[_PersonInSpace], size: tuple[int, int]) -> tuple[_View, _View]:
    """The scene from the side and from above, at one scale."""
    everybody = [person.joints[person.shown] for person in people if person.shown.any()]
    joints = np.concatenate(everybody) if everybody else np.zeros((1, 3))
    low, high = joints.min(0), joints.max(0)
    lines, step = _grid(low, high)
    views = _View(size, _SIDE, (low + high) / 2, lines, step), _View(size, _ABOVE, (low + high) / 2, lines, step)
    factor = min(float((np.ptp(v.room(), 0) / np.maximum(np.ptp(v.fit(joints), 0), 1.0)).min()) for v in views)
    for view in views:
        view.factor, view.middle = factor, view.room().mean(0) - factor * view.fit(joints).mean(0)
    return views


def _drawn(
    view: _View, people: Sequence[_PersonInSpace], skeleton: Skeleton, title: str, draw_sigma: bool
) -> np.ndarray:
    """A panel (height, width, 3)."""
    width, height = view.size
    canvas, text = np.full((height, width, 3), PAPER, np.uint8), view.text
    shown = [person for person in people if person.shown.any()]
    if not shown:
        draw_text(canvas, "nobody in space", (text, height // 2 - text), text, _TEXT)
        draw_tag(canvas, title, (4, 4), text)
        return canvas
    for start, end in view.place(view.lines)[..., :2].tolist():
        capsule(canvas, start, end, max(1.0, height / 600), _GRID)
    floor = view.lines[0, 0, 1]
    for person in shown:  # where on the floor somebody is
        foot = np.array([person.root[0], floor, person.root[2]])
        start, end = view.place(np.stack([person.root, foot]))[:, :2].tolist()
        capsule(canvas, start, end, max(1.0, height / 500), person.colour, 0.45)
        disc(canvas, tuple(end), max(2.0, height / 160), person.colour, 0.6)
    depth = [float(view.place(person.joints[person.shown])[:, 2].mean()) for person in shown]
    for index in np.argsort(depth)[::-1]:  # the nearest last
        _draw_person(canvas, shown[index], skeleton, view, draw_sigma)
    for person in shown if len(shown) <= _MOST_NAMED else ():
        _draw_score(canvas, view, person)
    if view.angles == _ABOVE:
        _draw_numbers(canvas, view)
    else:
        _draw_arrow(canvas, *view.angles, text)
    draw_tag(canvas, title, (4, 4), text)
    return canvas


def _draw_score(canvas: np.ndarray, view: _View, person: _PersonInSpace) -> None:
    """The score above a person, in the colour that the person has in the image too."""
    seen = view.place(person.joints[person.shown])
    x, y = seen[:, 0].mean(), seen[:, 1].min()
    label = f"{person.score:.2f}"
    draw_text(canvas, label, (x - text_width(label, view.text) / 2, y - 1.7 * view.text), view.text, person.colour)


def _draw_numbers(canvas: np.ndarray, view: _View) -> None:
    """Metres at the lines of the floor: away from the camera at the left, to its right below."""
    text, low = view.text, view.lines.reshape(-1, 3).min(0)
    every = max(1, math.ceil(3.0 * text / (view.factor * view.step * _METRE)))  # lines, where they are close together
    for start, end in view.lines[:, :, ::2]:
        across = start[1] == end[1]  # a line of one distance
        number = round((start[1] if across else start[0]) / (view.step * _METRE))
        if number % every:
            continue
        label = f"{number * view.step:g} m" if across else f"{number * view.step:+g} m" if number else "0"
        corner = np.array([low[0] if across else start[0], low[1], start[1] if across else low[2]])
        x, y = view.place(corner)[:2]
        wide = text_width(label, text)
        draw_text(canvas, label, (x - wide - 0.5 * text, y - 0.6 * text) if across else (x - wide / 2, y + 0.5 * text),
                  text, _TEXT)  # fmt: skip


def _grid(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, float]:
    """Lines (n, 2, 3) of a floor of whole metres below everybody, in millimetres, and the metres between them."""
    # A scene of many metres has fewer lines, at whole multiples of their distance.
    step = max(1, math.ceil(float((high - low)[[0, 2]].max()) / (40 * _METRE)))
    first, last = np.floor(low / (step * _METRE)), np.ceil(high / (step * _METRE))
    xs, zs = (np.arange(first[axis], last[axis] + 1) * step * _METRE for axis in (0, 2))
    y = high[1]
    along = [[(x, y, zs[0]), (x, y, zs[-1])] for x in xs]
    across = [[(xs[0], y, z), (xs[-1], y, z)] for z in zs]
    return np.array(along + across, float), float(step)


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
    view: _View,
    draw_sigma: bool,
) -> None:
    """Limbs in the colours of their sides, the farthest first, and joints."""
    place, factor = view.place, view.factor
    joint = 0.45 if view.angles == _ABOVE else 0.75  # from above, joints lie over one another and the limbs
    sides = skeleton.sides
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
        disc(canvas, tuple(flat[k]), joint * width + edge, _EDGE, 0.9)
        disc(canvas, tuple(flat[k]), joint * width, person.colour, 1.0)
