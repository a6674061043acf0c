"""Pose-aware augmentation: one affine map for the image, its joints and its boxes.

Every transform here is a 3 x 3 matrix in pixels with the origin at the corner of the first pixel, so that transforms
compose by multiplication, and whether left and right joints swap is the sign of the determinant, however many flips
were made. Random choices come from the ``numpy.random.Generator`` that is passed in, and from nothing else.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

# People of whom less than this share of the box stays in the image, or whose box gets narrower than this many
# pixels, become regions to ignore: there is too little to learn from, but they are not background.
MIN_VISIBLE_SHARE = 0.12
MIN_BOX_SIDE = 3.0


class Transform(NamedTuple):
    """Where each pixel goes, and the size of the image that comes out."""

    matrix: np.ndarray  # (3, 3) float64, input pixels to output pixels
    height: int
    width: int

    @property
    def mirrored(self) -> bool:
        """Whether left and right swap."""
        return bool(np.linalg.det(self.matrix[:2, :2]) < 0)

    @property
    def turned(self) -> bool:
        """Whether the sides of a box are no longer parallel to the axes."""
        m = self.matrix
        return bool(max(abs(m[0, 1]), abs(m[1, 0])) > 1e-9 * max(abs(m[0, 0]), abs(m[1, 1])))

    @property
    def area_scale(self) -> float:
        """By what areas grow: the absolute determinant of the linear part."""
        return float(abs(np.linalg.det(self.matrix[:2, :2])))

    def then(self, other: "Transform") -> "Transform":
        """This transform followed by the other one."""
        return Transform(other.matrix @ self.matrix, other.height, other.width)


class AffineOptions(NamedTuple):
    """Of :func:`random_affine`; those of test time unless told."""

    scale: tuple[float, float] = (1.0, 1.0)  # lowest and highest factor
    rotate: float = 0.0  # degrees to either side
    translate: float = 0.0  # shift to either side, as a share of the canvas's side
    prob: float = 0.0  # how often scale, turn and shift are drawn
    flip_prob: float = 0.0


class ColourOptions(NamedTuple):
    """Strengths of :func:`random_colour`."""

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0  # degrees


class PasteOptions(NamedTuple):
    """Of :func:`~.copy_paste.random_paste`."""

    prob: float = 0.0
    most: int = 3


class EdgeOptions(NamedTuple):
    """Detectron2's resize by the shortest edge, in pixels, after a crop."""

    shortest: tuple[int, ...] = (0,)  # to choose from; 0 keeps the size
    longest: int = 1333
    sampling: str = "choice"  # or "range": from the first of ``shortest`` to the last
    crop: tuple[str, tuple[float, float]] | None = None  # kind and size of :func:`random_crop`

    def draw(self, rng: np.random.Generator) -> int:
        """A random length of the shortest edge."""
        if self.sampling == "range":
            return int(rng.integers(self.shortest[0], self.shortest[-1] + 1))
        return self.shortest[int(rng.integers(len(self.shortest)))]


def identity(height: int, width: int) -> Transform:
    """Leave an image of ``height`` x ``width`` as it is."""
    return Transform(np.eye(3), height, width)


def scaling(height: int, width: int, new_height: int, new_width: int) -> Transform:
    """Resize an image of ``height`` x ``width``."""
    return Transform(np.diag([new_width / width, new_height / height, 1.0]), new_height, new_width)


def flipping(height: int, width: int) -> Transform:
    """Mirror left and right: ``x -> width - x``."""
    return Transform(np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]]), height, width)


def cropping(x: int, y: int, height: int, width: int) -> Transform:
    """Cut out the rectangle whose first pixel is (x, y)."""
    return Transform(np.array([[1.0, 0, -x], [0, 1, -y], [0, 0, 1]]), height, width)


def letterbox(
    height: int,
    width: int,
    side: int,
    *,
    scale: float = 1.0,
    degrees: float = 0.0,
    shift: Sequence[float] = (0.0, 0.0),
    mirror: bool = False,
) -> Transform:
    """Put an image on a square canvas: its longest side fills it, its centre is the canvas's.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        side: of the canvas, in pixels.
        scale: further factor about the centre.
        degrees: turn about the centre, clockwise as y points down.
        shift: move of the centre (x, y) as a share of the side.
        mirror: swap left and right.
    """
    factor = side / max(height, width) * scale
    c, s = np.cos(np.deg2rad(degrees)) * factor, np.sin(np.deg2rad(degrees)) * factor
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    to_centre = np.array([[1.0, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    if mirror:
        to_centre = np.diag([-1.0, 1, 1]) @ to_centre
    from_centre = np.array([[1.0, 0, side * (0.5 + shift[0])], [0, 1, side * (0.5 + shift[1])], [0, 0, 1]])
    return Transform(from_centre @ turn @ to_centre, side, side)


def shortest_edge_size(height: int, width: int, shortest: int, longest: int) -> tuple[int, int]:
    """Size (height, width) by Detectron2's rule: the shortest side is ``shortest`` unless the longest gets too long."""
    low, high = min(height, width), max(height, width)
    # In whole numbers, so that an exported graph has the same sizes.
    numerator, denominator = (shortest, low) if shortest * high <= longest * low else (longest, high)
    sides = (max(1, (2 * side * numerator + denominator) // (2 * denominator)) for side in (height, width))
    return next(sides), next(sides)


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W, 3) uint8: area mean when it shrinks, bilinear when it grows."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height * width < image.shape[0] * image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def warp_image(image: np.ndarray, transform: Transform, border: Sequence[float]) -> np.ndarray:
    """Apply a transform to the pixels.

    Args:
        image: (H, W, 3) uint8.
        transform: from the image's pixels.
        border: 3 values for what lies outside the image.

    Returns:
        (transform.height, transform.width, 3) uint8.
    """
    matrix = transform.matrix
    factor = np.sqrt(transform.area_scale)
    if factor < 0.6:  # bilinear sampling would skip pixels
        height, width = image.shape[:2]
        small = scaling(height, width, max(1, round(height * factor)), max(1, round(width * factor)))
        image = resize_image(image, small.height, small.width)
        matrix = matrix @ np.linalg.inv(small.matrix)
    # OpenCV counts from the centre of the first pixel, we from its corner.
    half = np.array([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    matrix = np.linalg.inv(half) @ matrix @ half
    return cv2.warpAffine(
        image,
        matrix[:2],
        (transform.width, transform.height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=tuple(float(v) for v in border),
    )


def transform_keypoints(keypoints: np.ndarray, transform: Transform, flip_index: Sequence[int]) -> np.ndarray:
    """Apply a transform to joints; those that leave the image lose their label.

    Args:
        keypoints: (M, K, 3) x, y, visibility.
        transform: from the pixels of the keypoints.
        flip_index: K, which joint each becomes in a mirror.

    Returns:
        (M, K, 3) float64; joints without label are all zero.
    """
    result = keypoints.astype(np.float64, copy=True)
    if transform.mirrored:
        result = result[:, flip_index]
    points = result[..., :2] @ transform.matrix[:2, :2].T + transform.matrix[:2, 2]
    inside = ((points >= 0) & (points <= (transform.width, transform.height))).all(-1) & (result[..., 2] > 0)
    result[..., :2] = points
    return result * inside[..., None]


def transform_boxes(boxes: np.ndarray, transform: Transform, keypoints: np.ndarray | None = None) -> np.ndarray:
    """Apply a transform to boxes, not clipped.

    A turned box is the extent of the turned ellipse that the box encloses: the extent of the turned corners would grow
    with the angle, though the body does not reach into the corners. Labelled joints are always inside a turned box.
    Without a turn the ellipse's extent is the box itself.

    Args:
        boxes: (M, 4) x0, y0, x1, y1.
        transform: from the pixels of the boxes.
        keypoints: (M, K, 3) in the pixels of the boxes, or None.

    Returns:
        (M, 4) float64.
    """
    linear = transform.matrix[:2, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + transform.matrix[:2, 2]
    half = np.sqrt(((boxes[:, 2:] - boxes[:, :2]) / 2) ** 2 @ (linear**2).T)
    low, high = centre - half, centre + half
    if transform.turned and keypoints is not None and keypoints.size:
        points = keypoints[..., :2] @ linear.T + transform.matrix[:2, 2]
        labelled = keypoints[..., 2:] > 0
        low = np.minimum(low, np.where(labelled, points, np.inf).min(1))
        high = np.maximum(high, np.where(labelled, points, -np.inf).max(1))
    return np.concatenate([low, high], axis=1)


def clip_boxes(boxes: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Clip boxes to the image.

    Returns:
        (boxes (M, 4), share (M,) of each box that stays in the image)
    """
    clipped = np.clip(boxes, 0, [width, height, width, height])
    before = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    after = (clipped[:, 2:] - clipped[:, :2]).prod(1)
    return clipped, after / np.maximum(before, 1e-9)


def random_affine(
    rng: np.random.Generator,
    height: int,
    width: int,
    side: int,
    *,
    scale: tuple[float, float],
    rotate: float,
    translate: float,
    prob: float,
    flip_prob: float,
) -> Transform:
    """A random flip and, with ``prob``, a letterbox of random scale, turn and shift, else the resize of test time.

    Args:
        rng: what all random choices come from.
        height: of the image, in pixels.
        width: of the image, in pixels.
        side: of the canvas, in pixels.
        scale: (low, high) factors.
        rotate: degrees to either side.
        translate: shift to either side as a share of ``side``.
        prob: how often scale, turn and shift are drawn.
        flip_prob: how often left and right swap.
    """
    mirror = rng.random() < flip_prob
    if rng.random() >= prob:
        # In the corner, as at test time, where images are padded at the right and at the bottom.
        factor = side / max(height, width)
        plain = scaling(height, width, max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5)))
        plain = plain.then(flipping(plain.height, plain.width)) if mirror else plain
        return Transform(plain.matrix, side, side)
    return letterbox(
        height,
        width,
        side,
        scale=rng.uniform(*scale),
        degrees=rng.uniform(-rotate, rotate),
        shift=rng.uniform(-translate, translate, size=2).tolist(),
        mirror=mirror,
    )


def random_crop(
    rng: np.random.Generator, height: int, width: int, kind: str, size: Sequence[float], centres: np.ndarray
) -> Transform:
    """A random crop, as Detectron2's ``RandomCrop``, which keeps the centre of one random person.

    Args:
        rng: what all random choices come from.
        height: of the image, in pixels.
        width: of the image, in pixels.
        kind: ``relative`` (share of each side), ``relative_range`` (share from ``size`` to 1), ``absolute`` (pixels) or
            ``absolute_range`` (sides between the two values of ``size``, as far as the image goes).
        size: two numbers, for height and width (``absolute_range``: smallest and largest).
        centres: (M, 2) x, y of the people; empty: anywhere.
    """
    full = np.array([height, width])
    if kind == "relative":
        crop = full * np.asarray(size) + 0.5
    elif kind == "relative_range":
        crop = full * rng.uniform(np.asarray(size, float), 1.0) + 0.5
    elif kind == "absolute":
        crop = np.minimum(size, full)
    else:
        crop = rng.integers(np.minimum(size[0], full), np.minimum(size[1], full) + 1)
    crop = np.clip(crop.astype(int), 1, full)
    low, high = np.zeros(2, int), full - crop
    if len(centres):
        centre = np.clip(centres[rng.integers(len(centres))][::-1], 0, full - 1)
        low = np.maximum(low, np.floor(centre).astype(int) + 1 - crop)
        high = np.minimum(high, np.floor(centre).astype(int))
    y, x = (int(rng.integers(a, b + 1)) for a, b in zip(low, high))
    return cropping(x, y, int(crop[0]), int(crop[1]))


_LUMA = np.array([0.114, 0.587, 0.299])  # BGR, ITU-R BT.601
# To luma and two colour differences (YIQ, BT.601 primaries), in BGR order.
_YIQ = np.array([_LUMA, [-0.322, -0.274, 0.596], [0.312, -0.523, 0.211]])
_YIQ_INVERSE = np.linalg.inv(_YIQ)


def random_colour(
    rng: np.random.Generator,
    image: np.ndarray,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> np.ndarray:
    """Change colours at random; all four are one 3 x 4 matrix, so that uint8 is rounded once.

    Args:
        rng: what all random choices come from.
        image: (H, W, 3) uint8, BGR; not changed.
        brightness: a factor is drawn from ``1 -+ brightness``.
        contrast: a factor about the mean grey is drawn from ``1 -+ contrast``.
        saturation: a factor is drawn from ``1 -+ saturation``.
        hue: turn of the colour circle (in YIQ) by up to so many degrees to either side.

    Returns:
        (H, W, 3) uint8.
    """
    if not (brightness or contrast or saturation or hue):
        return image
    b, c, s = (1 + rng.uniform(-v, v) for v in (brightness, contrast, saturation))
    angle = np.deg2rad(rng.uniform(-hue, hue))
    cos, sin = s * np.cos(angle), s * np.sin(angle)
    matrix = _YIQ_INVERSE @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ _YIQ
    # A grid of pixels is enough for the mean.
    grey = float(image[::4, ::4].reshape(-1, 3).mean(0) @ _LUMA)
    matrix = np.hstack([b * c * matrix, np.full((3, 1), b * (1 - c) * grey)])
    return cv2.transform(image, matrix)
