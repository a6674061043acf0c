"""Frames of a video: people, their trails, and a legend."""

from collections import deque
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from detectron2.structures import Instances

from ..structures import Skeleton, split_side
from .people import PERSON_COLOURS, SIDE_COLOURS, draw_people
from .strokes import EDGE, FAR, Colour, Point, capsule, disc, draw_text, ellipse, text_width

_PIECES = 6  # of a trail, each fainter than the one after it


class VideoDrawer:
    """Draws one frame after the other.

    Args:
        skeleton: the K joints.
        trail: seconds of a person's trail that are drawn; 0 draws none. Only people with an ``ID`` have one.
        legend: explain colours and marks in a corner.
        options: of :func:`~.people.draw_people`.
    """

    def __init__(self, skeleton: Skeleton, *, trail: float = 1.0, legend: bool = False, **options: Any) -> None:
        self.skeleton, self.trail, self.legend, self.options = skeleton, trail, legend, options
        self._hips = [i for i, name in enumerate(skeleton.names) if split_side(name)[0] == "hip"]
        self._trails: dict[int, deque[tuple[float, Point]]] = {}  # ID -> (time, (x, y)), oldest first

    def __call__(self, image: np.ndarray, people: Instances, time: float) -> np.ndarray:
        """The frame with its people.

        Args:
            image: (H, W, 3) BGR uint8; not changed.
            people: see :func:`~.people.draw_people`.
            time: of the frame, in seconds.

        Returns:
            (H, W, 3) BGR uint8.
        """
        if people.has("ID") and self.trail:
            image = image.copy()
            self._extend(people, time)
            for number, trail in self._trails.items():
                _draw_trail(image, [place for _, place in trail], PERSON_COLOURS[number % len(PERSON_COLOURS)])
        drawn = draw_people(image, people, self.skeleton, **{"person_colours": False, **self.options})
        if self.legend:
            told = people.has("pred_keypoint_visibility") and self.options.get("hidden", "hollow") == "hollow"
            draw_legend(drawn, predicted=people.has("ID"), sigma=self.options.get("draw_sigma", False), hidden=told)
        return drawn

    def _extend(self, people: Instances, time: float) -> None:
        """Add where people are now to their trails, and forget what is too old."""
        boxes = people.pred_boxes.tensor.numpy()
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        if self._hips:
            middles = people.pred_keypoints[:, self._hips, :2].mean(1).numpy()
        for number, place in zip(people.ID.tolist(), middles.tolist()):
            self._trails.setdefault(number, deque()).append((time, place))
        for number, trail in list(self._trails.items()):
            while trail and trail[0][0] < time - self.trail:
                trail.popleft()
            if not trail:
                del self._trails[number]


def _draw_trail(image: np.ndarray, places: Iterable[Point], colour: Colour) -> None:
    """A line of pieces through places, oldest first, that get fainter with age."""
    points = np.array(list(places)) - 0.5
    if len(points) < 2 or not np.isfinite(points).all() or np.abs(points).max() > FAR:
        return
    width = max(1.5, np.sqrt(image.shape[0] * image.shape[1]) / 320)
    x0, y0 = np.maximum(np.floor(points.min(0) - width - 2), 0).astype(int).tolist()
    x1, y1 = np.minimum(np.ceil(points.max(0) + width + 3), (image.shape[1], image.shape[0])).astype(int).tolist()
    if x1 <= x0 or y1 <= y0:
        return
    part = image[y0:y1, x0:x1]
    line = np.round((points - (x0, y0)) * 16).astype(np.int32)
    edges = np.linspace(0, len(points) - 1, _PIECES + 1).round().astype(int).tolist()
    for extra, stroke, strength in ((1.6, EDGE, 120), (0.0, colour, 230)):
        # Opacity of the whole line first: where pieces meet it must not add up.
        cover = np.zeros(part.shape[:2], np.uint8)
        for piece, (first, last) in enumerate(zip(edges[:-1], edges[1:]), 1):
            value = strength * piece // _PIECES
            cv2.polylines(cover, [line[first : last + 1]], False, value, max(1, round(width + extra)), cv2.LINE_AA, 4)
        rows, columns = np.nonzero(cover)
        opacity = cover[rows, columns, None] / 255.0
        part[rows, columns] = part[rows, columns] * (1 - opacity) + np.array(stroke) * opacity


def draw_legend(image: np.ndarray, *, predicted: bool = False, sigma: bool = False, hidden: bool = False) -> None:
    """Say what colours and marks mean, in the lower left corner, in place; nothing where there is no room.

    Args:
        image: (H, W, 3) BGR uint8, changed.
        predicted: also for people who were not found, but predicted from their motion.
        sigma: also for ellipses.
        hidden: joints are filled where they are visible, not where they are sure.
    """
    size = max(11, min(image.shape[:2]) // 50)
    full, hollow = ("visible", "hidden") if hidden else ("sure", "unsure")
    rows = [("left", "left side"), ("right", "right side"), ("full", f"joint, {full}"), ("hollow", f"joint, {hollow}")]
    rows += [("predicted", "person not seen now, as predicted")] if predicted else []
    rows += [("sigma", "1 and 2 standard deviations")] if sigma else []
    step, pad, lead = round(1.7 * size), round(0.8 * size), round(3.2 * size)
    width = lead + max(text_width(text, size) for _, text in rows) + 2 * pad
    x, y = pad, image.shape[0] - step * len(rows) - 2 * pad
    if y < 0 or x + width > image.shape[1]:
        return  # no room
    plate = image[max(y - pad // 2, 0) : y + step * len(rows) + pad // 2, x : x + width]
    plate[:] = cv2.addWeighted(plate, 0.35, np.full_like(plate, EDGE), 0.65, 0)
    for i, (mark, text) in enumerate(rows):
        middle = y + (i + 0.5) * step
        _draw_mark(image, mark, (x + pad, middle), 0.7 * lead, size)
        draw_text(image, text, (x + pad + lead, middle - 0.62 * size), size, (235, 235, 235))


def _draw_mark(image: np.ndarray, mark: str, start: Point, length: float, size: int) -> None:
    """The mark of a row of the legend, from a point to the right."""
    (x, y), width = start, 0.26 * size
    centre = (x + length / 2, y)
    if mark in ("left", "right"):
        capsule(image, start, (x + length, y), width, SIDE_COLOURS[mark])
    elif mark == "predicted":
        capsule(image, start, (x + length, y), width, SIDE_COLOURS[""], 0.5)
    elif mark == "sigma":
        for factor, thickness, alpha in ((1, -1, 0.3), (1, 1, 0.8), (1.8, 1, 0.5)):
            ellipse(image, centre, (0.5 * factor * size, 0.3 * factor * size), SIDE_COLOURS["left"], alpha, thickness)
    else:
        if mark == "full":
            disc(image, centre, 0.28 * size, SIDE_COLOURS[""])
        disc(image, centre, 0.36 * size, SIDE_COLOURS["left"], 1.0, max(1.0, 0.16 * size))
