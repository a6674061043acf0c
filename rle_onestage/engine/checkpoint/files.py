"""Checkpoint files: what is in them, how they are found again, read without running code, and written.

A checkpoint of ours is a dict of tensors and primitives:

- ``model``: the weights to use. With EMA on, the averaged ones, so that stock Detectron2 tools pick them up.
- ``raw``: the weights under training, where ``model`` holds the averaged ones.
- ``optimizer``, ``scaler``, ``iteration`` (the last one that was finished), ``seed``: what ``--resume`` needs.
- ``without_state``: numbers of the parameters for which the optimizer keeps nothing.
- ``scheduler``, ``hooks``: the state of a user's schedule and hooks, where they have one.
- ``joints``: names of the joints, in the order of the model.
- ``origin``: what its weights come from, see :mod:`rle_onestage.engine.checkpoint.origin`.
- ``run``, ``periodic``: which training it is of, and the periodic checkpoints of that which are there.
- ``best``: in ``model_best.pth``, see :mod:`rle_onestage.engine.checkpoint.retention`.
"""

import logging
import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from torch import Tensor

from rle_onestage.engine.checkpoint.joints import naming, recorded_joints, recorded_skeleton
from rle_onestage.engine.checkpoint.last import LAST
from rle_onestage.engine.checkpoint.origin import find_origin, recorded_origin, stating
from rle_onestage.errors import CheckpointError, ConfigError, shown
from rle_onestage.modeling.renamed import rename_weights
from rle_onestage.utils.pickled_arrays import NumberArray
from rle_onestage.utils.pretrained import check_dense, check_extent, first_line, unwrapped
from rle_onestage.utils.safe_files import (
    CHECK_OUTPUT_DIR,
    local_path,
    read_pkl,
    read_pth,
    save_tensors,
    write_text,
)

logger = logging.getLogger(__name__)

_QUERY = re.compile(r"(.*)\?matching_heuristics=(\w+)", re.DOTALL)
# What only training needs; a model without it takes files with it and without.
TRAINING_ONLY = ("criterion.",)
# Buffers that evaluation computes with in float32.
TABLES = ("decoder.",)
# Weights of fewer numbers are not worth a rounding.
SMALL = 2048
MAX_NAME_OF_WEIGHT = 1000


def save_checkpoint(folder: str, name: str, content: Mapping[str, Any], *, latest: bool = True) -> None:
    """Write ``folder/name`` atomically, and then, if it is the latest, the file that says so.

    Args:
        folder: an existing one.
        name: of the file.
        content: tensors and primitives.
        latest: whether ``--resume`` shall go on from it.

    Raises:
        CheckpointError: one of the two cannot be written; what was there before is intact.
    """
    save_tensors(os.path.join(folder, name), content)
    if latest:
        try:
            write_text(os.path.join(folder, LAST), name, remedy=CHECK_OUTPUT_DIR)
        except ConfigError as error:
            raise CheckpointError(f"{error}; {name} is there, but --resume does not find it yet") from error


def read_checkpoint(address: str) -> dict[str, Any]:
    """Read a checkpoint of ours, of Detectron2 (``.pth``), or of its model zoo (``.pkl``), without running code.

    Args:
        address: a path, ``detectron2://...`` or ``https://...``; ``?matching_heuristics=True`` as in Detectron2.

    Returns:
        A dict with at least ``model``, a dict of tensors; and ``origin``, where anybody knows it.

    Raises:
        CheckpointError: it cannot be found, reached or read, or holds no weights.
    """
    place, heuristics = _without_query(address)
    path = local_path(place)
    if path.endswith(".pkl"):
        content = _from_zoo(read_pkl(path), path)
    else:
        content = read_pth(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"checkpoint {address} holds a {type(content).__name__} instead of named weights")
    weights = unwrapped(content)
    content = {"model": weights} if weights is content else {**content, "model": weights}
    if heuristics:
        content["matching_heuristics"] = True
    content["model"] = as_tensors(content["model"], address)
    _rename(content["model"], address, tell=True)
    check_extent(content["model"].values(), path)
    if isinstance(content.get("raw"), dict):
        content["raw"] = as_tensors(content["raw"], address)
        _rename(content["raw"], address, tell=False)
        check_extent(content["raw"].values(), path)
    return {**content, **stating(find_origin(content, path))}


def _without_query(address: str) -> tuple[str, bool]:
    """(what to open, whether Detectron2's query asks to match names by heuristics).

    A local file may have a question mark in its name, so there only that query itself counts as one.
    """
    try:
        parts = urlparse(address)
    except ValueError as error:
        raise CheckpointError(f"{address} is neither a file nor an address ({first_line(error)}); check it") from error
    if "://" in address:
        return parts._replace(query="").geturl(), "matching_heuristics=True" in parts.query
    found = None if os.path.exists(address) else _QUERY.fullmatch(address)
    return (found[1], found[2] == "True") if found else (address, False)


def _rename(weights: OrderedDict[str, Tensor], address: str, *, tell: bool) -> None:
    """Give weights of an earlier version their present names, and say so once."""
    try:
        renamed = rename_weights(weights)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {address}: {error}") from error
    # The files that come with the package have such names too, which nobody needs to know.
    if renamed and tell and not address.startswith("rle-onestage://"):
        pairs = ", ".join(f"{old.rstrip('.')} is {new.rstrip('.')} now" for old, new in renamed.items())
        logger.info("Checkpoint %s has names of an earlier version: %s", address, pairs)


def _from_zoo(content: Any, path: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(content).__name__} instead of named weights")
    if "model" in content and "__author__" in content:
        return content
    blobs = content.get("blobs", content)
    if not isinstance(blobs, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(blobs).__name__} instead of named weights")
    weights = {key: value for key, value in blobs.items() if not str(key).endswith("_momentum")}
    return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}


def as_tensors(weights: Mapping, address: str) -> OrderedDict[str, Tensor]:
    """The tensors of a file by their names, those of numpy turned into torch's.

    Raises:
        CheckpointError: a name is no text or comes twice, a tensor is not dense, or there is none.
    """
    tensors: OrderedDict[str, Tensor] = OrderedDict()
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


def slim(content: Mapping[str, Any], *, half: bool = False) -> dict[str, Any]:
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
    named = naming(recorded_joints(content), recorded_skeleton(content)) | stating(recorded_origin(content))
    iteration = content.get("iteration")
    return {"model": OrderedDict(kept), "iteration": iteration if type(iteration) is int else -1, **named}


def _halved(value: Tensor) -> Tensor:
    """In float16 where that saves something, and where it can hold the values."""
    if value.dtype != torch.float32 or value.dim() < 2 or value.numel() < SMALL:
        return value
    short = value.half()
    return short if bool(torch.isfinite(short).all()) else value
