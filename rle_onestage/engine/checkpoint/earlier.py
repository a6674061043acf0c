"""What becomes of an earlier training in a folder when another one begins there, or goes on from its end."""

import itertools
import json
import logging
import os
import shlex

from rle_onestage.engine.checkpoint.last import (
    CALIBRATED,
    EARLIER,
    FINAL,
    LAST,
    RESUMABLE,
    WRITTEN,
    goes_on_from,
    iteration_and_run,
    written_in,
)
from rle_onestage.engine.checkpoint.retention import BEST, periodic_name
from rle_onestage.errors import CheckpointError, ConfigError
from rle_onestage.evaluation import RESULTS_FOLDER
from rle_onestage.utils.earlier_files import earlier_name, keep_as
from rle_onestage.utils.output_files import write_bytes
from rle_onestage.utils.packaged_files import TRAINING_CONFIG
from rle_onestage.utils.safe_files import CHECK_OUTPUT_DIR, write_text

logger = logging.getLogger(__name__)

# A calibrated model is made of the final one, and would be taken for that of the next training.
_WEIGHTS = (BEST, CALIBRATED, FINAL)
_METRICS = "metrics.json"
_LOGS = (_METRICS, "training.jsonl")


def forget_last_checkpoint(folder: str, weights: str = "", config: bytes | None = None) -> None:
    """Let ``--resume`` no longer find the checkpoints of an earlier training, as another one begins in its folder.

    Its final, best and calibrated weights, the checkpoint that ``--resume`` would go on from, its logs and its config
    are kept under other names, see :func:`~rle_onestage.utils.earlier_files.earlier_name`. A warning says so, with the
    commands that undo it.

    Args:
        folder: of both trainings.
        weights: the path of those that this training starts from. They keep their name until they are replaced, so
            that the same command can start again.
        config: content of its ``config.yaml``, which this training has written anew already; None: it is as it was.

    Raises:
        CheckpointError: the file that names them cannot be deleted, or one cannot get its other name.
        ConfigError: the folder cannot be written.
    """
    there = written_in(folder, RESUMABLE)
    checkpoints = sorted(written_in(folder, WRITTEN))
    last = goes_on_from(folder)
    if there:
        write_text(os.path.join(folder, EARLIER), json.dumps(there), remedy=CHECK_OUTPUT_DIR)
    logs = [name for name in _LOGS if checkpoints or name == "training.jsonl"]  # an evaluation has metrics alone
    names = [name for name in (*_WEIGHTS, *_LOGS) if name in (*checkpoints, *logs) and _can_move(folder, name, weights)]
    if last and last not in names and _can_move(folder, last, weights):
        names.append(last)
    if not (checkpoints or names):
        config = None
    number = _free_number(folder, {*_WEIGHTS, *_LOGS, TRAINING_CONFIG, *names})
    moved = {name: earlier_name(name, number) for name in names}
    if config is not None:
        _keep_config(os.path.join(folder, earlier_name(TRAINING_CONFIG, number)), config)
    _remove_pointer(folder)
    for name, other in moved.items():
        _rename(folder, name, other)
    if config is not None:
        moved[TRAINING_CONFIG] = earlier_name(TRAINING_CONFIG, number)
    _tell(folder, moved, [*checkpoints, *logs], last)


def keep_finished(folder: str) -> None:
    """Keep what a finished training has left, where another one goes on from its final weights and replaces it.

    The weights get a second name, the one of a checkpoint of their iteration, which ``SOLVER.CHECKPOINT_KEEP`` does
    not delete. The metrics and results of their evaluation get another name, see
    :func:`~rle_onestage.utils.earlier_files.earlier_name`.

    Args:
        folder: of the training. Where ``--resume`` goes on from another checkpoint than the final one, nothing happens.

    Raises:
        CheckpointError: a file cannot get its other name.
    """
    if goes_on_from(folder) != FINAL:
        return
    fates = [f"its weights {FINAL} are kept as {_keep_final(folder)}"]
    results = [name for name in (_METRICS, RESULTS_FOLDER) if os.path.exists(os.path.join(folder, name))]
    number = _free_number(folder, set(results))
    for name in results:
        _rename(folder, name, earlier_name(name, number))
        fates.append(f"{name} is {earlier_name(name, number)} now")
    logger.info("%s has a finished training, which goes on: %s", folder, "; ".join(fates))


def _keep_final(folder: str) -> str:
    """The second name that the final weights have now."""
    path = os.path.join(folder, FINAL)
    found = iteration_and_run(path)
    names = [periodic_name(found[0])] if found else []  # may be that of a checkpoint of another training
    others = (earlier_name(FINAL, number) for number in itertools.count(1))
    try:
        return os.path.basename(keep_as(path, (os.path.join(folder, name) for name in itertools.chain(names, others))))
    except OSError as error:
        raise CheckpointError(
            f"{path} of the finished training cannot be kept under a second name ({error.strerror}); {CHECK_OUTPUT_DIR}"
        ) from error


def warn_of_calibrated(folder: str) -> None:
    """Warn where calibrated weights lie beside those that a training is about to change.

    Args:
        folder: of the training.
    """
    path = os.path.join(folder, CALIBRATED)
    if os.path.isfile(path):
        logger.warning(
            "%s is of the earlier weights, and stays so: run rle-onestage calibrate again after this training", path
        )


def _remove_pointer(folder: str) -> None:
    pointer = os.path.join(folder, LAST)
    try:
        os.remove(pointer)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CheckpointError(
            f"{pointer} cannot be deleted ({error.strerror}); delete it, or change OUTPUT_DIR"
        ) from error


def _tell(folder: str, moved: dict[str, str], names: list[str], last: str | None) -> None:
    """Warn of what happened to the files of an earlier training, if there was one.

    Args:
        folder: of both trainings.
        moved: {name: its other name}.
        names: of its checkpoints and logs.
        last: the name of the checkpoint that it would go on from.
    """
    fates = [f"{name} is {other} now" for name, other in moved.items()]
    left = [name for name in names if name != CALIBRATED and os.path.exists(os.path.join(folder, name))]
    if left:
        fates.append(f"this training replaces {', '.join(left)} when it writes files of these names")
    if not fates:
        return
    logger.warning("%s has an earlier training, which --resume no longer goes on with: %s", folder, "; ".join(fates))
    if last is not None:
        commands = [f"cd {shlex.quote(os.path.abspath(folder))}"]
        commands += [f"mv -f {shlex.quote(other)} {shlex.quote(name)}" for name, other in moved.items()]
        logger.warning(
            "--resume goes on with this training now. To go back to the earlier one, stop this one first, then run: "
            "(%s && echo %s > %s), and the command of the earlier training with --resume",
            " && ".join(commands), shlex.quote(last), LAST,
        )  # fmt: skip


def _can_move(folder: str, name: str, weights: str) -> bool:
    """Whether a file gets another name: unless it is a link, which is written through, or what the training needs."""
    path = os.path.join(folder, name)
    return os.path.isfile(path) and not os.path.islink(path) and os.path.realpath(path) != os.path.realpath(weights)


def _free_number(folder: str, names: set[str]) -> int:
    """The first number with which no file of an earlier training has a name that is taken."""
    numbers = itertools.count(1)
    return next(
        number
        for number in numbers
        if not any(os.path.lexists(os.path.join(folder, earlier_name(name, number))) for name in names)
    )


def _keep_config(path: str, content: bytes) -> None:
    try:
        write_bytes(path, content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); {CHECK_OUTPUT_DIR}") from error


def _rename(folder: str, name: str, other: str) -> None:
    """Give a file its other name.

    Raises:
        CheckpointError: the file system refuses.
    """
    try:
        os.rename(os.path.join(folder, name), os.path.join(folder, other))
    except OSError as error:
        raise CheckpointError(
            f"{os.path.join(folder, name)} of an earlier training cannot be renamed ({error.strerror}); move it away, "
            "or change OUTPUT_DIR"
        ) from error
