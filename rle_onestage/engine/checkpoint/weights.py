"""How the weights of a checkpoint get into a model: by name, by shape, by joint, and what is said of the rest."""

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from torch import Tensor, nn

from rle_onestage.engine.checkpoint.files import TRAINING_ONLY, read_checkpoint
from rle_onestage.engine.checkpoint.joints import UnfitWeights, by_joint_name, group_tensors, some_names
from rle_onestage.errors import CheckpointError
from rle_onestage.utils.pretrained import check_finite, first_line

logger = logging.getLogger(__name__)

# Absent in some files: filled from the config when the model is built, or parts of a correction that came later.
NOT_REQUIRED = ("pixel_mean", "pixel_std", "decoder.regions", "decoder.dependence")
# What belongs to the density of the error: its weights, and the tables that are made of them.
DENSITY = (".criterion.density.", ".decoder.")


def load_weights(
    model: nn.Module, address: str, *, strict: bool, use_ema: bool = True, joints: Sequence[str] | None = None
) -> dict[str, Any]:
    """Put the weights of a checkpoint into a model.

    Args:
        model: the bare architecture (not wrapped for several processes).
        address: see :func:`~.files.read_checkpoint`.
        strict: True for evaluation and prediction: every weight must be there and fit, but for what the architecture
            calls optional (``OPTIONAL_KEYS``). False to start a training: what is missing starts anew, a head of
            another size too (with a warning); a backbone of another size, or nothing that fits, is an error.
        use_ema: take the averaged weights where the checkpoint has both.
        joints: names of the model's joints. With ``strict`` they must be the checkpoint's, in its order; else what it
            knows of each joint comes over by name, see :func:`~.joints.by_joint_name`. None: not looked at.

    Returns:
        The checkpoint's content (``iteration``, ...).

    Raises:
        CheckpointError: see :func:`~.files.read_checkpoint`; or the weights do not fit (the first keys are named,
            with both shapes), the joints are others, or a weight is NaN or infinite.
    """
    content = read_checkpoint(address)
    apply_weights(model, content, address, strict=strict, use_ema=use_ema, joints=joints)
    return content


def apply_weights(
    model: nn.Module,
    content: dict[str, Any],
    address: str,
    *,
    strict: bool,
    use_ema: bool = True,
    joints: Sequence[str] | None = None,
    resume: bool = False,
) -> list[str]:
    """The second half of :func:`load_weights`: of what :func:`~.files.read_checkpoint` gave for ``address``.

    With ``resume`` nothing is optional, as a training goes on with the parts that it began with.

    Returns:
        Names of what the checkpoint has filled.
    """
    weights = content["model"]
    if not use_ema and "raw" in content:
        if not isinstance(content["raw"], dict):
            raise CheckpointError(
                f"checkpoint {address}: raw, its weights under training, is a {type(content['raw']).__name__} instead "
                "of named weights; take an earlier checkpoint"
            )
        weights = content["raw"]
    own = model.state_dict()
    if content.get("matching_heuristics") is True:
        weights = _by_heuristics(own, weights, content.get("__author__") == "Caffe2", address)
    if joints is not None:
        weights = by_joint_name(model, own, content, weights, joints, address, strict=strict)
    if strict and not resume:
        weights = _with_tables_of_groups(model, own, weights)
    mismatched = [key for key in own if key in weights and weights[key].shape != own[key].shape]
    missing = [key for key in own if key not in weights and key not in NOT_REQUIRED]
    ignored = tuple(part for part in TRAINING_ONLY if not any(key.startswith(part) for key in own))
    obsolete = getattr(model, "OBSOLETE_KEYS", ())
    unexpected = [
        key for key in weights
        if not (key in own or key in obsolete or key.endswith("num_batches_tracked") or key.startswith(ignored))
    ]  # fmt: skip
    if strict:
        if not resume:
            missing, unexpected = _without_optional(model, own, weights, missing, unexpected, address)
        _raise_unless_exact(address, own, weights, mismatched, missing, unexpected)
    else:
        _check_and_report_start(address, own, weights, mismatched, missing, unexpected)
    found = [key for key in own if key in weights and key not in set(mismatched)]
    _raise_if_other_numbers(address, own, {key: weights[key] for key in found})
    # As the model has them: float64 can hold what is infinite in float32.
    fitting = {key: weights[key].to(own[key].dtype) for key in found}
    # A training that goes on has the averaged weights from here too.
    check_finite({**content["model"], **fitting} if strict else fitting, f"checkpoint {address}")
    model.load_state_dict(fitting, strict=False)
    return found


def _with_tables_of_groups(
    model: nn.Module, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Repeat tables that a file has once, for all joints, for each of the model's groups of joints.

    By itself Laplace's preset has no groups of joints. Student's preset, the default, has groups. So a file with
    Laplace's preset can be evaluated under a config that does not name the preset. The tables are always the file's.
    """
    grouped = group_tensors(model)
    shared = {
        key: weights[key].expand(value.shape)
        for key, value in own.items()
        if grouped and key.startswith(grouped) and key in weights and weights[key].shape == (1, *value.shape[1:])
    }
    return {**weights, **shared} if shared else weights


def _by_heuristics(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], from_caffe2: bool, address: str
) -> Mapping[str, Tensor]:
    """Detectron2's conversion of names (Caffe2's and torchvision's) to those of the model."""
    try:
        return align_and_update_state_dicts(own, dict(weights), c2_conversion=from_caffe2)
    except (ValueError, LookupError, AssertionError, RuntimeError, AttributeError) as error:
        raise CheckpointError(
            f"checkpoint {address}: its names cannot be matched to the model's ({first_line(error)}); choose other "
            "MODEL.WEIGHTS"
        ) from error


def _shapes(keys: Sequence[str], weights: Mapping[str, Tensor], own: Mapping[str, Tensor], limit: int = 3) -> str:
    shown = [
        f"{key} {tuple(weights[key].shape)} in the file, {tuple(own[key].shape)} in the model" for key in keys[:limit]
    ]
    return "; ".join(shown) + (f"; and {len(keys) - limit} more" if len(keys) > limit else "")


def _without_optional(
    model: nn.Module,
    own: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    missing: list[str],
    unexpected: list[str],
    address: str,
) -> tuple[list[str], list[str]]:
    """``missing`` and ``unexpected`` without what a model works without, which is told; a part of it does not do."""
    for names in getattr(model, "OPTIONAL_KEYS", ()):
        theirs, ours = ({key for key in keys if key.startswith(names)} for keys in (weights, own))
        if theirs and ours:
            continue
        if ours:
            logger.info("Checkpoint %s does not have %s: done without", address, _by_module(sorted(ours)))
        if theirs:
            logger.info("Not used from %s, as the config turns it off: %s", address, _by_module(sorted(theirs)))
        missing = [key for key in missing if key not in ours]
        unexpected = [key for key in unexpected if key not in theirs]
    return missing, unexpected


def _raise_unless_exact(
    address: str,
    own: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    mismatched: list[str],
    missing: list[str],
    unexpected: list[str],
) -> None:
    problems = []
    if mismatched:
        problems.append(f"other shapes: {_shapes(mismatched, weights, own)}")
    if missing:
        problems.append(f"not in the file: {some_names(missing)}")
    if unexpected:
        problems.append(f"not in the model: {some_names(unexpected)}")
    if problems:
        remedy = "use the config it was trained with (MODEL and NUM_KEYPOINTS above all)"
        if all(any(part in f".{key}" for part in DENSITY) for key in (*mismatched, *missing, *unexpected)):
            remedy = (
                "its density is another one: set MODEL.RLE_ONESTAGE.DENSITY, PRESET, STUDENT and FLOW as in its "
                "config.yaml, or train from it (MODEL.WEIGHTS without --resume), which keeps the network and starts "
                "the density anew"
            )
        raise UnfitWeights(f"checkpoint {address} does not fit the model ({'; '.join(problems)})", remedy)


def _raise_if_other_numbers(address: str, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Whole numbers in place of weights, or the other way round, would be cut to what is nonsense."""
    for key, value in weights.items():
        if value.is_floating_point() != own[key].is_floating_point() and not key.endswith("num_batches_tracked"):
            types = [str(tensor.dtype).removeprefix("torch.") for tensor in (value, own[key])]
            raise CheckpointError(
                f"checkpoint {address}: {key} holds {types[0]} numbers where the model has {types[1]}; get it again"
            )


def _check_and_report_start(
    address: str,
    own: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    mismatched: list[str],
    missing: list[str],
    unexpected: list[str],
) -> None:
    loaded = len(own) - len(missing) - len(mismatched) - sum(key not in weights for key in NOT_REQUIRED if key in own)
    if loaded <= 0 and not mismatched:
        raise CheckpointError(
            f"checkpoint {address} is of another architecture: none of its weights ({some_names(list(weights))}) is in "
            f"the model ({some_names(list(own))}); choose another MODEL.WEIGHTS, or, where nothing is frozen, '' to "
            "start from random weights"
        )
    in_backbone = [key for key in mismatched if key.startswith("backbone.")]
    if in_backbone or loaded <= 0:
        raise CheckpointError(
            f"checkpoint {address} is of another architecture ({_shapes(in_backbone or mismatched, weights, own)}); "
            "choose MODEL.WEIGHTS that fit the config's backbone"
        )
    logger.info("Loaded %d of the model's %d weights from %s", loaded, len(own), address)
    if mismatched:
        logger.warning("Start anew because of other shapes: %s", _shapes(mismatched, weights, own, limit=6))
    if missing:
        logger.info("Start anew because the file does not have them: %s", _by_module(missing))
    if unexpected:
        logger.info("Not used from the file: %s", _by_module(unexpected))


def _by_module(keys: Iterable[str]) -> str:
    """``head.tower.* (12), refine.* (4)``: names grouped by their first two parts."""
    counts: OrderedDict[str, int] = OrderedDict()
    for key in keys:
        parts = key.split(".")
        group = ".".join(parts[: min(2, len(parts) - 1)]) + ".*" if len(parts) > 1 else key
        counts[group] = counts.get(group, 0) + 1
    shown = [f"{group} ({count})" for group, count in counts.items()]
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more groups" if len(shown) > 12 else "")
