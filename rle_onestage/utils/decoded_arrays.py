"""From whatever a decoder gives to the one form that all else expects."""

import numpy as np

from .bit_depth import as_eight_bits

# Of each number of channels, those that become blue, green and red; what is left out is opacity.
_CHANNELS = {1: [0, 0, 0], 2: [0, 0, 0], 3: [0, 1, 2], 4: [0, 1, 2]}


def as_colour_image(decoded: np.ndarray, file_name: str = "an image") -> np.ndarray:
    """Bring a decoded array of any shape and type of samples to eight bits and three channels.

    Args:
        decoded: (H, W) or (H, W, C), grey, grey and opacity, BGR, or BGR and opacity; of truth values, whole numbers
            or fractions, see :func:`~.bit_depth.as_eight_bits`.
        file_name: for the log.

    Returns:
        (H, W, 3) uint8, BGR, contiguous.

    Raises:
        ValueError: there is no image in it; the message is a clause that says why.
    """
    image = decoded[..., None] if decoded.ndim == 2 else decoded
    if image.ndim != 3 or not image.size:
        raise ValueError(f"it has no pixels: what is decoded has the shape {decoded.shape}")
    channels = _CHANNELS.get(image.shape[2])
    if channels is None:
        raise ValueError(f"it has {image.shape[2]} channels; give one with 1, 3 or 4")
    if image.dtype.kind not in "buif":
        raise ValueError(f"its samples are of a kind that is not read ({image.dtype})")
    if image.dtype.kind == "f" and not np.isfinite(image).any():
        raise ValueError("it is damaged: none of its samples is a finite number")
    if image.dtype.kind == "b":
        image = image * np.uint8(255)
    if image.shape[2] != 3:
        image = image[..., channels]
    return np.ascontiguousarray(image if image.dtype == np.uint8 else as_eight_bits(image, file_name))
