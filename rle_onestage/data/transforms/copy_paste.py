"""Copy-paste: people are cut out of photographs along their segments and laid onto other canvases.

Ghiasi et al., "Simple copy-paste is a strong data augmentation method for instance segmentation", CVPR 2021. It works
on a finished canvas (after the affine map, after the mosaic), with arrays only. :mod:`.cutouts` makes what is pasted,
and :func:`.occlusion.hide` says what happens to the people behind it.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ...structures.boxes import share_inside
from . import augmentation as aug
from .canvas import CanvasPeople, bounds, swap_sides, zoomed
from .cutouts import Cutout
from .occlusion import hide

# A paste that does not lie beside somebody has its lower end below this share of the canvas: the ground is there.
_HORIZON = 0.55
# Whom the photograph cut off is near, so the smallest length is larger by this factor.
_NEAR = 2.0
# Of each side of a paste, so much is on the canvas.
_INSIDE = 0.75


def random_paste(
    rng: np.random.Generator,
    canvas: np.ndarray,
    people: CanvasPeople,
    cutouts: Sequence[Cutout],
    flip_index: Sequence[int],
    *,
    prob: float,
    most: int = 3,
    match: float = 0.5,
    **place: Any,
) -> tuple[np.ndarray, CanvasPeople]:
    """With ``prob``, paste one to ``most`` random people at random places.

    Args:
        rng: the only source of random choices; not touched if nothing can be pasted.
        canvas: (H, W, 3) uint8 BGR; not changed.
        people: its labels.
        cutouts: to choose from.
        flip_index: K, which joint each becomes in a mirror.
        prob: how often anything is pasted.
        most: the largest number of pastes.
        match: of each paste, colours are matched to the canvas by a strength between 0 and this.
        place: options of :func:`random_place`.

    Returns:
        (canvas, people)
    """
    if not prob or not len(cutouts) or rng.random() >= prob:
        return canvas, people
    for _ in range(int(rng.integers(1, most + 1))):
        cutout = cutouts[int(rng.integers(len(cutouts)))]
        transform = random_place(rng, canvas.shape[:2], cutout, people.boxes, **place)
        strength = float(rng.uniform(0, match))
        canvas, people = paste(canvas, people, cutout, transform, flip_index, match=strength)
    return canvas, people


def random_place(
    rng: np.random.Generator,
    size: tuple[int, int],
    cutout: Cutout,
    boxes: np.ndarray,
    *,
    lengths: tuple[float, float] = (0.12, 0.9),
    rotate: float = 8.0,
    mirror: float = 0.5,
    beside: float = 0.5,
    most_enlarged: float = 1.6,
    most_covered: float = 0.6,
    tries: int = 6,
) -> aug.Transform:
    """Where and how large a cut-out person is pasted.

    Half of the time (``beside``) that is at the side of somebody, about as large as that person, so that people
    overlap as in crowds; else anywhere, with the lower end in the lower part of the canvas. Sides where the photograph
    or something in front had cut the person off are laid on the canvas's border. Of some tries the first is taken that
    covers nobody's box too much, else the one that covers least.

    Args:
        rng: what all random choices come from.
        size: height and width of the canvas.
        cutout: the person.
        boxes: (M, 4) people on the canvas.
        lengths: smallest and largest longest side of the pasted box, as shares of the canvas's longest side; logarithms
            are drawn evenly.
        rotate: degrees to either side.
        mirror: how often left and right swap.
        beside: how often at the side of somebody.
        most_enlarged: limit of the scale, so that nobody is blurred.
        most_covered: share of a person's box that may be covered.
        tries: places that are looked at.

    Returns:
        The transform from the crop's pixels to the canvas's.
    """
    best, least = aug.identity(*size), np.inf  # of the first try at the latest
    for _ in range(max(tries, 1)):
        transform = _place(rng, size, cutout, boxes, lengths, rotate, mirror, beside, most_enlarged)
        covered = share_inside(boxes, aug.transform_boxes(cutout.box[None], transform)).max(initial=0.0)
        if covered < least:
            best, least = transform, covered
        if covered <= most_covered:
            break
    return best


def _place(
    rng: np.random.Generator,
    size: tuple[int, int],
    cutout: Cutout,
    boxes: np.ndarray,
    lengths: tuple[float, float],
    rotate: float,
    mirror: float,
    beside: float,
    most_enlarged: float,
) -> aug.Transform:
    height, width = size
    own = cutout.box[2:] - cutout.box[:2]
    low, high = (length * max(size) for length in lengths)
    low = min(low * _NEAR, high) if cutout.cut.any() else low
    if len(boxes) and rng.random() < beside:
        x0, y0, x1, y1 = boxes[int(rng.integers(len(boxes)))]
        length = max(x1 - x0, y1 - y0) * rng.uniform(0.7, 1.4)
        scale = min(np.clip(length, low, high) / own.max(), most_enlarged)
        half = scale * own / 2
        gap = rng.uniform(0.3, 1.2) * ((x1 - x0) / 2 + half[0])
        centre = [(x0 + x1) / 2 + rng.choice((-1.0, 1.0)) * gap, y1 - half[1] + 0.1 * half[1] * rng.normal()]
    else:
        scale = min(np.exp(rng.uniform(np.log(low), np.log(high))) / own.max(), most_enlarged)
        half = scale * own / 2
        x = rng.uniform((2 * _INSIDE - 1) * half[0], width - (2 * _INSIDE - 1) * half[0])
        lowest = height + 2 * (1 - _INSIDE) * half[1]
        end = rng.uniform(min(max(_HORIZON * height, 2 * _INSIDE * half[1]), lowest), lowest)
        centre = [x, end - half[1]]
    angle = rng.uniform(-rotate, rotate)
    matrix = _about(cutout.box, scale, angle, rng.random() < mirror, centre)
    return _cut_sides_to_border(aug.Transform(matrix, height, width), cutout)


def _about(box: np.ndarray, scale: float, degrees: float, mirrored: bool, centre: Sequence[float]) -> np.ndarray:
    """(3, 3): scale, mirror and turn about the box's centre, which comes to ``centre``."""
    c, s = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    linear = np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = np.asarray(centre) - linear @ ((box[:2] + box[2:]) / 2)
    return matrix


def _cut_sides_to_border(transform: aug.Transform, cutout: Cutout) -> aug.Transform:
    """Move so that both ends of each side where the person was cut off lie on the border or beyond."""
    x0, y0, x1, y1 = cutout.box
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) @ transform.matrix[:2, :2].T + transform.matrix[:2, 2]
    left, top, right, bottom = cutout.cut
    left_ends, right_ends = corners[[0, 3], 0], corners[[1, 2], 0]
    if transform.mirrored:
        left, right, left_ends, right_ends = right, left, right_ends, left_ends
    shift = np.zeros(2)
    if left:
        shift[0] = -left_ends.max()
    elif right:
        shift[0] = transform.width - right_ends.min()
    if top:
        shift[1] = -corners[:2, 1].max()
    elif bottom:
        shift[1] = transform.height - corners[2:, 1].min()
    matrix = transform.matrix.copy()
    matrix[:2, 2] += shift
    return transform._replace(matrix=matrix)


def paste(
    canvas: np.ndarray,
    people: CanvasPeople,
    cutout: Cutout,
    transform: aug.Transform,
    flip_index: Sequence[int],
    *,
    feather: float = 0.8,
    match: float = 0.0,
) -> tuple[np.ndarray, CanvasPeople]:
    """Lay a cut-out person over a canvas and its people; no random choice.

    The edge fades inwards, so that no pixel outside the segment changes. The person's box is that of its segment on the
    canvas, its area shrinks by what lies outside. It becomes a region to ignore where the mapper would do the same
    (:data:`.augmentation.MIN_VISIBLE_SHARE`, :data:`.augmentation.MIN_BOX_SIDE`), or if no labelled joint is left.

    Args:
        canvas: (H, W, 3) uint8 BGR; not changed.
        people: its labels; not changed.
        cutout: the person; ``extra`` needs the names of ``people.extra``.
        transform: from the crop's pixels to the canvas's.
        flip_index: K, which joint each becomes in a mirror.
        feather: standard deviation of the edge, in pixels of the canvas; 0: sharp.
        match: how far mean and spread of the colours are moved to the canvas's, 0 to 1.

    Returns:
        (canvas, people): new ones, with the person as the last row; the same if nothing of it lies on the canvas.

    Raises:
        KeyError: the cutout lacks an extra value.
    """
    region = _region(cutout, transform)
    if region is None:
        return canvas, people
    x, y, height, width = region
    local = transform.then(aug.cropping(x, y, height, width))
    mask = aug.warp_image(cutout.mask, local, (0,))
    seen = mask > 127
    if not seen.any():
        return canvas, people
    image = _matched(cutout, canvas, match) if match else cutout.image
    alpha = _alpha(mask, feather)
    canvas = canvas.copy()
    below = canvas[y : y + height, x : x + width]
    above = aug.warp_image(image, local, (0, 0, 0))
    below[:] = np.rint(below + alpha[..., None] * (above.astype(np.float32) - below))
    people = hide(people, alpha > 0.5, (x, y))
    share = min(1.0, cv2.sumElems(mask)[0] / 255 / (cutout.area * transform.area_scale))
    box = bounds(seen) + [x, y, x, y]
    return canvas, _with_person(people, cutout, transform, flip_index, box, share)


def _region(cutout: Cutout, transform: aug.Transform) -> tuple[int, int, int, int] | None:
    """(x, y, height, width) of the canvas that the crop reaches; None if there is none."""
    height, width = cutout.mask.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    corners = corners @ transform.matrix[:2, :2].T + transform.matrix[:2, 2]
    size = (transform.width, transform.height)
    x0, y0 = np.clip(np.floor(corners.min(0)), 0, size).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(corners.max(0)), 0, size).astype(int).tolist()
    return (x0, y0, y1 - y0, x1 - x0) if x1 > x0 and y1 > y0 else None


def _alpha(mask: np.ndarray, feather: float) -> np.ndarray:
    """(h, w) float32: 0 on the segment's edge and outside, 1 inside."""
    if not feather:
        return mask.astype(np.float32) / 255
    # The border of the region is no edge of the person: the segment goes on there, or the crop's margin is empty.
    soft = cv2.GaussianBlur(mask, (0, 0), feather, borderType=cv2.BORDER_REPLICATE).astype(np.float32)
    return np.clip(soft / 127.5 - 1, 0, 1) * (mask > 127)


def _matched(cutout: Cutout, canvas: np.ndarray, strength: float) -> np.ndarray:
    """The crop with the mean and the spread of its person's colours moved towards the canvas's."""
    mean, spread = (v[:, 0] for v in cv2.meanStdDev(cutout.image, mask=cutout.mask))
    # A grid of pixels is enough for those of the canvas.
    new_mean, new_spread = (v[:, 0] for v in cv2.meanStdDev(np.ascontiguousarray(canvas[::4, ::4])))
    gain = 1 + strength * (np.clip(new_spread / np.maximum(spread, 1), 0.6, 1.6) - 1)
    offset = (1 - gain) * mean + strength * (new_mean - mean)
    return cv2.transform(cutout.image, np.hstack([np.diag(gain), offset[:, None]]))


def _with_person(
    people: CanvasPeople,
    cutout: Cutout,
    transform: aug.Transform,
    flip_index: Sequence[int],
    box: np.ndarray,
    share: float,
) -> CanvasPeople:
    keypoints = aug.transform_keypoints(cutout.keypoints[None], transform, flip_index)
    enough = share >= aug.MIN_VISIBLE_SHARE and (box[2:] - box[:2]).min() >= aug.MIN_BOX_SIDE
    if not enough or not keypoints[..., 2].any():
        return people._replace(ignore=_appended(people.ignore, box))
    own, extra = zoomed(cutout.extra, transform.area_scale**0.5), {}
    for name, values in people.extra.items():
        row = swap_sides(np.asarray(own[name])[None], flip_index, transform.mirrored)[0]
        extra[name] = _appended(values, row)
    return people._replace(
        boxes=_appended(people.boxes, box),
        keypoints=_appended(people.keypoints, keypoints[0]),
        area=_appended(people.area, cutout.area * transform.area_scale * share),
        classes=_appended(people.classes, cutout.category),
        extra=extra,
    )


def _appended(values: np.ndarray, row: np.ndarray | float) -> np.ndarray:
    return np.concatenate([values, np.asarray(row, values.dtype)[None]])
