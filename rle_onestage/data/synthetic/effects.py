"""What a camera does to a picture: exposure, colour cast, defocus, motion blur, noise, vignette."""

import cv2
import numpy as np


def sample_effects(rng):
    """The settings of one picture (or of one video): a dict of plain numbers."""
    kind = rng.random()
    return {
        "gain": float(np.exp(rng.normal(0.02, 0.16))),
        "gamma": float(np.exp(rng.normal(0, 0.13))),
        "cast": rng.normal(0, 0.035, 3),
        "contrast": float(np.exp(rng.normal(0, 0.10))),
        "defocus": float(rng.uniform(0.5, 1.3)) if kind < 0.16 else 0.0,
        "motion": float(rng.uniform(2, 6)) if 0.16 < kind < 0.26 else 0.0,
        "angle": float(rng.uniform(0, np.pi)),
        "noise": float(abs(rng.normal(0, 0.014))),
        "vignette": float(rng.uniform(0, 0.3)) if rng.random() < 0.3 else 0.0,
    }


def apply_effects(image, settings, rng):
    """(H, W, 3) float32, 0 to about 1, to uint8; the strength of blur grows with the size of the picture."""
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
    np.clip(image, 0, 1, out=image)
    table = (np.linspace(0, 1, 1024) ** settings["gamma"] * 255 + 0.5).astype(np.uint8)
    return table[(image * np.float32(1023)).astype(np.int32)]


def _motion_kernel(length, angle):
    size = int(np.ceil(length)) | 1
    kernel = np.zeros((size, size), np.float32)
    middle = size // 2
    delta = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    ends = [tuple(np.round((middle + sign * delta) * 16).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
    return kernel / max(kernel.sum(), 1e-6)
