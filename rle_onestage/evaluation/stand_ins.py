"""What is said where AP is computed with OKS sigmas that nobody measured."""

import logging

from ..errors import counted
from ..structures.skeleton import STAND_IN_OKS_SIGMA, Skeleton

logger = logging.getLogger(__name__)
_said: set[tuple[str, ...]] = set()  # names of joints


def warn_of_stand_ins(skeleton: Skeleton) -> None:
    """Warn, once in a process for each set of joints, where the OKS sigmas are stand-ins.

    Args:
        skeleton: the joints that are evaluated.
    """
    if skeleton.has_oks_sigmas or skeleton.names in _said:
        return
    _said.add(skeleton.names)
    logger.warning(
        "COCO has no OKS sigmas for these %s (%s): stand-ins by body part (%s elsewhere) are used, so AP cannot be "
        "compared with published metrics. Set TEST.KEYPOINT_OKS_SIGMAS to choose them.",
        counted(skeleton.num_joints, "joint"), ", ".join(skeleton.names), STAND_IN_OKS_SIGMA,
    )  # fmt: skip
