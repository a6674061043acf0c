"""Worse photographs: blur, noise, JPEG artefacts, few pixels, no colour, and things in front of people.

For training sets of few photographs. Every kind has a probability of its own, and one of 0 draws nothing from the
generator. Strengths are drawn evenly between two limits, which suit canvases of some hundred pixels.

Median microseconds for an image of 320 x 320 that the kind hits, on one core of a busy two-core cloud machine: grey
26, erase 65, blur 150, low_resolution 420, jpeg 460, noise 700.
"""

from collections.abc import Sequence
from statistics import NormalDist

import cv2
import numpy as np

# Standard deviation of the Gaussian and length of the motion blur, in pixels; half of the time each.
_BLUR, _MOTION = (0.5, 1.8), (3, 9)
# Standard deviation of the noise, in grey levels.
_NOISE = (3.0, 18.0)
_JPEG_QUALITY = (15, 70)
# Side of the image with few pixels, as a share.
_LOW_RESOLUTION = (0.3, 0.75)
# Sides of what comes in front of a person, as shares of its box.
_ERASED = (0.2, 0.6)

# 256 equally likely values of a standard normal distribution, so that a byte becomes noise by one look.
_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])


def random_degradation(
    rng: np.random.Generator,
    image: np.ndarray,
    *,
    grey: float = 0.0,
    low_resolution: float = 0.0,
    blur: float = 0.0,
    noise: float = 0.0,
    jpeg: float = 0.0,
) -> np.ndarray:
    """Degrade an image in the order in which a camera does; nothing moves, so no label changes.

    Args:
        rng: what all random choices come from.
        image: (H, W, 3) uint8 BGR; not changed.
        grey: how often the colours are taken out.
        low_resolution: how often it is shrunk and enlarged again.
        blur: how often it is out of focus or moved.
        noise: how often it gets noise, of its own in each channel.
        jpeg: how often it is compressed.

    Returns:
        (H, W, 3) uint8; the image itself where nothing happens.
    """
    for prob, degrade in ((grey, _grey), (low_resolution, _low_resolution), (blur, _blur), (noise, _noise),
                          (jpeg, _jpeg)):  # fmt: skip
        if prob and rng.random() < prob:
            image = degrade(rng, image)
    return image


def random_erase(
    rng: np.random.Generator, image: np.ndarray, boxes: np.ndarray, *, prob: float = 0.0, most: int = 2
) -> tuple[np.ndarray, np.ndarray | None]:
    """With ``prob``, put one to ``most`` rectangles in front of random people.

    After Zhong et al., "Random erasing data augmentation", AAAI 2020, and Singh and Lee, "Hide-and-seek", ICCV
    2017. A rectangle has one random colour, the mean colour, noise, or the pixels of another place of the image. Its
    centre lies in the person's box.

    Args:
        rng: what all random choices come from; not touched if ``prob`` is 0 or there are no people.
        image: (H, W, 3) uint8 BGR; not changed.
        boxes: (M, 4) x0, y0, x1, y1 of the people.
        prob: how often anything is erased.
        most: the largest number of rectangles.

    Returns:
        (image, erased): erased is (H, W) bool, for :func:`.occlusion.hide`; (the image itself, None) where nothing
        happens.
    """
    if not prob or not len(boxes) or rng.random() >= prob:
        return image, None
    image, erased = image.copy(), np.zeros(image.shape[:2], bool)
    for _ in range(int(rng.integers(1, most + 1))):
        x0, y0, x1, y1 = _rectangle(rng, boxes[int(rng.integers(len(boxes)))], image.shape[:2])
        image[y0:y1, x0:x1] = _filling(rng, image, y1 - y0, x1 - x0)
        erased[y0:y1, x0:x1] = True
    return image, erased


def _rectangle(rng: np.random.Generator, box: np.ndarray, size: Sequence[int]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of at least one pixel."""
    sides = (box[2:] - box[:2]) * rng.uniform(*_ERASED, size=2)
    middle = rng.uniform(box[:2], box[2:])
    limit = np.array(size[::-1])
    low = np.clip(np.floor(middle - sides / 2), 0, limit - 1).astype(int)
    high = np.clip(np.ceil(middle + sides / 2), low + 1, limit).astype(int)
    (x0, y0), (x1, y1) = low.tolist(), high.tolist()
    return x0, y0, x1, y1


def _filling(rng: np.random.Generator, image: np.ndarray, height: int, width: int) -> np.ndarray:
    kind = int(rng.integers(4))
    if kind == 0:
        return rng.integers(0, 256, 3, dtype=np.uint8)
    if kind == 1:
        return image[::4, ::4].reshape(-1, 3).mean(0).astype(np.uint8)
    if kind == 2:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    y, x = (int(rng.integers(whole - part + 1)) for whole, part in zip(image.shape, (height, width)))
    return image[y : y + height, x : x + width].copy()


def _grey(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def _low_resolution(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    factor = rng.uniform(*_LOW_RESOLUTION)
    small = max(1, round(width * factor)), max(1, round(height * factor))
    # Plain INTER_NEAREST would move the image by up to half a small pixel.
    way_back = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_NEAREST_EXACT
    return cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height), interpolation=way_back)


def _blur(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    if rng.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(*_BLUR))
    length, angle = int(rng.integers(_MOTION[0], _MOTION[1] + 1)) | 1, rng.uniform(0, np.pi)
    kernel, middle = np.zeros((length, length), np.float32), length // 2
    step = middle * np.array([np.cos(angle), np.sin(angle)])
    ends = np.rint([middle - step, middle + step]).astype(int).tolist()
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def _noise(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    levels = np.rint(_QUANTILES * rng.uniform(*_NOISE)).astype(np.int16)
    drawn = rng.integers(0, 256, image.shape, dtype=np.uint8)
    return cv2.add(image, levels[drawn], dtype=cv2.CV_8U)


def _jpeg(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    quality = int(rng.integers(_JPEG_QUALITY[0], _JPEG_QUALITY[1] + 1))
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV cannot encode JPEG")
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
