"""Going on with another number of processes: what stays, what changes, and that all of them see the same checkpoint.

Which images a step has is a function of the iteration and of ``SOLVER.IMS_PER_BATCH``, the whole batch. So where that
stays, each process's share changes and nothing else: learning rate, schedule and order of the images are those of the
iteration. Where ``SOLVER.REFERENCE_WORLD_SIZE`` scales it with the processes, the training goes on behind the images
that it has seen.
"""

import logging
import os
import time
from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.utils import comm

from rle_onestage.data.sampler import share_of
from rle_onestage.engine.checkpoint.last import last_checkpoint
from rle_onestage.engine.checkpoint.resume import next_iteration
from rle_onestage.errors import CheckpointError
from rle_onestage.utils.whole_numbers import is_whole

logger = logging.getLogger("rle_onestage")

TRIALS = 60  # a second apart: as long as NFS keeps the names in a folder


def kept_of_processes(cfg: CfgNode) -> dict[str, int]:
    """What a checkpoint keeps of the processes of its training: their number, and the images of a step of all."""
    return {"processes": comm.get_world_size(), "batch": cfg.SOLVER.IMS_PER_BATCH}


def agreed_checkpoint(folder: str) -> str | None:
    """The last checkpoint in a folder, the same for all processes; None where there is none. Collective.

    A network file system may show one machine for a while what another has replaced, so they look again before they
    give up.

    Args:
        folder: ``OUTPUT_DIR``.

    Raises:
        CheckpointError: they see different ones, as where each machine has a folder of its own. In all processes. Or
            see :func:`~.last.last_checkpoint`.
    """
    for trial in range(TRIALS):
        path, seen, failure = _seen(folder)
        found = comm.all_gather(seen)
        if all(other == found[0] for other in found):
            if failure is not None:
                raise failure
            return path
        if trial == 0:
            logger.warning("Not all processes see the same checkpoint in %s; looking for %d s", folder, TRIALS)
        time.sleep(1.0)
    rank = next(rank for rank, other in enumerate(found) if other != found[0])
    first, there = (each[0] if each else "no checkpoint" for each in (found[0], found[rank]))
    raise CheckpointError(
        f"OUTPUT_DIR {folder} is not the same folder for all {len(found)} processes: process 0 finds {first} in it and "
        f"process {rank} {'another ' * (first == there)}{there}; put it on a disk that all machines share"
    )


def _seen(folder: str) -> tuple[str | None, tuple[str, int] | None, CheckpointError | None]:
    """The last checkpoint of a folder; what tells it from others; and why it cannot be had, which may pass."""
    try:
        path = last_checkpoint(folder)
        return path, None if path is None else (os.path.basename(path), os.path.getsize(path)), None
    except CheckpointError as error:
        return None, (str(error), -1), error
    except OSError as error:  # removed since its name was read
        failure = CheckpointError(f"the last checkpoint in {folder} cannot be read ({error}); start the training again")
        return None, (str(error), -1), failure


def scaled_to(cfg: CfgNode, processes: int) -> CfgNode:
    """The config for a number of processes, by Detectron2's ``SOLVER.REFERENCE_WORLD_SIZE``.

    Args:
        cfg: as it was given.
        processes: that there are.
    """
    scaled = DefaultTrainer.auto_scale_workers(cfg, processes)
    factor = scaled.SOLVER.IMS_PER_BATCH / cfg.SOLVER.IMS_PER_BATCH
    if factor != 1:  # iterations of ours, as Detectron2 scales its own
        scaled = scaled.clone()
        scaled.defrost()
        scaled.MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS = round(cfg.MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS / factor)
        scaled.freeze()
    return scaled


def settle_start(cfg: CfgNode, content: Mapping[str, Any], path: str) -> int:
    """The iteration at which a training goes on; says what another number of processes changes.

    Args:
        cfg: of the training that goes on, scaled by ``SOLVER.REFERENCE_WORLD_SIZE``.
        content: of the checkpoint.
        path: for messages.

    Raises:
        CheckpointError: see :func:`~.resume.next_iteration`.
    """
    done = next_iteration(content, path)
    before, batch = (_count(content.get(key)) for key in ("processes", "batch"))
    now, images = comm.get_world_size(), cfg.SOLVER.IMS_PER_BATCH
    told = before > 0 and batch > 0  # checkpoints of earlier versions do not tell
    scaled = told and batch != images and cfg.SOLVER.REFERENCE_WORLD_SIZE > 0
    start = -(-done * batch // images) if scaled else done  # rounded up: what was seen does not come again
    logger.info("Resuming from %s: %d of %d iterations are done", path, start, cfg.SOLVER.MAX_ITER)
    if told and before != now:
        logger.info("%d process(es) go on with what %d began, with %s each", now, before, _shares(images, now))
    if scaled:
        logger.info(
            "SOLVER.REFERENCE_WORLD_SIZE: a step has %d images now and had %d, so that the %d iterations so far count "
            "as %d, and rates are %g times those before", images, batch, done, start, images / batch,
        )  # fmt: skip
    elif told and batch != images:
        logger.warning(
            "SOLVER.IMS_PER_BATCH is %d and was %d in the training so far: iterations are counted on, so that images "
            "of this epoch may come again or be left out", images, batch,
        )  # fmt: skip
    elif told and before != now:
        logger.info(
            "SOLVER.IMS_PER_BATCH stays %d over all of them: learning rate, schedule and order of the images are those "
            "of the iteration", images,
        )  # fmt: skip
    return start


def _count(value: Any) -> int:
    return value if is_whole(value) else 0


def _shares(batch: int, world_size: int) -> str:
    """How many images of a batch a process has, in words."""
    sizes = sorted({len(share_of(batch, rank, world_size)) for rank in range(world_size)})
    return f"{' or '.join(map(str, sizes))} of {batch} images"
