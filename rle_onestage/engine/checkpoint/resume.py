"""Going on from a checkpoint: what of it a training needs beside the weights, checked before any of it is used.

torch's fused optimizers take shapes and strides of their momenta as given: wrong ones make them read and write memory
that is not theirs.
"""

import contextlib
import logging
import numbers
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import TrainerBase
from detectron2.solver.lr_scheduler import LRMultiplier
from torch import Tensor

from rle_onestage.engine.checkpoint.named import warn_of_overridden
from rle_onestage.engine.config.conflicts import WITHOUT_PRESET
from rle_onestage.engine.config.files import read_yaml
from rle_onestage.engine.ema import ModelEMA
from rle_onestage.errors import CheckpointError, ConfigError, shown
from rle_onestage.utils.whole_numbers import is_whole

logger = logging.getLogger("rle_onestage")

# What each kind of optimizer keeps for a parameter; STEP is a count, the others are momenta.
STEP = "step"
_ADAM = {STEP, "exp_avg", "exp_avg_sq"}
KEPT = {"SGD": {"momentum_buffer"}, "AdamW": _ADAM, "Adam": _ADAM}
NEVER_NEGATIVE = (STEP, "exp_avg_sq")
# Keys of SOLVER that set the learning rate under every schedule.
RATES = (
    "BASE_LR", "LR_SCHEDULER_NAME", "BACKBONE_MULTIPLIER", "TRUNK_MULTIPLIER", "FLOW_MULTIPLIER", "LAYER_DECAY",
)  # fmt: skip
_OF_SCHEDULE = {"WarmupMultiStepLR": ("STEPS", "GAMMA"), "WarmupCosineLR": ("MAX_ITER", "BASE_LR_END")}
_OF_WARM_UP = ("WARMUP_ITERS", "WARMUP_FACTOR", "WARMUP_METHOD")
OTHER_SOLVER = "resume with the SOLVER it was trained with"
DAMAGED = "take an earlier checkpoint: write its name to last_checkpoint"


def next_iteration(content: Mapping[str, Any], path: str) -> int:
    """The iteration after the one that a checkpoint was made in.

    Args:
        content: what :func:`rle_onestage.engine.checkpoint.read_checkpoint` gave.
        path: for messages.

    Raises:
        CheckpointError: it holds weights only, or ``iteration`` is no whole number.
    """
    if "optimizer" not in content or "iteration" not in content:
        raise CheckpointError(
            f"checkpoint {path} has weights only, so training cannot go on from it; give it as MODEL.WEIGHTS without "
            "--resume"
        )
    iteration = content["iteration"]
    if not is_whole(iteration):
        raise CheckpointError(f"checkpoint {path}: iteration is {shown(iteration)}, not a number from 0; {DAMAGED}")
    return iteration + 1


def check_config(cfg: CfgNode, path: str, iteration: int) -> None:
    """Compare a config with that of the training so far. Another loss is refused, as its weights might still load.

    Another learning rate and other training sets get a warning. So does another ``MODEL.WEIGHTS`` than the training
    began with, because it is not used.

    Args:
        cfg: the config of the training that goes on.
        path: of the checkpoint. The earlier config is ``config.yaml`` beside it. Without this file nothing is compared.
        iteration: the first one that is still to come.

    Raises:
        ConfigError: ``DENSITY`` is another one, or ``PRESET`` where it has an effect.
    """
    config = os.path.join(os.path.dirname(path), "config.yaml")
    whole: Any = {}
    if os.path.isfile(config):
        with contextlib.suppress(ConfigError):  # it was damaged since; the weights are looked at in any case
            whole = read_yaml(config).values
    model, group = (_group(whole, *names) for names in (("MODEL",), ("MODEL", "RLE_ONESTAGE")))
    warn_of_overridden(cfg, path, began_with=model.get("WEIGHTS") if isinstance(model, dict) else None)
    now = cfg.MODEL.RLE_ONESTAGE
    rates = _changed_rates(cfg.SOLVER, _group(whole, "SOLVER"), iteration)
    sets = _changed_sets(cfg, _group(whole, "DATASETS"))
    for what, group_name, changed in (
        ("learning rate differs from that", "SOLVER", rates),
        ("training sets differ from those", "DATASETS", sets),
    ):
        if changed:
            logger.warning(
                "The %s of the training so far, so the weights are no longer those of one run: in %s, %s (%s)",
                what, group_name, ", ".join(changed), config,
            )  # fmt: skip
    keys = ["DENSITY"] if now.DENSITY in WITHOUT_PRESET else ["DENSITY", "PRESET"]
    for key in keys if isinstance(group, dict) else ():
        before = group.get(key, now[key])
        if before != now[key]:
            raise ConfigError(
                f"MODEL.RLE_ONESTAGE.{key} is {now[key]}, but the training to resume has {shown(before)} "
                f"({config}); set {key} to that, or give {path} as MODEL.WEIGHTS without --resume and another "
                "OUTPUT_DIR"
            )


def _changed(group: CfgNode, before: Any, keys: Iterable[str]) -> list[str]:
    """Clauses that name the keys of a config group whose values differ from those of the training so far."""
    changed = []
    for key in keys if isinstance(before, dict) else ():
        then, now = (_plain(value) for value in (before.get(key), group[key]))
        if key in before and then != now:
            changed.append(f"{key} is {shown(now)} and was {shown(then)}")
    return changed


def _changed_rates(solver: CfgNode, before: Any, iteration: int) -> list[str]:
    """As :func:`_changed`, for the keys that set the learning rate of the iterations to come."""
    keys = [*RATES, *_OF_SCHEDULE.get(solver.LR_SCHEDULER_NAME, ())]
    warm_ups = [solver.WARMUP_ITERS, before.get("WARMUP_ITERS") if isinstance(before, dict) else None]
    # REFERENCE_WORLD_SIZE scales the number of iterations, so the config does not say when the warm-up ends.
    if solver.REFERENCE_WORLD_SIZE or any(is_whole(length) and length > iteration for length in warm_ups):
        keys += _OF_WARM_UP
    return _changed(solver, before, keys)


def _changed_sets(cfg: CfgNode, before: Any) -> list[str]:
    """As :func:`_changed`, for the training sets: their names, their shares, and the files behind the names."""
    changed = _changed(cfg.DATASETS, before, ("TRAIN", "TRAIN_WEIGHTS"))
    files = before.get("KEYPOINT_FILES") if isinstance(before, dict) else None
    then, now = (
        {str(entry[0]): entry for entry in map(_plain, entries or ()) if isinstance(entry, list) and entry}
        for entries in (files if isinstance(files, list) else (), cfg.DATASETS.KEYPOINT_FILES)
    )
    names = [name for name in cfg.DATASETS.TRAIN if name in then and name in now and then[name] != now[name]]
    return changed + [f"{name} of KEYPOINT_FILES is {shown(now[name])} and was {shown(then[name])}" for name in names]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def _group(values: Any, *names: str) -> Any:
    """What stands in a config below these names, None where it has no such group."""
    for name in names:
        values = values.get(name) if isinstance(values, dict) else None
    return values


def recorded_seed(content: Mapping[str, Any], path: str) -> int | None:
    """The seed of the training that a checkpoint is of, or None where it says nothing.

    Raises:
        CheckpointError: it is no whole number.
    """
    seed = content.get("seed")
    if seed is None or is_whole(seed):
        return seed
    raise CheckpointError(f"checkpoint {path}: seed is {shown(seed)}, not a number from 0; {DAMAGED}")


def restore_averages(ema: ModelEMA, content: Mapping[str, Any], path: str) -> None:
    """Take the averaged weights of a checkpoint.

    Args:
        ema: of the training.
        content: of the checkpoint.
        path: for messages.

    Raises:
        CheckpointError: one is missing or has another shape.
    """
    given = content["model"]
    for name, average in ema.state_dict().items():
        if name not in given:
            raise CheckpointError(f"checkpoint {path}: the averaged weights have no {name}; {DAMAGED}")
        if given[name].shape != average.shape:
            raise CheckpointError(
                f"checkpoint {path}: the average of {name} has the shape {tuple(given[name].shape)}, not "
                f"{tuple(average.shape)}; {DAMAGED}"
            )
    ema.load_state_dict(given)


def restore_optimizer(optimizer: torch.optim.Optimizer, content: Mapping[str, Any], path: str) -> None:
    """Take the momenta of a checkpoint; rates and all other options stay the config's.

    Args:
        optimizer: over the model's parameters.
        content: of the checkpoint.
        path: for messages.

    Raises:
        CheckpointError: they are of another optimizer or other parameters, or no tensors that could be momenta.
    """
    saved = content["optimizer"]
    groups = saved.get("param_groups") if isinstance(saved, dict) else None
    state = saved.get("state") if isinstance(saved, dict) else None
    if not isinstance(groups, list) or not isinstance(state, dict):
        raise CheckpointError(f"checkpoint {path}: optimizer is {shown(saved)}, not the state of one; {DAMAGED}")
    numbering = [_numbers(group.get("params")) if isinstance(group, dict) else None for group in groups]
    own = optimizer.state_dict()["param_groups"]
    if numbering != [group["params"] for group in own]:
        raise CheckpointError(
            f"checkpoint {path} does not fit the optimizer (other groups of parameters); {OTHER_SOLVER}"
        )
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    kept = {}
    for index, entries in state.items():
        if not is_whole(index) or index >= len(parameters) or not isinstance(entries, dict):
            raise CheckpointError(f"checkpoint {path}: optimizer has an entry {shown(index)}; {DAMAGED}")
        kept[index] = _entries(entries, parameters[index], type(optimizer).__name__, index, path)
    absent = sorted(set(range(len(parameters))) - set(kept) - set(_allowed_to_miss(optimizer, content, path)))
    if absent:
        raise CheckpointError(
            f"checkpoint {path}: optimizer has nothing for {len(absent)} of {len(parameters)} parameters (first: "
            f"{absent[0]}); {DAMAGED}"
        )
    optimizer.load_state_dict({"state": kept, "param_groups": own})


def parameters_without_state(optimizer: torch.optim.Optimizer) -> list[int]:
    """Numbers of the parameters for which an optimizer keeps nothing, because they never had a gradient.

    A checkpoint has them as ``without_state``; what is missing beside them was lost.
    """
    state = optimizer.state_dict()
    return [index for group in state["param_groups"] for index in group["params"] if not state["state"].get(index)]


def _allowed_to_miss(optimizer: torch.optim.Optimizer, content: Mapping[str, Any], path: str) -> list[int]:
    named = content.get("without_state")
    if named is None:  # of an earlier version: all have a gradient, and SGD without momentum keeps nothing
        groups = optimizer.state_dict()["param_groups"]
        return [index for group in groups if group.get("momentum") == 0 for index in group["params"]]
    allowed = _numbers(named)
    if allowed is None:
        raise CheckpointError(f"checkpoint {path}: without_state is {shown(named)}, not a list of numbers; {DAMAGED}")
    return allowed


def _numbers(value: object) -> list[int] | None:
    """A list of numbers as it is, None for anything else: a tensor in its place must not be compared."""
    return value if isinstance(value, list) and all(map(is_whole, value)) else None


def _entries(entries: Mapping, parameter: Tensor, kind: str, index: int, path: str) -> dict[str, Any]:
    """What an optimizer keeps for one parameter, laid out as that is."""
    if kind not in KEPT:  # of the user's own: it knows itself what it takes
        return dict(entries)
    if set(entries) != KEPT[kind]:
        names = ", ".join(sorted(map(str, entries)))[:100]
        raise CheckpointError(
            f"checkpoint {path} is of another optimizer than {kind} (it kept {names}); {OTHER_SOLVER}"
        )
    return {name: _entry(value, parameter, name, f"{path}: {name} of parameter {index}")
            for name, value in entries.items()}  # fmt: skip


def _entry(value: Any, parameter: Tensor, name: str, what: str) -> Tensor | None:
    if value is None and name == "momentum_buffer":
        return None
    if name == STEP and isinstance(value, numbers.Real) and not isinstance(value, bool):
        value = torch.tensor(float(value))
    if not isinstance(value, torch.Tensor) or not _is_plain(value):
        raise CheckpointError(f"checkpoint {what} is {shown(value)}, not a dense tensor of numbers; {DAMAGED}")
    shape = torch.Size([]) if name == STEP else parameter.shape
    if value.shape != shape:
        raise CheckpointError(
            f"checkpoint {what} has the shape {tuple(value.shape)}, not {tuple(shape)}; {OTHER_SOLVER}, or {DAMAGED}"
        )
    if any(stride == 0 and size > 1 for stride, size in zip(value.stride(), value.shape)):
        raise CheckpointError(f"checkpoint {what} has numbers that share their memory; {DAMAGED}")
    if not bool(torch.isfinite(value).all()) or (name in NEVER_NEGATIVE and bool((value < 0).any())):
        raise CheckpointError(f"checkpoint {what} is not finite, or negative; {DAMAGED}")
    if name == STEP:
        return value.clone()
    # The layout of the parameter, which fused kernels assume; the numbers are the same.
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value).detach()


def kept_of_schedule(scheduler: Any) -> dict[str, Any]:
    """What a checkpoint keeps of a schedule: nothing of Detectron2's, which follows from iteration and config."""
    return {} if isinstance(scheduler, LRMultiplier) else {"scheduler": scheduler.state_dict()}


def restore_schedule(scheduler: Any, start: int, content: Mapping[str, Any], path: str) -> None:
    """Bring a schedule to the iteration at which a training goes on.

    Args:
        scheduler: of torch or Detectron2, over the optimizer after :func:`restore_optimizer`.
        start: the iteration.
        content: of the checkpoint. One without the state of such a schedule has it step as often as the training did.
        path: for messages.

    Raises:
        CheckpointError: the state is of another schedule.
    """
    state = content.get("scheduler")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch wants a step of the optimizer first, which an earlier process has made
        if isinstance(scheduler, LRMultiplier):
            scheduler.last_epoch = start - 1
            scheduler.step()
        elif isinstance(state, dict):
            if set(state) != set(scheduler.state_dict()):
                raise CheckpointError(
                    f"checkpoint {path} is of another schedule than {type(scheduler).__name__}; {OTHER_SOLVER}"
                )
            scheduler.load_state_dict(state)
            for group, rate in zip(scheduler.optimizer.param_groups, scheduler.get_last_lr()):
                group["lr"] = rate
        else:
            for _ in range(start):
                scheduler.step()


def kept_of_hooks(trainer: TrainerBase) -> dict[str, Any]:
    """What a checkpoint keeps of hooks: the state of those that have one, by Detectron2's names."""
    state = TrainerBase.state_dict(trainer).get("hooks")
    return {"hooks": state} if state else {}


def restore_hooks(trainer: TrainerBase, content: Mapping[str, Any], path: str) -> None:
    """Give hooks the state that :func:`kept_of_hooks` has kept.

    Raises:
        CheckpointError: a hook does not take it.
    """
    state = content.get("hooks")
    if not isinstance(state, dict):
        return
    try:
        TrainerBase.load_state_dict(trainer, {"iteration": content["iteration"], "hooks": state})
    except Exception as error:  # whatever a hook of the user's own makes of it
        raise CheckpointError(
            f"checkpoint {path}: a hook does not take the state that it has of it ({type(error).__name__}: {error}); "
            "resume with the SOLVER.HOOKS it was trained with"
        ) from error


def restore_scaler(scaler: torch.amp.GradScaler, content: Mapping[str, Any], path: str) -> None:
    """Take the scale of mixed precision, where the training has one.

    Raises:
        CheckpointError: it is no number.
    """
    saved = content.get("scaler")
    if not scaler.is_enabled() or not saved:
        return
    own = scaler.state_dict()
    for name in own:
        value = saved.get(name) if isinstance(saved, dict) else None
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < float("inf"):
            raise CheckpointError(f"checkpoint {path}: {name} of the scaler is {shown(value)}; {DAMAGED}")
    scaler.load_state_dict({name: saved[name] for name in own})


def _is_plain(value: Tensor) -> bool:
    """Whether a tensor has floating-point numbers in memory of its own kind, nothing sparse, quantized or absent."""
    return value.layout == torch.strided and not value.is_meta and value.is_floating_point()
