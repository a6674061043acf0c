"""What a camera does to an image: exposure, colour cast, defocus, motion blur, noise, vignette, a second JPEG
compression."""

from typing import Any

import cv2
import numpy as np


def sample_effects(rng: np.random.Generator) -> dict[str, Any]:
    """The settings of one image (or of one video): a dict of plain numbers."""
    kind = rng.random()
    return {
        "gain": float(np.exp(rng.normal(0.06, 0.14))),
        "gamma": float(np.exp(rng.normal(0, 0.13))),
        "cast": rng.normal(0, 0.035, 3),
        "contrast": float(np.exp(rng.normal(0, 0.10))),
        "defocus": float(rng.uniform(0.4, 1.0)) if kind < 0.14 else 0.0,
        "motion": float(rng.uniform(1.5, 4)) if 0.14 < kind < 0.22 else 0.0,
        "angle": float(rng.uniform(0, np.pi)),
        "noise": float(abs(rng.normal(0, 0.014))),
        "jpeg": int(rng.integers(25, 75)) if rng.random() < 0.2 else 0,
        "vignette": float(rng.uniform(0, 0.3)) if rng.random() < 0.3 else 0.0,
    }


def apply_effects(image: np.ndarray, settings: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float32, 0 to about 1, to uint8; the strength of blur grows with the size of the image."""
    scale = max(image.shape[:2]) / 256
    if settings["defocus"]:
        image = cv2.GaussianBlur(image, (0, 0), settings["defocus"] * scale)
    if settings["motion"]:
        image = cv2.filter2D(image, -1, _motion_kernel(settings["motion"] * scale, settings["angle"]))
    if settings["vignette"]:
        h, w = image.shape[:2]
        x, y = np.linspace(-1, 1, w, dtype=np.float32) ** 2, np.linspace(-1, 1, h, dtype=np.float32) ** 2
        image = image * (1 - settings["vignette"] * 0.5 * (x[None] + y[:, None]))[..., None]
    image = image * np.float32(settings["gain"]) * (1 + settings["cast"]).astype(np.float32)
    image = (image - np.float32(0.45)) * np.float32(settings["contrast"]) + np.float32(0.45)
    if settings["noise"]:
        image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(settings["noise"])
    table = (np.linspace(0, 1, 256) ** settings["gamma"] * 255 + 0.5).astype(np.uint8)
    image = cv2.LUT(cv2.convertScaleAbs(np.maximum(image, 0), alpha=255), table)
    if settings["jpeg"]:
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, settings["jpeg"]])[1]
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return image


def _motion_kernel(length: float, angle: float) -> np.ndarray:
    size = int(np.ceil(length)) | 1
    kernel = np.zeros((size, size), np.float32)
    middle = size // 2
    delta = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    ends = [tuple(np.round((middle + sign * delta) * 16).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
    return kernel / max(kernel.sum(), 1e-6)
