"""``TEST.EXPECTED_RESULTS``: its names are checked before the work, its values after it, as Detectron2 does.

The name in ``TEST.BEST_METRIC`` is checked before the work too.

An evaluation within a training is of a model that is not finished, so it is compared with nothing.
"""

from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import verify_results
from detectron2.utils import comm

from rle_onestage.errors import ConfigError, shown
from rle_onestage.evaluation.protocols import known_metrics
from rle_onestage.utils.near import did_you_mean

KEY = "TEST.EXPECTED_RESULTS"
# What else our evaluator gives; the names in there depend on the joints and on what the model predicts.
OTHER_TASKS = ("per_joint", "calibration", "best_match")


def check_expected_names(cfg: CfgNode, ours: bool = True) -> None:
    """Look for what the evaluation will never give.

    Args:
        cfg: the config.
        ours: whether :class:`~rle_onestage.evaluation.coco.PoseEvaluator` alone evaluates, whose names are known.

    Raises:
        ConfigError: a name is unknown, or there is not one test set.
    """
    expected, sets = cfg.TEST.EXPECTED_RESULTS, cfg.DATASETS.TEST
    if expected and len(sets) != 1:
        raise ConfigError(f"{KEY} needs one test set, but DATASETS.TEST names {len(sets)}; name one, or set it to []")
    known = known_metrics(sets[0]) if expected else {}
    for task, metric, *_ in expected if ours else ():
        if task not in known and task not in OTHER_TASKS:
            raise ConfigError(f"{KEY} names the task {shown(task)}; choose one of {', '.join((*known, *OTHER_TASKS))}")
        if metric not in known.get(task, [metric]):
            raise ConfigError(
                f"{KEY} names {task}/{shown(metric)}, which is none of the metrics; choose one of "
                f"{', '.join(known[task])}"
            )


def check_best_name(cfg: CfgNode, ours: bool = True) -> None:
    """Look for a ``TEST.BEST_METRIC`` that no evaluation will give. The arguments are those of the names' check.

    Raises:
        ConfigError: it is unknown.
    """
    name, sets = cfg.TEST.BEST_METRIC, list(cfg.DATASETS.TEST)
    folders = [f"{each}/" for each in sets] if len(sets) > 1 else [""] * len(sets)
    known = [
        f"{folder}{task}/{metric}"
        for folder, each in zip(folders, sets)
        for task, metrics in known_metrics(each).items()
        for metric in metrics
    ]
    others = tuple(f"{folder}{task}/" for folder in folders for task in OTHER_TASKS)
    task, _, metric = name.rpartition("/")
    whole = f"{task}/{metric.partition('-')[0]}"  # after "-" stands a class or a joint
    if not (name and sets and ours) or whole in known or name.startswith(others):
        return
    hint = did_you_mean(name, known)
    raise ConfigError(
        f"TEST.BEST_METRIC is {shown(name)}, which is no metric of the evaluation; {hint}{' ' * bool(hint)}choose one "
        f"of {', '.join(known[:20])}"
    )


def check_expected_values(cfg: CfgNode, results: Mapping[str, Any]) -> None:
    """Compare the metrics of a finished model; only on the first process, and nothing where none are expected.

    Raises:
        ConfigError: one of the names is not there.
        SystemExit: with 1, because a value is not as expected.
    """
    if not cfg.TEST.EXPECTED_RESULTS or not comm.is_main_process():
        return
    for task, metric, *_ in cfg.TEST.EXPECTED_RESULTS:
        if not isinstance(results.get(task), Mapping) or metric not in results[task]:
            there = [f"{name}/{key}" for name, keys in results.items() if isinstance(keys, Mapping) for key in keys]
            raise ConfigError(
                f"{KEY} names {task}/{metric}, which is none of the metrics: {', '.join(there[:20])} "
                "(with several test sets there is none by that name)"
            )
    verify_results(cfg, results)
