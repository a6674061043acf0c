"""Random choices of code that draws from the process's own generators, made a function of one generator of ours."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def drawn_from(rng: np.random.Generator) -> Iterator[None]:
    """Let the global generators of Python, NumPy and torch (on the CPU) draw from ``rng`` within the block.

    Detectron2's augmentations draw from NumPy's. Without this a resumed run would see other images than an
    uninterrupted one. The generators go on afterwards as if nothing had been drawn.

    Args:
        rng: one number is drawn from it.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed = int(rng.integers(2**32))
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
