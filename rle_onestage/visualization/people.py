"""Pictures of people: skeletons with their confidence, sigma ellipses, pages of pictures.

Colours tell the sides apart for everybody, also with a red-green weakness: left is blue, right is orange, what joins
both is white. Every light stroke has a dark edge, so that it reads on any background. Widths follow the size of the
person and of the picture. All images are BGR uint8; coordinates are those of the model (pixels, origin at the corner of
the first one).
"""

import functools
import os
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from .skeleton import split_side

# BGR.
SIDE_COLOURS = {"left": (255, 176, 64), "right": (48, 128, 255), "": (242, 242, 242)}
EDGE = (26, 22, 20)
PAPER = (30, 27, 26)
PERSON_COLOURS = (
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
# Below this expected OKS a joint is drawn hollow and faded.
CONFIDENT = 0.5
# Joints less likely than this to be in the picture at all are left out.
PRESENT = 0.25
_SHIFT = 4  # fractional bits of OpenCV's coordinates
_FAR = 16000.0  # beyond it OpenCV's fixed-point coordinates overflow


class _Person(NamedTuple):
    """One person ready to draw."""

    joints: np.ndarray  # (K, 2) in OpenCV's coordinates (pixel centres)
    confidence: np.ndarray  # (K,)
    shown: np.ndarray  # (K,) bool
    sigmas: np.ndarray | None  # (K, 2)
    box: np.ndarray  # (4,)
    score: float
    colour: tuple  # fill of the joints
    width: float  # of the limbs, pixels


def draw_people(
    image,
    instances,
    skeleton,
    *,
    threshold=0.3,
    draw_sigma=False,
    draw_boxes=False,
    labels=True,
    person_colours=True,
    scale=1.0,
):
    """Draw the people whose score reaches a threshold.

    Confident joints are filled; those with an expected OKS below 0.5 are hollow and faded, with their limbs; those that
    are probably not in the picture (presence below 0.25) are left out.

    Args:
        image: (H, W, 3) BGR uint8; not changed.
        instances: with ``pred_keypoints`` (N, K, 3) and, where there are any, ``scores``, ``pred_boxes``,
            ``pred_keypoint_sigmas``, ``pred_keypoint_presence`` and ``track_ids`` (which then choose the colours).
        skeleton: the :class:`~.skeleton.Skeleton` of the joints.
        threshold: lowest score drawn.
        draw_sigma: also ellipses of one and two predicted standard deviations.
        draw_boxes: also the boxes.
        labels: also the scores.
        person_colours: joints have a colour for each person; without, white (for videos without tracks).
        scale: enlarge the picture by this first, so that small ones can be read.

    Returns:
        (H * scale, W * scale, 3) BGR uint8.
    """
    canvas = image.copy()
    if scale != 1.0:
        canvas = cv2.resize(
            canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        )
    people = _people(instances, canvas.shape, threshold, person_colours, scale)
    sides = [split_side(name)[1] for name in skeleton.names]
    for person in people:
        if draw_boxes:
            _draw_box(canvas, person)
        if draw_sigma and person.sigmas is not None:
            _draw_sigmas(canvas, person, sides)
        _draw_limbs(canvas, person, skeleton.limbs, sides)
        _draw_joints(canvas, person, sides)
    if labels:
        for person in people:
            _draw_label(canvas, person)
    return canvas


def _people(instances, shape, threshold, person_colours, scale):
    """The people to draw, least certain first, so that the others lie on top."""
    instances = instances.to(torch.device("cpu"))
    number = len(instances)
    if not number or not instances.has("pred_keypoints"):
        return []
    keypoints = instances.pred_keypoints.detach().double().numpy() * np.array([scale, scale, 1.0])
    scores = instances.scores.detach().numpy() if instances.has("scores") else np.ones(number)
    presence = _field(instances, "pred_keypoint_presence")
    sigmas = _field(instances, "pred_keypoint_sigmas")
    ids = instances.track_ids.tolist() if instances.has("track_ids") else range(number)
    people = []
    for i in sorted(np.flatnonzero(scores >= threshold), key=lambda i: scores[i]):
        joints = keypoints[i, :, :2] - 0.5
        shown = np.isfinite(joints).all(1) & (np.abs(joints) < _FAR).all(1)
        if presence is not None:
            shown &= presence[i] >= PRESENT
        box = _box_of(instances, i, joints, shown, scale)
        colour = PERSON_COLOURS[int(ids[i]) % len(PERSON_COLOURS)] if person_colours else (255, 255, 255)
        people.append(
            _Person(
                joints,
                np.nan_to_num(keypoints[i, :, 2]).clip(0, 1),
                shown,
                None if sigmas is None else sigmas[i] * scale,
                box,
                float(scores[i]),
                colour,
                _line_width(box, shape),
            )
        )
    return people


def _field(instances, name):
    return instances.get(name).detach().double().numpy() if instances.has(name) else None


def _box_of(instances, i, joints, shown, scale):
    if instances.has("pred_boxes"):
        return np.nan_to_num(instances.pred_boxes.tensor[i].detach().double().numpy() * scale).clip(-_FAR, _FAR)
    seen = joints[shown] if shown.any() else np.zeros((1, 2))
    return np.concatenate([seen.min(0), seen.max(0)])


def _line_width(box, shape):
    """Limb width: 1.3 % of the person's larger side, within limits set by the picture's size."""
    picture = np.sqrt(shape[0] * shape[1])
    person = max(box[2] - box[0], box[3] - box[1])
    return float(np.clip(0.013 * person, max(1.2, picture / 420), max(2.0, picture / 110)))


def _alpha(confidence):
    """Opacity of a joint: full when confident, else fading with the expected OKS."""
    return 1.0 if confidence >= CONFIDENT else 0.42 + 0.5 * confidence


def _blend(canvas, low, high, alpha, draw):
    """Let ``draw(patch, origin)`` paint on the part of the canvas between two corners, with an opacity."""
    height, width = canvas.shape[:2]
    x0, y0 = (int(max(0, np.floor(v) - 2)) for v in low)
    x1, y1 = int(min(width, np.ceil(high[0]) + 3)), int(min(height, np.ceil(high[1]) + 3))
    if x1 <= x0 or y1 <= y0:
        return
    part = canvas[y0:y1, x0:x1]
    patch = part.copy()
    draw(patch, np.array([x0, y0], dtype=float))
    part[:] = patch if alpha >= 1 else cv2.addWeighted(patch, alpha, part, 1 - alpha, 0)


def _fixed(values):
    return np.round(np.asarray(values) * (1 << _SHIFT)).astype(np.int32)


def _capsule(canvas, start, end, width, colour, alpha):
    """A line of any width (also fractional) with round ends."""
    radius = width / 2
    along = end - start
    length = float(np.hypot(*along))
    across = np.array([-along[1], along[0]]) / length * radius if length > 1e-6 else np.zeros(2)

    def draw(patch, origin):
        a, b = start - origin, end - origin
        cv2.fillConvexPoly(patch, _fixed([a + across, b + across, b - across, a - across]), colour, cv2.LINE_AA, _SHIFT)
        for point in (a, b):
            cv2.circle(patch, tuple(_fixed(point).tolist()), int(_fixed(radius)), colour, -1, cv2.LINE_AA, _SHIFT)

    _blend(canvas, np.minimum(start, end) - radius, np.maximum(start, end) + radius, alpha, draw)


def _disc(canvas, centre, radius, colour, alpha, thickness=-1):
    def draw(patch, origin):
        where = tuple(_fixed(centre - origin).tolist())
        cv2.circle(patch, where, int(_fixed(radius)), colour, thickness, cv2.LINE_AA, _SHIFT)

    _blend(canvas, centre - radius - 2, centre + radius + 2, alpha, draw)


def _draw_limbs(canvas, person, limbs, sides):
    drawn = []
    for a, b in limbs:
        if not (person.shown[a] and person.shown[b]):
            continue
        pair = {sides[a], sides[b]} - {""}
        confidence = min(person.confidence[a], person.confidence[b])
        width = person.width * (1.0 if confidence >= CONFIDENT else 0.7)
        colour = SIDE_COLOURS[pair.pop() if len(pair) == 1 else ""]
        drawn.append((person.joints[a], person.joints[b], width, colour, _alpha(confidence)))
    edge = _edge(person)
    for start, end, width, _, alpha in drawn:
        _capsule(canvas, start, end, width + 2 * edge, EDGE, 0.75 * alpha)
    for start, end, width, colour, alpha in drawn:
        _capsule(canvas, start, end, width, colour, alpha)


def _edge(person):
    """Width of the dark edge round the strokes."""
    return max(0.8, 0.28 * person.width)


def _draw_joints(canvas, person, sides):
    radius, edge = 0.95 * person.width, _edge(person)
    for k in np.flatnonzero(person.shown):
        centre, side = person.joints[k], SIDE_COLOURS[sides[k]]
        if person.confidence[k] >= CONFIDENT:
            _disc(canvas, centre, radius + edge, EDGE, 0.85)
            _disc(canvas, centre, radius, side, 1.0)
            _disc(canvas, centre, 0.55 * radius, person.colour, 1.0)
            continue
        alpha = _alpha(person.confidence[k])
        ring = max(1, round(0.45 * person.width))
        _disc(canvas, centre, radius, EDGE, 0.8 * alpha, ring + max(2, round(2 * edge)))
        _disc(canvas, centre, radius, side, alpha, ring)


def _draw_sigmas(canvas, person, sides):
    """Ellipses of one (filled) and two (outlined) standard deviations."""
    for k in np.flatnonzero(person.shown & np.isfinite(person.sigmas).all(1)):
        centre, colour = person.joints[k], SIDE_COLOURS[sides[k]]
        for factor, thickness, alpha in ((1.0, -1, 0.2), (1.0, 1, 0.7), (2.0, 1, 0.4)):
            axes = np.clip(factor * person.sigmas[k], 0.5, _FAR / 4)
            _ellipse(canvas, centre, axes, colour, thickness, alpha)


def _ellipse(canvas, centre, axes, colour, thickness, alpha):
    def draw(patch, origin):
        where, size = tuple(_fixed(centre - origin).tolist()), tuple(_fixed(axes).tolist())
        cv2.ellipse(patch, where, size, 0, 0, 360, colour, thickness, cv2.LINE_AA, _SHIFT)

    _blend(canvas, centre - axes - 2, centre + axes + 2, alpha, draw)


def _draw_box(canvas, person):
    x0, y0, x1, y1 = person.box - 0.5
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    for width, colour, alpha in ((2.6, EDGE, 0.5), (1.2, person.colour, 0.9)):
        for i in range(4):
            _capsule(canvas, corners[i], corners[(i + 1) % 4], width, colour, alpha)


@functools.lru_cache(maxsize=32)
def _font(size, bold=False):
    # matplotlib brings this font to every machine that has Detectron2.
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", name), size)


@functools.lru_cache(maxsize=512)
def _text_mask(text, size, bold=False):
    """Coverage of a line of text, (h, w) in [0, 1]; all lines of one size have the same height."""
    font = _font(size, bold)
    ascent, descent = font.getmetrics()
    mask = Image.new("L", (max(1, int(np.ceil(font.getlength(text)))), ascent + descent))
    ImageDraw.Draw(mask).text((0, 0), text, fill=255, font=font)
    return np.asarray(mask, dtype=np.float32) / 255


def text_width(text, size, bold=False):
    """Width of a line of text in pixels."""
    return _text_mask(text, size, bold).shape[1]


def draw_text(image, text, corner, size, colour=(255, 255, 255), bold=False):
    """Draw a line of text in place; what lies outside the image is cut off.

    Args:
        image: (H, W, 3) BGR uint8, changed.
        text: what to write.
        corner: x, y of the upper left corner.
        size: font size in pixels.
        colour: BGR.
        bold: the bold face.
    """
    mask = _text_mask(text, int(size), bold)
    x, y = (int(round(v)) for v in corner)
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + mask.shape[1], image.shape[1]), min(y + mask.shape[0], image.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    cover = mask[y0 - y : y1 - y, x0 - x : x1 - x, None]
    part = image[y0:y1, x0:x1]
    part[:] = (part * (1 - cover) + np.array(colour, dtype=np.float32) * cover + 0.5).astype(np.uint8)


def draw_tag(image, text, corner, size, dot=None):
    """Draw text on a dark, translucent plate in place, kept inside the image.

    Args:
        image: (H, W, 3) BGR uint8, changed.
        text, size: see :func:`draw_text`.
        corner: x, y of the plate's upper left corner.
        dot: BGR colour of a dot before the text, or None.
    """
    pad = max(2, round(0.35 * size))
    lead = round(0.75 * size) if dot else 0
    height, width = _text_mask(text, int(size)).shape
    width, height = width + lead + 2 * pad, height + max(1, pad // 2)
    x = int(np.clip(round(corner[0]), 0, max(0, image.shape[1] - width)))
    y = int(np.clip(round(corner[1]), 0, max(0, image.shape[0] - height)))
    middle = y + height / 2 - 0.5
    ends = np.array([x + height / 2, middle]), np.array([x + width - height / 2, middle])
    _capsule(image, *ends, height, EDGE, 0.6)
    if dot:
        _disc(image, np.array([x + pad + 0.28 * size, middle]), 0.24 * size, dot, 1.0)
    draw_text(image, text, (x + pad + lead, y + max(1, pad // 2) / 2), size, (245, 245, 245))


def _draw_label(canvas, person):
    size = int(np.clip(3.8 * person.width, 9, max(11, min(canvas.shape[:2]) / 32)))
    top = person.box[1] - 1.5 * size
    draw_tag(canvas, f"{person.score:.2f}", (person.box[0], max(top, 0)), size, dot=person.colour)


def contact_sheet(images, columns, *, captions=None, tile=(320, 240), gap=6):
    """Pictures on one page, each as large as its tile allows.

    Args:
        images: list of (h, w, 3) BGR uint8, of any sizes.
        columns: how many in a row.
        captions: texts below the pictures, or None.
        tile: width and height of a tile.
        gap: pixels between tiles.

    Returns:
        One BGR uint8 image.
    """
    columns = max(1, min(columns, len(images)))
    rows = max(1, -(-len(images) // columns))
    text = max(10, round(min(tile) / 20))
    foot = round(1.6 * text) if captions else 0
    width, height = tile[0] + gap, tile[1] + foot + gap
    page = np.full((rows * height + gap, columns * width + gap, 3), PAPER, dtype=np.uint8)
    for i, image in enumerate(images):
        x, y = gap + (i % columns) * width, gap + (i // columns) * height
        _paste(page, image, x, y, tile)
        if captions:
            draw_text(page, captions[i], (x + 2, y + tile[1] + 0.15 * text), text, (220, 220, 220))
    return page


def _paste(page, image, x, y, tile):
    factor = min(tile[0] / image.shape[1], tile[1] / image.shape[0])
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    x, y = x + (tile[0] - size[0]) // 2, y + (tile[1] - size[1]) // 2
    page[y : y + size[1], x : x + size[0]] = small


def side_by_side(image, predictions, truth, skeleton, *, title="", threshold=0.1, height=360):
    """Predictions (left) and labels (right) on the same picture.

    Args:
        image: (H, W, 3) BGR uint8.
        predictions, truth: ``Instances`` as in :func:`draw_people`.
        skeleton: the joints.
        title: text before "predicted".
        threshold: lowest score drawn.
        height: of each half, pixels.

    Returns:
        One BGR uint8 image.
    """
    scale = height / image.shape[0]
    left = draw_people(image, predictions, skeleton, threshold=threshold, scale=scale)
    right = draw_people(image, truth, skeleton, threshold=0.0, labels=False, scale=scale)
    for half, text in ((left, f"{title} predicted".strip()), (right, "labels")):
        draw_tag(half, text, (4, 4), max(11, height // 26))
    return np.concatenate([left, np.full((left.shape[0], 4, 3), PAPER, np.uint8), right], axis=1)
