"""Names of weights in files of earlier versions, and what they are called now."""

from collections.abc import MutableMapping
from typing import Any

from torch import Tensor

from ..errors import CheckpointError

# Beginnings of names in a ``state_dict`` of the architecture.
RENAMED_WEIGHTS = {
    "head.person_tower.": "head.score_tower.",
    "head.person.": "head.score.",
    "head.sigma.": "head.scale.",
    "refinement.": "refiner.refinement.",
}
# COCO's areas and boxes' areas, summed over the training people: once a part of the decoder, which has their ratio now.
_OLD_SUMS, _SUMS, _RATIO = "decoder.area_sums", "criterion.area_sums", "decoder.area_ratio"


def rename_weights(weights: MutableMapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Give the weights of an earlier version their present names.

    Args:
        weights: tensors by name; changed in place, in their order. Other entries stay.
        prefix: that every name of the architecture has, e.g. "module.".

    Returns:
        The beginnings that were met, and what they are now.

    Raises:
        CheckpointError: a weight is there under both names.
    """
    told: dict[str, str] = {}
    renamed: dict[str, Any] = {}
    for name, value in weights.items():
        old = next((old for old in RENAMED_WEIGHTS if name.startswith(prefix + old)), None)
        if old is not None:
            told[old] = RENAMED_WEIGHTS[old]
            name = prefix + told[old] + name.removeprefix(prefix + old)
        if name in renamed or (old is not None and name in weights):
            raise CheckpointError(f"the weight {name} is there under its earlier name too; keep one of them")
        renamed[name] = value
    sums = renamed.get(prefix + _OLD_SUMS)
    if isinstance(sums, Tensor) and sums.shape == (2,) and sums.is_floating_point():
        if prefix + _RATIO in renamed or prefix + _SUMS in renamed:
            raise CheckpointError(f"{_OLD_SUMS} is there beside {_RATIO}, which has taken its place; keep one of them")
        told[_OLD_SUMS] = _RATIO
        del renamed[prefix + _OLD_SUMS]
        sums = sums.float()  # as the buffer was; the first files have float64
        renamed[prefix + _RATIO] = sums[0] / sums[1]
        if any(name.startswith(f"{prefix}criterion.") for name in renamed):  # not a file for inference
            renamed[prefix + _SUMS] = sums
    if told:
        weights.clear()
        weights.update(renamed)
    return told
