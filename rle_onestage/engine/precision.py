"""Which type automatic mixed precision computes in."""

import logging

import torch

logger = logging.getLogger("rle_onestage")


def amp_dtype(cfg, device):
    """The type of automatic mixed precision that this device can do, or None when it is off."""
    if not cfg.SOLVER.AMP.ENABLED:
        return None
    dtype = getattr(torch, cfg.SOLVER.AMP.DTYPE)
    if dtype == torch.float16 and device.type != "cuda":
        logger.warning("SOLVER.AMP.DTYPE float16 is for CUDA: using bfloat16 on %s.", device)
        return torch.bfloat16
    if dtype == torch.bfloat16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        logger.warning("This GPU has no bfloat16: using float16 for SOLVER.AMP.DTYPE.")
        return torch.float16
    return dtype
