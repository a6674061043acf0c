"""How fast each joint changes its velocity."""

import numpy as np

from ..skeleton import split_side

# Person sizes (square root of the area) per second to the 3/2; fitted on synthetic clips by tools/benchmark_video.py.
_ACCELERATION = {
    "nose": 1.5, "eye": 1.5, "ear": 1.5, "head": 1.5, "head_top": 1.5, "neck": 1.5, "shoulder": 1.5, "elbow": 3.0,
    "wrist": 5.0, "hip": 1.5, "knee": 3.0, "ankle": 4.0,
}  # fmt: skip
_OTHER = 3.0


def accelerations_for(skeleton):
    """Strength (K,) of each joint's random acceleration by its name; a middle value for names that are not known."""
    return np.array([_ACCELERATION.get(split_side(name)[0], _OTHER) for name in skeleton.names])
