"""From which checkpoint ``--resume`` goes on: ``last_checkpoint`` names it, as Detectron2 writes it.

Where that file is lost, the checkpoints themselves tell. Those of an earlier training in the folder do not count, whose
names stand in ``.training.earlier`` from when another one began; see :mod:`.earlier`.
"""

import json
import logging
import os
import re
from typing import Any

import torch

from rle_onestage.errors import CheckpointError
from rle_onestage.utils.output_files import kind_of
from rle_onestage.utils.packaged_files import TRAINING_CONFIG
from rle_onestage.utils.pickled_arrays import STAND_INS

logger = logging.getLogger(__name__)
_said: set[str] = set()

LAST = "last_checkpoint"
FINAL = "model_final.pth"
# What calibrate makes of weights and leaves beside them. A training that changes these does not change it.
CALIBRATED = "model_calibrated.pth"
EARLIER = ".training.earlier"
_KEPT = (LAST, EARLIER, TRAINING_CONFIG)  # are written anew by a training
# Bytes of it that are looked at.
MAX_NAME = 4096
# ``model_best.pth`` is of no use for resuming.
RESUMABLE = re.compile(r"model_(final|\d+)\.pth")
# Checkpoints of a training: those that it writes, and the calibrated one.
WRITTEN = re.compile(rf"model_(final|best|\d+)\.pth|{re.escape(CALIBRATED)}")


def last_checkpoint(folder: str) -> str | None:
    """The path that ``folder/last_checkpoint`` names, or None where nothing was saved.

    Where it is absent or damaged (a power loss can leave it empty, or with bytes of something else), the newest
    checkpoint of the training is taken, with a warning: once in this process, as one ``--resume`` asks several times.

    Raises:
        CheckpointError: the named file is gone; or ``last_checkpoint`` cannot be read; or it is damaged, and there is
            no checkpoint.
    """
    pointer = os.path.join(folder, LAST)
    name, wrong = None, "is missing"
    try:
        if kind := kind_of(pointer):
            raise CheckpointError(f"{pointer} cannot be read (it is {kind}, not a file); mend or delete it")
        with open(pointer, "rb") as file:
            name, wrong = _name_in(file.read(MAX_NAME)), "is damaged"
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CheckpointError(f"{pointer} cannot be read ({error.strerror}); mend or delete it") from error
    if name is None:
        name = _newest(folder)
        if name is None and wrong == "is missing":
            return None
        if name is None:
            raise CheckpointError(f"{pointer} is damaged, and {folder} has no checkpoint; train without --resume")
        _warn(f"{pointer} {wrong}; taking the newest checkpoint in the folder, {name}")
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        raise CheckpointError(
            f"checkpoint {path}, which {pointer} names, does not exist; restore it, or train without --resume"
        )
    return path


def _warn(sentence: str) -> None:
    """Each sentence once in this process."""
    if sentence not in _said:
        _said.add(sentence)
        logger.warning("%s", sentence)


def goes_on_from(folder: str) -> str | None:
    """The file name of the checkpoint that ``--resume`` would go on from, None where that is not known."""
    try:
        path = last_checkpoint(folder)
    except CheckpointError:
        return None
    return os.path.basename(path) if path and path.endswith(".pth") else None


def check_not_needed(path: str, weights: str) -> None:
    """Fail where a file without a training's state would replace one that is still needed.

    Args:
        path: of ``--output``.
        weights: the file that it is made of.

    Raises:
        CheckpointError: it is that file, or the one that ``--resume`` would go on from in its folder.
    """
    if not os.path.isfile(path):
        return
    if os.path.samefile(path, weights):
        raise CheckpointError(f"{path} is the input and would be overwritten; give another file with --output")
    folder, name = os.path.split(os.path.realpath(path))
    if goes_on_from(folder) == name:
        raise CheckpointError(
            f"{path} is the checkpoint that train --resume goes on from, and would be overwritten; give another file "
            "with --output"
        )


def _name_in(content: bytes) -> str | None:
    """The file name that the bytes of ``last_checkpoint`` are, without a folder; None where they are no name."""
    try:
        name = os.path.basename(content.decode("utf-8").strip())
    except UnicodeDecodeError:
        return None
    return name if name and name.isprintable() and len(name) <= 255 and len(content) < MAX_NAME else None


def _newest(folder: str) -> str | None:
    """The file name of the last checkpoint of the training that wrote one last; None where there is none.

    Which one is last tells the iteration, because a copied folder has other times.
    """
    earlier = _noted(folder)
    found = []
    for name, written in written_in(folder, RESUMABLE).items():
        if earlier.get(name) == written:
            continue
        of = iteration_and_run(os.path.join(folder, name))
        if of is None:
            _warn(f"{os.path.join(folder, name)} is no complete checkpoint of a training")
        else:
            found.append((written, *of, name))
    run = max(found)[2] if found else ""
    return max((iteration, written, name) for written, iteration, of, name in found if of == run)[2] if found else None


def written_in(folder: str, names: re.Pattern[str]) -> dict[str, int]:
    """{file name: when it was written, in ns} of the checkpoints in a folder."""
    try:
        entries = [entry for entry in os.scandir(folder) if names.fullmatch(entry.name) and entry.is_file()]
        return {entry.name: entry.stat().st_mtime_ns for entry in entries}
    except FileNotFoundError:
        return {}


def iteration_and_run(path: str) -> tuple[int, str] | None:
    """Iteration and training of a checkpoint, whose weights are not read; None where nothing can go on from it."""
    try:
        with torch.serialization.safe_globals([(made, name) for name, made in STAND_INS.items()]):
            content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        iteration, run = content["iteration"], content.get("run")
        sound = type(iteration) is int and "optimizer" in content and "model" in content
    except Exception:  # bytes that are no checkpoint make torch's reader fail in any way
        return None
    return (iteration, run if isinstance(run, str) else "") if sound else None


def _noted(folder: str) -> dict[str, Any]:
    """What ``.training.earlier`` says of checkpoints and when they were written."""
    path = os.path.join(folder, EARLIER)
    try:
        if kind_of(path):
            return {}
        with open(path, "rb") as file:
            noted = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return noted if isinstance(noted, dict) else {}


def check_places(folder: str) -> None:
    """Fail before a training where one of its checkpoints, or what says of them, could not get its name later.

    Raises:
        CheckpointError: something else has such a name: a folder, a pipe, a device, or a link to a missing folder.
    """
    for name in sorted({FINAL, *_KEPT, *filter(WRITTEN.fullmatch, os.listdir(folder))}):
        path = os.path.join(folder, name)
        kind = kind_of(path)
        if not kind and not os.path.isdir(os.path.dirname(os.path.realpath(path))):
            kind = "a link into a folder that does not exist"
        if kind:
            remedy = "delete or rename it, or change OUTPUT_DIR"
            raise CheckpointError(f"{path} cannot be written (it is {kind}, not a file); {remedy}")
