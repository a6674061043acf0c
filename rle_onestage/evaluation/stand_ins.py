"""What is said of the OKS sigmas where AP is computed: their source, and a warning where nobody measured them."""

import logging

from ..errors import counted
from ..structures.skeleton import Skeleton

logger = logging.getLogger(__name__)
_said: set[tuple[str, ...]] = set()  # names of joints, and the source


def warn_of_stand_ins(skeleton: Skeleton) -> None:
    """Log where the OKS sigmas are from; warn, once in a process for each set of joints, where nobody measured them.

    Args:
        skeleton: the joints that are evaluated.
    """
    number = counted(skeleton.num_joints, "joint")
    key = (*skeleton.names, skeleton.oks_source)
    if skeleton.has_oks_sigmas or key in _said:
        logger.info("OKS sigmas of the %s: %s", number, skeleton.oks_source)
        return
    _said.add(key)
    logger.warning(
        "OKS sigmas of the %s (%s): %s are used, as none are known for this set of joints. So AP cannot be "
        "compared with published metrics. Set TEST.KEYPOINT_OKS_SIGMAS to choose them.",
        number, ", ".join(f"{name} {sigma:g}" for name, sigma in zip(skeleton.names, skeleton.oks_sigmas)),
        skeleton.oks_source,
    )  # fmt: skip
