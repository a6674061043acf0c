"""When a training takes its ``OUTPUT_DIR`` over from an earlier one: just before its first iteration.

Until then it may still fail (a data set that is not there, weights that do not fit), and must leave all as it was. So
must an evaluation, until it has its model.
"""

import os

from detectron2.config import CfgNode
from detectron2.utils import comm

from rle_onestage.engine.checkpoint import forget_last_checkpoint, keep_finished, warn_of_calibrated
from rle_onestage.engine.logs import release_logs
from rle_onestage.engine.processes import attempts, lock
from rle_onestage.utils.packaged_files import TRAINING_CONFIG
from rle_onestage.utils.safe_files import CHECK_OUTPUT_DIR, write_text


def write_config(cfg: CfgNode) -> None:
    """Write every key and its value to ``OUTPUT_DIR/config.yaml``.

    Raises:
        ConfigError: it cannot be written.
    """
    write_text(os.path.join(cfg.OUTPUT_DIR, TRAINING_CONFIG), cfg.dump(), remedy=CHECK_OUTPUT_DIR)


def begin_evaluation(cfg: CfgNode) -> None:
    """Give ``OUTPUT_DIR`` the log and, unless there is one, the ``config.yaml`` of an evaluation that has its model.

    Raises:
        ConfigError: the config cannot be written.
    """
    if comm.is_main_process() and not os.path.exists(os.path.join(cfg.OUTPUT_DIR, TRAINING_CONFIG)):
        write_config(cfg)
    release_logs()


def take_over(cfg: CfgNode, *, anew: bool) -> None:
    """Make ``OUTPUT_DIR`` that of this training. Collective; call it when every process has its first batch.

    Args:
        cfg: the config to write there.
        anew: whether the training begins, so that the checkpoints in the folder are another's.

    Raises:
        ConfigError: the folder cannot be written.
        CheckpointError: see :func:`rle_onestage.engine.checkpoint.forget_last_checkpoint` and ``keep_finished``.
    """
    launchers = comm.all_gather(attempts.launcher())
    if comm.is_main_process():
        config = _earlier_config(cfg) if anew else None
        write_config(cfg)  # first, because it takes room: on a full disk the earlier checkpoints are still found
        if anew:
            forget_last_checkpoint(cfg.OUTPUT_DIR, cfg.MODEL.WEIGHTS, config)
        else:
            keep_finished(cfg.OUTPUT_DIR)
        warn_of_calibrated(cfg.OUTPUT_DIR)
        attempts.note_begun(cfg.OUTPUT_DIR, launchers)
    comm.synchronize()
    release_logs()
    lock.note(cfg.OUTPUT_DIR)  # from here on there is no other training's checkpoint to go on from


def _earlier_config(cfg: CfgNode) -> bytes | None:
    """The ``config.yaml`` that is there, where it is about to become another one."""
    path = os.path.join(cfg.OUTPUT_DIR, TRAINING_CONFIG)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:  # there is none, or none that could be kept
        return None
    return None if content == cfg.dump().encode("utf-8") else content
