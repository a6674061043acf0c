"""Which weights a config names, and those of its own training, which may lie beside it.

A run's ``config.yaml`` has the ``MODEL.WEIGHTS`` that the training began with. Whoever reads it to predict most often
means what the training made of them.
"""

import logging
import os
import re

from detectron2.config import CfgNode

from rle_onestage.engine.checkpoint.last import FINAL, last_checkpoint
from rle_onestage.engine.config.files import place_of
from rle_onestage.engine.config.yaml_file import GIVEN
from rle_onestage.errors import CheckpointError

logger = logging.getLogger("rle_onestage")

KEY = "MODEL.WEIGHTS"
_IN_FILE = re.compile(r"config file (.+?)(?:, line \d+.*)?")  # the place of a value that came from one


def tell_weights(cfg: CfgNode, address: str) -> None:
    """Say in the log which weights run, with a warning where the config's own training left others beside it.

    Args:
        cfg: the config.
        address: of the weights that run.
    """
    logger.info("The weights are those of %s", address)
    own = trained_beside(cfg) if address == cfg.MODEL.WEIGHTS else None
    # Others in that folder, such as model_calibrated.pth, are of the training too.
    if own and os.path.dirname(os.path.realpath(own)) != os.path.dirname(os.path.realpath(address)):
        logger.warning(
            "%s is %s, by the %s: what a training began with. For what it made of them give %s %s",
            KEY, address, place_of(cfg, KEY), KEY, own,
        )  # fmt: skip


def trained_beside(cfg: CfgNode) -> str | None:
    """``model_final.pth`` of the training with a config, where there is one.

    It is beside the config file that ``MODEL.WEIGHTS`` comes from, or in the ``OUTPUT_DIR`` that a file gives.

    Args:
        cfg: the config; weights that a command line or Python gave belong to no file.
    """
    file = _IN_FILE.fullmatch(place_of(cfg, KEY) or "")
    folders = [os.path.dirname(file[1])] if file else []
    if file and _IN_FILE.fullmatch(place_of(cfg, "OUTPUT_DIR") or ""):
        folders.append(cfg.OUTPUT_DIR)
    paths = (os.path.join(folder, FINAL) for folder in folders)
    return next((path for path in paths if os.path.isfile(path)), None)


def no_weights(cfg: CfgNode, otherwise: str = "") -> str:
    """The sentence for a config without weights.

    Args:
        cfg: the config.
        otherwise: another way to give them, as the end of the sentence.
    """
    own = trained_beside(cfg) or f"output/run/{FINAL}"
    return f"{KEY} is empty; give trained weights, e.g. {KEY} {own}{otherwise}"


def weights_to_evaluate(cfg: CfgNode, *, resume: bool) -> str:
    """What an evaluation loads.

    Args:
        cfg: the config.
        resume: take the last checkpoint in ``OUTPUT_DIR`` instead of ``MODEL.WEIGHTS``.

    Raises:
        CheckpointError: there is none.
    """
    path = last_checkpoint(cfg.OUTPUT_DIR) if resume else cfg.MODEL.WEIGHTS
    if resume and not path:
        raise CheckpointError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR} has no checkpoint for --resume; to evaluate weights that are there, replace "
            f"--resume by MODEL.WEIGHTS {os.path.join(cfg.OUTPUT_DIR, FINAL)}"
        )
    if not path:
        raise CheckpointError(
            f"evaluation needs weights: give MODEL.WEIGHTS {trained_beside(cfg) or 'path/to/model_final.pth'}, or "
            f"--resume to take the last checkpoint in {os.path.abspath(cfg.OUTPUT_DIR)}"
        )
    if resume:
        warn_of_overridden(cfg, path)
    return path


def warn_of_overridden(cfg: CfgNode, path: str, began_with: object = None) -> None:
    """Warn that ``--resume`` takes other weights than those that the command line names.

    Args:
        cfg: the config; weights of a file are what a training began with, and no wish.
        path: of the checkpoint that is taken.
        began_with: ``MODEL.WEIGHTS`` of the training that goes on: who gives the same command again means no others.
    """
    given = cfg.MODEL.WEIGHTS
    if not given or place_of(cfg, KEY) != GIVEN or given == began_with:
        return
    if os.path.realpath(given) != os.path.realpath(path):
        logger.warning(
            "--resume takes %s: %s %s of the command line is not used; leave out --resume to use it, and give a "
            "training another OUTPUT_DIR",
            path, KEY, given,
        )  # fmt: skip
