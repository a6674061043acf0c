"""A warning of joints that look surer than they are: after a short training, or after a long one on few images."""

import logging
from collections.abc import Mapping

from ..errors import counted

logger = logging.getLogger(__name__)
# Of residual over sigma (root mean square); 1 where sigma is right.
MOST = 3.0
NAMED = 8


def warn_of_sure_joints(
    table: Mapping[str, Mapping[str, float]],
    *,
    size: str = "",
    remedy: str = "correct their sigma with `rle-onestage calibrate`",
) -> None:
    """Warn, in one line, of the joints whose errors are far beyond their sigma.

    Args:
        table: of :func:`~.per_joint.joint_errors`.
        size: a sentence that ends with a blank, where the images have another size than in the training.
        remedy: what to do where no longer training is wanted.
    """
    groups = ("all", "visible", "hidden")
    sure = [(name, row["z_rms"]) for name, row in table.items() if name not in groups and row["z_rms"] > MOST]
    if not sure:
        return
    sure.sort(key=lambda pair: -pair[1])
    names = ", ".join(f"{name} {ratio:.1f}" for name, ratio in sure[:NAMED]) + ", ..." * (len(sure) > NAMED)
    logger.warning(
        "Far surer than right: %d of %s (residual/sigma above %g: %s). Believe neither sigma nor expected OKS of them. "
        "%sIf the weights have seen each image a few times or never, train longer, above all where joints start anew. "
        "If the ratio grows with the steps, the model learns few images by heart: stop earlier, or add images. Or %s.",
        len(sure), counted(len(table) - len(groups), "joint"), MOST, names, size, remedy,
    )  # fmt: skip
