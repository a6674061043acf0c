"""Independent random streams: every choice is a pure function of (seed, split, picture, purpose, person).

Because the split is part of the key, no two splits share the seed of a body, an outfit, a pose or a background,
and because nothing else is, the pictures do not depend on the number of workers or on the order of the work.
"""

import numpy as np

SPLITS = {"train": 1, "val": 2, "videos": 3}
PURPOSES = {
    "layout": 1, "body": 2, "outfit": 3, "pose": 4, "background": 5, "objects": 6, "effects": 7, "motion": 8,
    "label noise": 9,
}  # fmt: skip


def seed_key(seed, split, picture, purpose, person=0):
    """The tuple of integers that names one random stream."""
    return (int(seed), SPLITS[split], int(picture), PURPOSES[purpose], int(person))


def stream(seed, split, picture, purpose, person=0):
    """A ``numpy.random.Generator`` for one purpose of one picture (of one person in it)."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed_key(seed, split, picture, purpose, person))))
