"""Evaluation: models run over each image of a data set once; metrics."""

import json
import logging
import math
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator, print_csv_format
from detectron2.utils import comm
from torch import nn

from rle_onestage.data.batches import LostWorkers
from rle_onestage.data.loader import build_test_loader
from rle_onestage.data.lookup import check_test_joints
from rle_onestage.engine.config.conflicts import describe_size, input_sizes, other_size
from rle_onestage.engine.models import bare, evaluation_mode
from rle_onestage.engine.processes.watch import EvaluationWatch
from rle_onestage.errors import ConfigError, MediaError, PoseError
from rle_onestage.evaluation.registry import build_evaluator, members, numeric
from rle_onestage.evaluation.space import SPACE_METRICS
from rle_onestage.modeling.tables import decoder_of
from rle_onestage.utils.safe_files import CHECK_OUTPUT_DIR, write_text

logger = logging.getLogger("rle_onestage")

METRICS = "metrics.json"


class MetricsUnwritten(MediaError):
    """An evaluation was made, but not all of its files can be written.

    Attributes:
        results: the metrics.
    """

    def __init__(self, error: Exception, results: Mapping[str, Any]):
        super().__init__(str(error))
        self.results = results


def run_on_loader(
    model: nn.Module,
    loader: Iterable[list[dict]],
    evaluator: DatasetEvaluator,
    *,
    name: str = "",
    watch: EvaluationWatch | None = None,
) -> Mapping[str, Any]:
    """Feed every batch to the model and its outputs to the evaluator.

    Args:
        model: called with ``list[dict]``, gives as many dicts; set to evaluation mode, and back afterwards.
        loader: has a length; holds this process's share of the images.
        evaluator: a Detectron2 ``DatasetEvaluator``; where it has a ``density`` or a
            ``space_density``, these are set to the model's.
        name: of the data set, for the messages.
        watch: may end it early; None: nothing does.

    Returns:
        What ``evaluator.evaluate()`` gives; {} on other processes than the first.

    Raises:
        EvaluationStopped: ``watch`` said so.
    """
    evaluator.reset()
    start, images, network = time.perf_counter(), 0, 0.0
    with evaluation_mode(model), torch.no_grad():
        decoder = decoder_of(model)
        for one in members(evaluator):
            if hasattr(one, "density") and decoder is not None:
                one.density = decoder.error_density()  # here, where its tables are those of the weights
            if hasattr(one, "space_density") and decoder is not None:
                one.space_density = decoder.space_density()
        for inputs in _watched(_with_progress(loader, name), watch):
            before = time.perf_counter()
            outputs = model(inputs)
            network += time.perf_counter() - before
            evaluator.process(inputs, outputs)
            images += len(inputs)
    seconds = time.perf_counter() - start
    logger.info(
        "Evaluated %d images of %s in %.1f s (%.1f images/s, network %.1f ms an image)",
        images, name, seconds, images / max(seconds, 1e-9), 1e3 * network / max(images, 1),
    )  # fmt: skip
    if watch is not None:
        watch.wait_for_all()
    comm.synchronize()
    return evaluator.evaluate() or {}


def _watched(batches: Iterable[list[dict]], watch: EvaluationWatch | None) -> Iterator[list[dict]]:
    """The batches until ``watch`` ends it; the signal that does may come to the data-loading processes too."""
    try:
        for batch in batches:
            yield batch
            if watch is not None:
                watch.check()
    except LostWorkers:
        if watch is not None:
            watch.check()
        raise


def _with_progress(loader: Any, name: str) -> Iterator[list[dict]]:
    """A bar on the first process's terminal, a line every 20 seconds elsewhere."""
    if comm.is_main_process() and sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(loader, desc=f"evaluating {name}", unit="batch", leave=False, dynamic_ncols=True)
        return
    told = start = time.perf_counter()
    for index, batch in enumerate(loader):
        yield batch
        now = time.perf_counter()
        if now - told > 20:
            told, left = now, (now - start) / (index + 1) * (len(loader) - index - 1)
            logger.info("Evaluating %s: batch %d of %d, %d s left", name, index + 1, len(loader), left)


def evaluate(
    cfg: CfgNode,
    model: nn.Module,
    *,
    build_evaluator: Callable[[CfgNode, str], DatasetEvaluator] = build_evaluator,
    build_loader: Callable[[CfgNode, str], Iterable[list[dict]]] = build_test_loader,
) -> Mapping[str, Any]:
    """Evaluate on all of ``cfg.DATASETS.TEST``, show the metrics, and write ``OUTPUT_DIR/metrics.json``.

    Within :func:`~.watch.interruptible` a signal ends it early.

    Args:
        cfg: the config.
        model: with the weights to evaluate; in evaluation mode meanwhile.
        build_evaluator: ``(cfg, dataset_name) -> DatasetEvaluator``.
        build_loader: ``(cfg, dataset_name)`` to this process's share of the images.

    Returns:
        ``{"bbox": {"AP": ...}, "keypoints": {...}}`` in percent; with several data sets, that for each by its name.
        {} on other processes than the first. The file has the sizes of the images beside them, as ``input``.

    Raises:
        MetricsUnwritten: on the first process, when all is done: a file cannot be written (a full disk).
    """
    if not cfg.DATASETS.TEST:
        raise ConfigError("DATASETS.TEST is empty; name the data set to evaluate on, e.g. ('rle_coco_2017_val',)")
    check_test_joints(cfg)
    sizes = input_sizes(cfg)
    logger.info(
        "Testing at %s (INPUT.MIN_SIZE_TEST, MAX_SIZE_TEST); the config trains at %s",
        describe_size(sizes["test"]), describe_size(sizes["train"]),
    )  # fmt: skip
    by_set: dict[str, Any] = OrderedDict()
    unwritten: list[PoseError] = []
    for name in cfg.DATASETS.TEST:
        loader, evaluator = build_loader(cfg, name), build_evaluator(cfg, name)
        for one in members(evaluator):
            if hasattr(one, "on_unwritable"):
                one.on_unwritable = unwritten.append
            if hasattr(one, "other_size"):
                one.other_size = other_size(sizes)
        by_set[name] = run_on_loader(bare(model), loader, evaluator, name=name, watch=EvaluationWatch.present())
    if not comm.is_main_process():
        return {}
    _show(by_set)
    results = next(iter(by_set.values())) if len(by_set) == 1 else by_set
    try:
        text = json.dumps({**_plain(results), "input": sizes}, indent=1) + "\n"
        write_text(os.path.join(cfg.OUTPUT_DIR, METRICS), text, remedy=CHECK_OUTPUT_DIR)
    except PoseError as error:
        unwritten.append(error)
    if unwritten:
        raise MetricsUnwritten(unwritten[0], results)
    _tell_result(cfg, results)
    return results


def _tell_result(cfg: CfgNode, results: Mapping[str, Any]) -> None:
    """Say the one number that most want, as the last line of an evaluation; {} has none."""
    names = list(cfg.DATASETS.TEST)
    for name, tasks in (results if len(names) > 1 else {name: results for name in names}).items():
        scores = tasks.get("keypoints") if isinstance(tasks, Mapping) else None
        if isinstance(scores, Mapping) and {"AP", "AP50"} <= set(scores):
            logger.info("Result: keypoints AP %.1f (AP50 %.1f) on %s", scores["AP"], scores["AP50"], name)


def _show(by_set: Mapping[str, Mapping[str, Any]]) -> None:
    """Log the metrics of each data set in Detectron2's lines for copying: AP, and what other evaluators say."""
    ours = ("per_joint", "calibration", "best_match")  # have tables of their own
    for name, tasks in by_set.items():
        logger.info("Metrics of %s for copying, those of boxes and keypoints in percent:", name)
        print_csv_format(
            OrderedDict(
                (task, _copied(values)) for task, values in tasks.items() if task not in ours and numeric(values)
            )
        )


def _of_a_part(key: str) -> bool:
    """Whether a metric is that of a single joint or class, as its hyphen says; that of PA-MPJPE does not."""
    return "-" in key and key not in SPACE_METRICS


def _copied(values: Mapping[str, float]) -> dict[str, float]:
    """Metrics as Detectron2's ``print_csv_format`` takes them, which leaves out each with a hyphen."""
    return {key if _of_a_part(key) else key.replace("-", " "): value for key, value in values.items()}


@torch.no_grad()
def share_buffers(model: nn.Module) -> None:
    """Give every process the first one's buffers (statistics of batch norm), so that all evaluate the same model.

    When they are used, instead of in every step.
    """
    if comm.get_world_size() == 1:
        return
    for buffer in bare(model).buffers():
        torch.distributed.broadcast(buffer, 0)


def flat_metrics(results: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The finite metrics as ``{"keypoints/AP": 45.2, ...}``, for the logs; without those of single joints."""
    flat: dict[str, float] = {}
    for key, value in results.items():
        if isinstance(value, dict):
            flat.update(flat_metrics(value, f"{prefix}{key}/"))
        elif isinstance(value, (int, float)) and math.isfinite(value) and not _of_a_part(key):
            flat[f"{prefix}{key}"] = value
    return flat


def _plain(value: Any) -> Any:
    """JSON has no NaN: null stands for a metric that could not be computed."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
