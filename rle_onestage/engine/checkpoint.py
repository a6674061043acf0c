"""Checkpoints: what is in them, how they are found again, and how weights get into a model.

A checkpoint of ours is a dict of tensors and primitives:

- ``model``: the weights to use. With EMA on, the averaged ones, so that stock Detectron2 tools pick them up.
- ``raw``: the weights under training, where ``model`` holds the averaged ones.
- ``optimizer``, ``scaler``, ``iteration`` (the last one that was finished), ``seed``: what ``--resume`` needs.
- ``without_state``: numbers of the parameters for which the optimizer keeps nothing.
- ``joints``: names of the joints, in the order of the model.
- ``run``, ``periodic``: which training it is of, and the periodic checkpoints of that which are there.
- ``best``: in ``model_best.pth``, see :mod:`rle_onestage.engine.retention`.
"""

import logging
import os
import re
from collections import OrderedDict
from urllib.parse import urlparse

import numpy as np
import torch
from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts

from rle_onestage.engine.joints import by_joint_name, naming, recorded_joints
from rle_onestage.errors import CheckpointError, ConfigError, shown
from rle_onestage.utils.pickled_arrays import NumberArray
from rle_onestage.utils.pretrained import check_dense, check_extent, check_finite, first_line, unwrapped
from rle_onestage.utils.safe_files import (
    CHECK_OUTPUT_DIR,
    local_path,
    read_pkl,
    read_pth,
    save_tensors,
    write_text,
)

logger = logging.getLogger(__name__)

LAST = "last_checkpoint"
# Bytes of it that are looked at.
MAX_NAME = 4096
# What only training needs; a model without it takes files with it and without.
TRAINING_ONLY = ("criterion.",)
# Buffers that evaluation computes with in float32.
TABLES = ("decoder.",)
# Weights of fewer numbers are not worth a rounding.
SMALL = 2048
MAX_NAME_OF_WEIGHT = 1000
# Filled from the config when the model is built, and absent in some files.
NOT_REQUIRED = ("pixel_mean", "pixel_std")


def last_checkpoint(folder):
    """The path that ``folder/last_checkpoint`` names (as Detectron2 writes it), or None where nothing was saved.

    A damaged one (a power loss can leave it empty, or with bytes of something else) names the newest checkpoint, with a
    warning.

    Raises:
        CheckpointError: the named file is gone; or ``last_checkpoint`` cannot be read; or it is damaged, and there is
            no checkpoint.
    """
    pointer = os.path.join(folder, LAST)
    try:
        with open(pointer, "rb") as file:
            content = file.read(MAX_NAME)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"{pointer} cannot be read ({error.strerror}); mend or delete it") from error
    name = _name_in(content)
    if name is None:
        name = _newest(folder)
        if name is None:
            raise CheckpointError(f"{pointer} is damaged, and {folder} has no checkpoint; train without --resume")
        logger.warning("%s is damaged; taking the newest checkpoint in the folder, %s", pointer, name)
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        raise CheckpointError(
            f"checkpoint {path}, which {pointer} names, does not exist; restore it, or train without --resume"
        )
    return path


def _name_in(content):
    """The file name that the bytes of ``last_checkpoint`` are, without a folder; None where they are no name."""
    try:
        name = os.path.basename(content.decode("utf-8").strip())
    except UnicodeDecodeError:
        return None
    return name if name and name.isprintable() and len(name) <= 255 and len(content) < MAX_NAME else None


def _newest(folder):
    """The file name of the checkpoint that was written last, or None; ``model_best.pth`` is of no use for resuming."""
    found = [entry for entry in os.scandir(folder) if re.fullmatch(r"model_(final|\d+)\.pth", entry.name)]
    return max(found, key=lambda entry: entry.stat().st_mtime_ns).name if found else None


def forget_last_checkpoint(folder):
    """Let ``--resume`` no longer find the checkpoints of an earlier training, which stay, as another one begins.

    Raises:
        CheckpointError: the file that names them cannot be deleted.
    """
    pointer = os.path.join(folder, LAST)
    try:
        os.remove(pointer)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CheckpointError(
            f"{pointer} cannot be deleted ({error.strerror}); delete it, or change OUTPUT_DIR"
        ) from error
    logger.info("The checkpoints of an earlier training in %s stay, but --resume no longer finds them", folder)


def save_checkpoint(folder, name, content, *, latest=True):
    """Write ``folder/name`` atomically, and then, if it is the latest, the file that says so.

    Raises:
        CheckpointError: one of the two cannot be written; what was there before is intact.
    """
    save_tensors(os.path.join(folder, name), content)
    if latest:
        try:
            write_text(os.path.join(folder, LAST), name, remedy=CHECK_OUTPUT_DIR)
        except ConfigError as error:
            raise CheckpointError(f"{error}; {name} is there, but --resume does not find it yet") from error


def read_checkpoint(address):
    """Read a checkpoint of ours, of Detectron2 (``.pth``), or of its model zoo (``.pkl``), without running code.

    Args:
        address: a path, ``detectron2://...`` or ``https://...``; ``?matching_heuristics=True`` as in Detectron2.

    Returns:
        A dict with at least ``model``: a dict of tensors.

    Raises:
        CheckpointError: it cannot be found, reached or read, or holds no weights.
    """
    try:
        parts = urlparse(address)
    except ValueError as error:
        raise CheckpointError(f"{address} is neither a file nor an address ({first_line(error)}); check it") from error
    path = local_path(parts._replace(query="").geturl() if "://" in address else address.split("?")[0])
    if path.endswith(".pkl"):
        content = _from_zoo(read_pkl(path), path)
    else:
        content = read_pth(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"checkpoint {address} holds a {type(content).__name__} instead of named weights")
    weights = unwrapped(content)
    content = {"model": weights} if weights is content else {**content, "model": weights}
    if "matching_heuristics=True" in address:
        content["matching_heuristics"] = True
    content["model"] = _as_tensors(content["model"], address)
    check_extent(content["model"].values(), path)
    if isinstance(content.get("raw"), dict):
        content["raw"] = _as_tensors(content["raw"], address)
        check_extent(content["raw"].values(), path)
    return content


def _from_zoo(content, path):
    if not isinstance(content, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(content).__name__} instead of named weights")
    if "model" in content and "__author__" in content:
        return content
    blobs = content.get("blobs", content)
    if not isinstance(blobs, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(blobs).__name__} instead of named weights")
    weights = {key: value for key, value in blobs.items() if not str(key).endswith("_momentum")}
    return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}


def _as_tensors(weights, address):
    tensors = OrderedDict()
    for key, value in weights.items():
        if isinstance(value, NumberArray):
            value = torch.from_numpy(value.array())
        elif isinstance(value, np.generic):
            value = torch.from_numpy(np.array(value))
        if isinstance(value, torch.Tensor):
            name = str(key).removeprefix("module.") if isinstance(key, (str, int)) else ""
            if not name.isprintable() or not 0 < len(name) <= MAX_NAME_OF_WEIGHT or name in tensors:
                wrong = "two weights of the name" if name in tensors else "a weight whose name is"
                raise CheckpointError(f"checkpoint {address} has {wrong} {shown(key)}; get it again")
            tensors[name] = value
    if not tensors:
        raise CheckpointError(f"checkpoint {address} holds no weights (no tensor by name)")
    check_dense(tensors, f"checkpoint {address}")
    return tensors


def load_weights(model, address, *, strict, use_ema=True, joints=None):
    """Put the weights of a checkpoint into a model.

    Args:
        model: the bare architecture (not wrapped for several processes).
        address: see :func:`read_checkpoint`.
        strict: True for evaluation and prediction: every weight must be there and fit. False to start a training:
            what is missing starts anew, a head of another size too (with a warning); a backbone of another size, or
            nothing that fits, is an error.
        use_ema: take the averaged weights where the checkpoint has both.
        joints: names of the model's joints. With ``strict`` they must be the checkpoint's, in its order; else what it
            knows of each joint comes over by name, see :func:`~.joints.by_joint_name`. None: not looked at.

    Returns:
        The checkpoint's content (``iteration``, ...).

    Raises:
        CheckpointError: see :func:`read_checkpoint`; or the weights do not fit: names the first keys, with both shapes;
            or the joints are others; or a weight is NaN or infinite.
    """
    content = read_checkpoint(address)
    apply_weights(model, content, address, strict=strict, use_ema=use_ema, joints=joints)
    return content


def apply_weights(model, content, address, *, strict, use_ema=True, joints=None):
    """The second half of :func:`load_weights`: ``content`` is what :func:`read_checkpoint` gave for ``address``."""
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
    mismatched = [key for key in own if key in weights and weights[key].shape != own[key].shape]
    missing = [key for key in own if key not in weights and key not in NOT_REQUIRED]
    ignored = tuple(part for part in TRAINING_ONLY if not any(key.startswith(part) for key in own))
    obsolete = getattr(model, "OBSOLETE_KEYS", ())
    unexpected = [
        key for key in weights
        if not (key in own or key in obsolete or key.endswith("num_batches_tracked") or key.startswith(ignored))
    ]  # fmt: skip
    if strict:
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


def slim(content, *, half=False):
    """A checkpoint for inference: the weights to use, without the flow and what training would go on from.

    Args:
        content: what :func:`read_checkpoint` gave for a checkpoint of ours.
        half: store the large weights of convolutions and linear layers in float16. Loading gives float32 again, as the
            model has it, whoever loads. All else stays in float32: statistics and gains of norms, whose errors would
            shift whole channels, and the decoder's tables and correction.
    """
    kept = ((key, value) for key, value in content["model"].items() if not key.startswith(TRAINING_ONLY))
    if half:
        kept = ((key, _halved(value) if not key.startswith(TABLES) else value) for key, value in kept)
    named, iteration = naming(recorded_joints(content)), content.get("iteration")
    return {"model": OrderedDict(kept), "iteration": iteration if type(iteration) is int else -1, **named}


def _halved(value):
    """In float16 where that saves something, and where it can hold the values."""
    if value.dtype != torch.float32 or value.dim() < 2 or value.numel() < SMALL:
        return value
    short = value.half()
    return short if bool(torch.isfinite(short).all()) else value


def _by_heuristics(own, weights, from_caffe2, address):
    """Detectron2's conversion of names (Caffe2's and torchvision's) to those of the model."""
    try:
        return align_and_update_state_dicts(own, dict(weights), c2_conversion=from_caffe2)
    except (ValueError, LookupError, AssertionError, RuntimeError, AttributeError) as error:
        raise CheckpointError(
            f"checkpoint {address}: its names cannot be matched to the model's ({first_line(error)}); choose other "
            "MODEL.WEIGHTS"
        ) from error


def _shapes(keys, weights, own, limit=3):
    shown = [
        f"{key} {tuple(weights[key].shape)} in the file, {tuple(own[key].shape)} in the model" for key in keys[:limit]
    ]
    return "; ".join(shown) + (f"; and {len(keys) - limit} more" if len(keys) > limit else "")


def _names(keys, limit=3):
    return ", ".join(keys[:limit]) + (f" and {len(keys) - limit} more" if len(keys) > limit else "")


def _raise_unless_exact(address, own, weights, mismatched, missing, unexpected):
    problems = []
    if mismatched:
        problems.append(f"other shapes: {_shapes(mismatched, weights, own)}")
    if missing:
        problems.append(f"not in the file: {_names(missing)}")
    if unexpected:
        problems.append(f"not in the model: {_names(unexpected)}")
    if problems:
        raise CheckpointError(
            f"checkpoint {address} does not fit the model ({'; '.join(problems)}); use the config it was trained with "
            "(MODEL and NUM_KEYPOINTS above all)"
        )


def _raise_if_other_numbers(address, own, weights):
    """Whole numbers in place of weights, or the other way round, would be cut to what is nonsense."""
    for key, value in weights.items():
        if value.is_floating_point() != own[key].is_floating_point() and not key.endswith("num_batches_tracked"):
            types = [str(tensor.dtype).removeprefix("torch.") for tensor in (value, own[key])]
            raise CheckpointError(
                f"checkpoint {address}: {key} holds {types[0]} numbers where the model has {types[1]}; get it again"
            )


def _check_and_report_start(address, own, weights, mismatched, missing, unexpected):
    loaded = len(own) - len(missing) - len(mismatched) - sum(key not in weights for key in NOT_REQUIRED if key in own)
    if loaded <= 0 and not mismatched:
        raise CheckpointError(
            f"checkpoint {address} is of another architecture: none of its weights ({_names(list(weights))}) is in the "
            f'model ({_names(list(own))}); choose another MODEL.WEIGHTS, or "" to start from random weights'
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


def _by_module(keys):
    """``head.tower.* (12), refine.* (4)``: names grouped by their first two parts."""
    counts = OrderedDict()
    for key in keys:
        parts = key.split(".")
        group = ".".join(parts[: min(2, len(parts) - 1)]) + ".*" if len(parts) > 1 else key
        counts[group] = counts.get(group, 0) + 1
    shown = [f"{group} ({count})" for group, count in counts.items()]
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more groups" if len(shown) > 12 else "")
