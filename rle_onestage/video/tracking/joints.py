"""How fast each joint changes its velocity."""

import numpy as np

from ...structures.skeleton import Skeleton, split_side

# Person sizes (square root of the area) per second to the 3/2; fitted on synthetic clips by projects/video_benchmark.
_ACCELERATION = {
    "nose": 1.8, "eye": 1.8, "ear": 1.8, "head": 1.8, "head_top": 1.8, "neck": 1.8, "shoulder": 1.8, "elbow": 2.7,
    "wrist": 4.0, "hip": 1.8, "knee": 2.7, "ankle": 4.0,
}  # fmt: skip
_OTHER = 2.7


def accelerations_for(skeleton: Skeleton) -> np.ndarray:
    """Strength (K,) of each joint's random acceleration by its name; a middle value for names that are not known.

    Args:
        skeleton: the joints.

    Returns:
        (K,) person sizes per second to the 3/2.
    """
    return np.array([_ACCELERATION.get(split_side(name)[0], _OTHER) for name in skeleton.names])
