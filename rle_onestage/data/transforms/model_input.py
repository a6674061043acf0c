"""An image as the model is fed it at test time: resized, and as a tensor."""

import numpy as np
import torch
from detectron2.config import CfgNode, configurable

from .augmentation import Transform, resize_image, scaling, shortest_edge_size

# Added before rounding, so that halves go up whatever the order of a sum.
LIFT = 2.0**-10
# A mean of OpenCV's in float32 may be off by this much, in grey levels, where an image shrinks to a twelfth.
_UNSURE = 2.0**-9
_AT_ONCE = 2**15  # values that are computed anew together, which bounds memory


class TestResize:
    """The resize at test time, for images outside a data set too, by the keys that Detectron2's own tools know.

    The shortest edge gets ``INPUT.MIN_SIZE_TEST`` unless the longest then exceeds ``MAX_SIZE_TEST``; with both equal,
    that is the length of the longest side. ``INPUT.POSE.SIZE`` has no say.

    Made by ``TestResize(cfg)`` or by keywords.

    Args:
        shortest: length of the shortest edge, in pixels; 0 keeps the image as it is.
        longest: what the longest edge must not exceed, in pixels.
    """

    __test__ = False  # not a test, for pytest

    @configurable
    def __init__(self, *, shortest: int = 0, longest: int = 0):
        self.shortest = shortest
        self.longest = longest

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, int]:
        """The arguments that the config gives."""
        return {"shortest": cfg.INPUT.MIN_SIZE_TEST, "longest": cfg.INPUT.MAX_SIZE_TEST}

    def transform(self, height: int, width: int) -> Transform:
        """The resize of an image of ``height`` x ``width`` pixels."""
        if self.shortest == 0:
            return scaling(height, width, height, width)
        return scaling(height, width, *shortest_edge_size(height, width, self.shortest, self.longest))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Resize (H, W, 3) uint8."""
        transform = self.transform(*image.shape[:2])
        return resize_for_model(image, transform.height, transform.width)


def resize_for_model(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W, 3) uint8: the mean of the area when it shrinks, as OpenCV's INTER_AREA; bilinear when it grows.

    OpenCV grows images in fixed point, which differs by a grey level at one value in eight, and by machine. Its area
    mean depends on the order of a sum where it is near a half: that is one value in 100,000, but one grey level moves
    joints. Here a value is a sum of whole numbers over a whole number, see :func:`_mean`, as in an exported graph.
    """
    given = image.shape[:2]
    if given == (height, width):
        return image
    if height * width < given[0] * given[1]:
        return _shrunk(image, height, width)
    first, second, near, far = _neighbours(given[0], height)
    rows = image[first] * near[:, None, None] + image[second] * far[:, None, None]  # (height, W, 3) float64
    first, second, near, far = _neighbours(given[1], width)
    grown = rows[:, first] * near[:, None] + rows[:, second] * far[:, None]
    return _mean(grown, 4 * height * width, LIFT)


def _mean(total: np.ndarray, count: int, lift: float = 0.0) -> np.ndarray:
    """Grey levels uint8 of exact sums. Each step is rounded to float32, so that whoever takes them gets the same.

    Args:
        total: of whole numbers.
        count: what they are divided by.
        lift: added to the quotient before it is rounded.
    """
    count = np.float32(count)
    return np.rint((total.astype(np.float32) + np.float32(lift) * count) * (np.float32(1) / count)).astype(np.uint8)


def _neighbours(given: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each of ``wanted`` pixels the two among ``given`` that its centre lies between, and their weights.

    The weights are whole numbers of the sum ``2 * wanted``, as float64.
    """
    # In units of half a pixel over ``wanted``.
    centre = np.clip((2 * np.arange(wanted) + 1) * given - wanted, 0, 2 * wanted * (given - 1))
    first, rest = np.divmod(centre, 2 * wanted)
    return first, np.minimum(first + 1, given - 1), (2 * wanted - rest).astype(np.float64), rest.astype(np.float64)


def _shrunk(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """By OpenCV, and exactly where its mean is so near a half that the order of its sum decides."""
    given = image.shape[:2]
    if given == (2 * height, 2 * width):
        return resize_image(image, height, width)  # in whole numbers; halves go up
    mean = resize_image(image.astype(np.float32), height, width)
    made = np.rint(mean).astype(np.uint8)
    unsure = np.nonzero(np.abs(mean - np.floor(mean) - 0.5) < _UNSURE)
    for begin in range(0, len(unsure[0]), _AT_ONCE):
        rows, columns, channel = (index[begin : begin + _AT_ONCE] for index in unsure)
        pixel_rows, row_weights = _covered(rows, given[0], height)
        pixel_columns, column_weights = _covered(columns, given[1], width)
        values = image[pixel_rows[:, :, None], pixel_columns[:, None], channel[:, None, None]]  # (n, T, T')
        total = (row_weights[:, :, None] * column_weights[:, None] * values).sum((1, 2))
        made[rows, columns, channel] = _mean(total, given[0] * given[1])
    return made


def _covered(index: np.ndarray, given: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """What pixels of the resized image cover along one axis.

    Args:
        index: (n,) of the resized image's pixels.
        given: pixels of the image.
        wanted: pixels of the resized image.

    Returns:
        Indices (n, T) of the image's pixels, and weights (n, T) int64 of the sum ``given``.
    """
    begin = (index * given)[:, None]
    pixel = begin // wanted + np.arange(given // wanted + 2)
    shared = np.minimum(begin + given, (pixel + 1) * wanted) - np.maximum(begin, pixel * wanted)
    return np.minimum(pixel, given - 1), shared.clip(min=0)


def image_to_tensor(image: np.ndarray, image_format: str) -> torch.Tensor:
    """Make the model's input of an image.

    Args:
        image: (H, W, 3) uint8 BGR.
        image_format: ``BGR`` or ``RGB``.

    Returns:
        (3, H, W) uint8 tensor in that format.
    """
    if image_format == "RGB":
        image = image[:, :, ::-1]
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
