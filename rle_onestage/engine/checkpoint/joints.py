"""Joints by name: what a checkpoint knows of each, whatever their number and order in the model that takes it."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from rle_onestage.errors import CheckpointError, ConfigError, shown
from rle_onestage.structures.related_joints import related_joints
from rle_onestage.structures.skeleton import (
    COCO,
    SKELETONS,
    Skeleton,
    map_joints,
    near_joints,
    stand_in_oks_sigmas,
)

logger = logging.getLogger(__name__)

MOST = 1000  # joints of a model
_HEAD = {"head.presence.bias": 1, "head.offset.bias": 2}  # rows of each joint in models of ours
REMEDY = (
    "use the config and data sets that it was trained with, or train from it (MODEL.WEIGHTS without --resume), which "
    "takes joints over by name"
)
KEY = "joints"  # entry of a checkpoint: the names, in the order of the model
SKELETON = "skeleton"  # another one: what else the data sets said of them, see :func:`naming`


class UnfitWeights(CheckpointError):
    """Weights that are not those of the model: other joints, or other shapes.

    Attributes:
        what: the clause that says so.
        remedy: what to do.
        of_joints: whether joints differ by name.
    """

    def __init__(self, what: str, remedy: str, *, of_joints: bool = False):
        super().__init__(f"{what}; {remedy}")
        self.what, self.remedy, self.of_joints = what, remedy, of_joints


def recorded_joints(content: Mapping) -> list[str] | None:
    """The names of the joints that a checkpoint belongs to; None where it does not say."""
    names = content.get(KEY)
    sound = isinstance(names, (list, tuple)) and 0 < len(names) <= MOST and all(map(_is_name, names))
    return list(names) if sound and names else None


def _is_name(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable()


def naming(joints: Sequence[str] | None, skeleton: Skeleton | None = None) -> dict[str, Any]:
    """What a checkpoint says of its joints: nothing where it is not known.

    Args:
        joints: K names.
        skeleton: what the data sets say of these joints: limbs, pairs that swap in a mirror, OKS sigmas.
    """
    said: dict[str, Any] = {} if joints is None else {KEY: list(joints)}
    if skeleton is not None and list(skeleton.names) == said.get(KEY):
        said[SKELETON] = {
            "name": skeleton.name,
            "limbs": [list(pair) for pair in skeleton.limbs],
            "flip_pairs": [list(pair) for pair in skeleton.flip_pairs],
            "oks_sigmas": [float(sigma) for sigma in skeleton.oks_sigmas],
            "has_oks_sigmas": skeleton.has_oks_sigmas,
            "oks_source": skeleton.oks_source,
        }
    return said


def recorded_skeleton(content: Mapping) -> Skeleton | None:
    """The joints that a checkpoint belongs to, as its training's data sets described them; None where it does not say,
    or where what it says is damaged."""
    names, said = recorded_joints(content), content.get(SKELETON)
    if names is None or not isinstance(said, Mapping):
        return None
    limbs, flips, sigmas = said.get("limbs"), said.get("flip_pairs"), said.get("oks_sigmas")
    name, source, measured = said.get("name"), said.get("oks_source"), said.get("has_oks_sigmas")
    if not (_are_pairs(limbs, len(names)) and _are_pairs(flips, len(names)) and _are_oks_sigmas(sigmas, len(names))):
        return None
    if not (_is_name(name) and _is_name(source) and isinstance(measured, bool)):
        return None
    return Skeleton(
        name=name,
        names=tuple(names),
        flip_pairs=tuple((a, b) for a, b in flips),
        limbs=tuple((a, b) for a, b in limbs),
        oks_sigmas=tuple(sigmas),
        has_oks_sigmas=measured,
        oks_source=source,
    )


def _are_pairs(value: object, number: int) -> TypeGuard[list[list[int]]]:
    """Whether it is a list of pairs of places of so many joints."""
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(type(i) is int and 0 <= i < number for i in pair)
        for pair in value
    )


def _are_oks_sigmas(value: object, number: int) -> TypeGuard[list[float]]:
    return (
        isinstance(value, list)
        and len(value) == number
        and all(isinstance(sigma, float) and 0 < sigma < math.inf for sigma in value)
    )


def take_oks_sigmas(model: nn.Module, content: Mapping) -> None:
    """Give a model the OKS sigmas of its checkpoint, or those of its joints by name, if it says either.

    Args:
        model: has the checkpoint's joints.
        content: of the checkpoint.
    """
    names, skeleton = recorded_joints(content) or [], recorded_skeleton(content)
    sigmas = stand_in_oks_sigmas(names) if skeleton is None else skeleton.oks_sigmas
    for name, values in model.named_buffers():
        if name.rpartition(".")[2] == "oks_sigmas" and len(sigmas) == len(values):
            values.copy_(torch.tensor(sigmas))


def parse_joints(text: str) -> list[str]:
    """Names of joints from a command line: separated by commas, or the name of a built-in skeleton.

    Raises:
        ConfigError: one is empty, too long, or there twice.
    """
    known = SKELETONS.get(text.strip().lower())
    names = list(known.names) if known else [name.strip() for name in text.split(",")]
    wrong = next((name for place, name in enumerate(names) if not _is_name(name) or name in names[:place]), None)
    if wrong is not None:
        what = "is there twice" if _is_name(wrong) else "is no name"
        raise ConfigError(f"--joints: {shown(wrong)} {what}; give a name of up to 100 letters for each joint")
    return names


def joints_of_weights(text: str, content: Mapping, address: str) -> list[str]:
    """Names of joints from a command line, for the weights of a checkpoint.

    Args:
        text: see :func:`parse_joints`.
        content: of the checkpoint.
        address: of the checkpoint, for messages.

    Raises:
        ConfigError: they are no names, or of another number than the weights have joints.
    """
    names = parse_joints(text)
    heads = (len(content["model"][key]) // rows for key, rows in _HEAD.items() if key in content["model"])
    recorded = recorded_joints(content)
    count = next(heads, len(recorded) if recorded else len(names))
    if count != len(names):
        raise ConfigError(f"--joints has {len(names)} names, but {address} has {count} joints; name each of them")
    return names


def count_joints(model: nn.Module, weights: Mapping[str, Tensor]) -> int | None:
    """Number of joints of weights, by the model's declarations; None where none of the declared tensors is there."""
    tables = group_tensors(model)  # which may be those of all joints together in the file
    rows_of = {key: rows for key, rows in _joint_rows(model).items() if not key.startswith(tables or ("\0",))}
    declared = ((weights[key], rows) for key, rows in rows_of.items() if key in weights)
    return next((len(value) // rows for value, rows in declared if value.dim()), None)


def by_joint_name(
    model: nn.Module,
    own: Mapping[str, Tensor],
    content: Mapping,
    weights: Mapping[str, Tensor],
    joints: Sequence[str],
    address: str,
    *,
    strict: bool,
) -> Mapping[str, Tensor]:
    """Weights whose joints are those of the model, in its order.

    Modules declare ``JOINT_ROWS``: tensors whose first axis is that of the joints, and how many neighbouring rows each
    joint has; and ``group_tensors``: beginnings of the names of tensors that belong to groups of joints.

    Args:
        model: takes the weights.
        own: its present ones, from which joints start that the file does not have.
        content: of the checkpoint, for its names.
        weights: of the checkpoint, by the model's names.
        joints: names of the model's K joints.
        address: of the checkpoint, for messages.
        strict: True raises where the joints are others or in another order.

    Returns:
        ``weights`` if the file has the model's joints in their order. Otherwise a copy whose rows of joints are in the
        model's order. A joint that the file names too has the file's rows. The learned rows of another joint are the
        mean of those of :func:`~.related_joints.related_joints`, or the model's own if there are none. The copy lacks
        the tensors of groups of joints, because the groups are of other joints.

    Raises:
        CheckpointError: see ``strict``; or the file names another number of joints than it has weights for.
    """
    count = count_joints(model, weights)
    given = _names_of(content, weights, count, joints, address)
    if given is None:
        return weights
    if count is not None and count != len(given):
        raise CheckpointError(
            f"checkpoint {address} names {len(given)} joints, but has weights of {count}; name them anew with "
            "rle-onestage slim --joints"
        )
    source = map_joints(given, joints)
    if source == list(range(len(given))):
        return weights
    if strict:
        raise UnfitWeights(_difference(given, joints, source, address), REMEDY, of_joints=True)
    if count is None:
        logger.warning(
            "Checkpoint %s has other joints (%s) than the model (%s), and %s does not say which of its weights belong "
            "to single joints: those whose shapes fit are taken as they are", address, ", ".join(given),
            ", ".join(joints), type(model).__name__,
        )  # fmt: skip
        return weights
    if _fits_any(model, own, weights):
        _tell(given, joints, source, address)
    else:
        logger.warning("All joints start anew: what %s has of joints is of other shapes than the model's", address)
    return _mapped(model, own, weights, source, given, joints)


def _joint_rows(model: nn.Module) -> dict[str, int]:
    """{full name: rows of each joint}."""
    return {
        f"{prefix}.{name}" if prefix else name: rows
        for prefix, module in model.named_modules()
        for name, rows in getattr(module, "JOINT_ROWS", {}).items()
    }


def _fits_any(model: nn.Module, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> bool:
    """Whether rows of single joints fit the model in any layer; its biases and tables alone tell it nothing."""
    learned = {name for name, parameter in model.named_parameters() if parameter.dim() > 1}
    both = (key for key in _joint_rows(model) if key in learned and key in weights)
    return any(own[key].shape[1:] == weights[key].shape[1:] for key in both)


def group_tensors(model: nn.Module) -> tuple[str, ...]:
    """Find the tensors that belong to groups of joints, by the attribute ``group_tensors`` of modules.

    Args:
        model: whose modules are asked.

    Returns:
        Beginnings of the full names of these tensors; empty if no module has any.
    """
    return tuple(
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        for name in getattr(module, "group_tensors", ())
    )


def _names_of(
    content: Mapping, weights: Mapping[str, Tensor], count: int | None, joints: Sequence[str], address: str
) -> list[str] | None:
    """The file's joints: as it says, else as their number says, which is told; None if nobody knows."""
    given = recorded_joints(content)
    if given is not None or count is None:
        return given
    if count == len(joints):
        logger.info("Checkpoint %s does not name its %d joints: taken to be the model's, in its order", address, count)
        return list(joints)
    if count == COCO.num_joints:
        logger.info("Checkpoint %s does not name its %d joints: taken to be COCO's", address, count)
        return list(COCO.names)
    logger.warning(
        "Checkpoint %s does not name its %d joints: what belongs to single joints starts anew; name them with "
        "rle-onestage slim --joints to keep it", address, count,
    )  # fmt: skip
    return None


def _difference(given: Sequence[str], joints: Sequence[str], source: Sequence[int], address: str) -> str:
    absent = [name for name, place in zip(joints, source) if place < 0]
    if len(given) == len(joints) and not absent:
        at = next(i for i, place in enumerate(source) if place != i)
        what = f"the model's joints in another order (joint {at} is {given[at]} in the file, {joints[at]} in the model)"
    else:
        lack = f"without {some_names(absent)} of the model's {len(joints)}"
        what = f"{len(given)} joints ({some_names(given)}) {lack if absent else f'where the model has {len(joints)}'}"
    return f"checkpoint {address} has {what}"


def some_names(names: Sequence[str], limit: int = 3) -> str:
    """The first names of a list, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _tell(given: Sequence[str], joints: Sequence[str], source: Sequence[int], address: str) -> None:
    over = [name for name, place in zip(joints, source) if place >= 0]
    related = related_joints(given, joints)
    between = [f"{name}: {', '.join(near)}" for name, near in related.items()]
    anew = [name for name, place in zip(joints, source) if place < 0 and name not in related]
    used = {given[place] for place in source if place >= 0}.union(*related.values())
    unused = [name for name in given if name not in used]
    # Who starts as that one joint has all that a new name would bring.
    near = {name: other for name, other in near_joints(given, joints).items() if related.get(name) != [other]}
    questions = [f"{name}: is it {other}?" for name, other in near.items()]
    if not over:
        logger.warning(
            "No joint of %s has the name of one of the model's (%s): they start anew, or as the mean of joints near "
            "them. If some are the same joints, give them the names of the weights (%s) in the label file. If yours "
            "are other joints of people, go on. If they are not of people, a frozen trunk may know too little of what "
            "is to be found: see MODEL.BACKBONE.FREEZE_AT.", address, ", ".join(joints), ", ".join(given),
        )  # fmt: skip
    parts = [f"{len(over)} of {len(joints)} come over" + (f" ({', '.join(over)})" if over else "")]
    parts += [f"{len(between)} start as the mean of joints near them ({'; '.join(between)})"] if between else []
    parts += [f"{len(anew)} start anew ({', '.join(anew)})"] if anew else []
    parts += [f"{len(unused)} of the file are not used ({', '.join(unused)})"] if unused else []
    asked = f". {some_names(questions, 6)} If so, rename it in the label file, and it comes over" if questions else ""
    logger.info("Joints of %s by name: %s%s", address, "; ".join(parts), asked)


def _mapped(
    model: nn.Module,
    own: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    source: Sequence[int],
    given: Sequence[str],
    joints: Sequence[str],
) -> dict[str, Tensor]:
    grouped, joint_rows, count = group_tensors(model), _joint_rows(model), len(given)
    # Without the parameters of the density: a new joint's errors have tails of their own, not those of its neighbours.
    learned = {name for name, _ in model.named_parameters() if "criterion" not in name.split(".")}
    related = related_joints(given, joints)
    beside = {joints.index(name): [given.index(other) for other in near] for name, near in related.items()}
    known = torch.tensor([place >= 0 for place in source])
    fitting = {
        key for key, rows in joint_rows.items()
        if key in weights and key in own and weights[key].shape == (count * rows, *own[key].shape[1:])
    }  # fmt: skip
    # Tables with a row for each joint come over if all joints do: beside that of a new joint they are made anew.
    moved = fitting if bool(known.all()) else set()
    result = {k: v for k, v in weights.items() if k in moved or not (grouped and k.startswith(grouped))}
    if len(result) < len(weights):
        logger.info(
            "Densities and tables of groups of joints start anew, as the file's are of other joints: %d tensors",
            len(weights) - len(result),
        )
    places = torch.tensor(source)[known]
    for key, rows in joint_rows.items():
        if key not in result or key not in fitting:
            continue  # misfits of other kinds are told as ever
        mixed = own[key].detach().cpu().clone()
        by_joint = mixed.view(len(source), rows, *mixed.shape[1:])  # (K, rows, ...)
        theirs = result[key].to(mixed.dtype).view(-1, rows, *mixed.shape[1:])
        by_joint[known] = theirs[places]
        for place, near in beside.items() if key in learned else ():
            by_joint[place] = theirs[near].mean(0)
        result[key] = mixed
    return result
