"""Independent random streams: every choice is a pure function of (seed, split, image, purpose, person).

Because the split is part of the key, no two splits share the seed of a body, an outfit, a pose or a background,
and because nothing else is, the images do not depend on the number of workers or on the order of the work.
"""

import numpy as np

SPLITS = {"train": 1, "val": 2, "videos": 3}
PURPOSES = {
    "layout": 1, "body": 2, "outfit": 3, "pose": 4, "background": 5, "objects": 6, "effects": 7, "motion": 8,
    "label noise": 9,
}  # fmt: skip


def seed_key(seed, split, image, purpose, person=0):
    """The tuple of integers that names one random stream."""
    return (int(seed), SPLITS[split], int(image), PURPOSES[purpose], int(person))


def stream(seed, split, image, purpose, person=0):
    """A ``numpy.random.Generator`` for one purpose of one image (of one person in it)."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed_key(seed, split, image, purpose, person))))
