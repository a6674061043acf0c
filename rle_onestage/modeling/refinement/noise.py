"""Noise on true joints that is a function of the iteration and the place."""

import torch
from torch import Tensor


def widest_float(device: torch.device) -> torch.dtype:
    """The most exact floating-point type that every device of the kind has: Apple's GPUs have no float64, nor have
    many of Intel's.
    """
    return torch.float32 if device.type in ("mps", "xpu") else torch.float64


def joint_noise(joints: Tensor, person: Tensor, iteration: int, scale: float, draws: int) -> Tensor:
    """Noise for true joints that depends only on the iteration, on where the joint is, and on whose it is.

    A hash (the sine's lost digits) in place of a generator: the same on one process or many, and after a resume. Whose
    joint it is keeps two people at one place apart; an image's order of people is the same in every run.

    Args:
        joints: (n, K, 2) in pixels.
        person: (n,) number of the person among those of its image.
        iteration: of the training.
        scale: half of the largest standard deviation, in pixels.
        draws: for each joint.

    Returns:
        (draws, n, K, 2): a direction times a length that is Gaussian of a standard deviation between 0 and 2 ``scale``.
    """
    exact = widest_float(joints.device)
    k = torch.arange(joints.shape[-2], device=joints.device, dtype=exact)
    key = joints.to(exact) @ joints.new_tensor([12.9898, 78.233]).to(exact) + 3.1 * k + 0.7310585 * iteration
    key = key + 29.6713 * person.to(exact)[:, None]
    key = key + 17.17 * torch.arange(draws, device=joints.device, dtype=exact)[:, None, None]
    u = [torch.frac(torch.sin(key * f).abs() * 43758.5453) for f in (1.0, 1.618, 2.236)]
    radius = torch.sqrt(-2 * torch.log(u[0].clamp(min=1e-6))) * 2 * u[2] * scale
    angle = 2 * torch.pi * u[1]
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], -1).to(joints.dtype)
