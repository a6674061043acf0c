"""The domain's types and functions: skeletons, object keypoint similarity (OKS), the density of a joint's error."""

from .error_density import LEVELS, ErrorDensity, density_axis
from .flip_pairs import find_flip_pairs, named_flip_pairs, split_side
from .oks import expected_gaussian, expected_joint_oks, expected_laplace, joint_oks, pairwise_oks
from .skeleton import (
    COCO,
    CROWDPOSE,
    H36M,
    MPII,
    SKELETONS,
    STAND_IN_OKS_SIGMA,
    Skeleton,
    joint_key,
    map_joints,
    skeleton_from_category,
    stand_in_oks_sigmas,
)
from .wholebody import WHOLEBODY, WHOLEBODY_PARTS

__all__ = [
    "COCO",
    "CROWDPOSE",
    "H36M",
    "LEVELS",
    "MPII",
    "SKELETONS",
    "STAND_IN_OKS_SIGMA",
    "WHOLEBODY",
    "WHOLEBODY_PARTS",
    "ErrorDensity",
    "Skeleton",
    "density_axis",
    "expected_gaussian",
    "expected_joint_oks",
    "expected_laplace",
    "find_flip_pairs",
    "joint_key",
    "joint_oks",
    "map_joints",
    "named_flip_pairs",
    "pairwise_oks",
    "skeleton_from_category",
    "split_side",
    "stand_in_oks_sigmas",
]
