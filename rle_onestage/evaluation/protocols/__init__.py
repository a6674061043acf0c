"""How benchmarks score keypoints: COCO's way, and what CrowdPose, COCO-WholeBody, MPII and Human3.6M do in their own.

Each is chosen by ``evaluator_type`` of a data set's metadata. All figures come from :func:`~.metrics.coco_metrics` on
labels and results that are prepared as the benchmark's own code does, but for MPII's PCKh.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from detectron2.data import DatasetCatalog, MetadataCatalog

from ...data.named_sets import protocol_of_layout
from ..ground_truth import GroundTruth
from ..metrics import METRICS, coco_metrics
from ..results import Result
from .crowdpose import CROWDPOSE_METRICS, crowdpose_metrics, crowdpose_truth
from .mpii import PCKH_METRICS, mpii_metrics
from .wholebody import WHOLEBODY_TABLES, wholebody_metrics

Tables = OrderedDict[str, OrderedDict[str, float]]  # name of a table -> metric -> percent


class Metrics(Protocol):
    """Scores results."""

    def __call__(
        self, truth: GroundTruth, results: list[Result], oks_sigmas: Sequence[float], *, max_people: int, backend: str
    ) -> Tables:
        """The tables of results; the first is ``keypoints``."""


def _unchanged(truth: GroundTruth) -> GroundTruth:
    return truth


class Scoring(NamedTuple):
    """How a benchmark scores."""

    metrics: Metrics
    evaluator: str  # its name in EVALUATOR_REGISTRY
    tables: dict[str, tuple[str, ...]]  # names of the tables, and of the metrics in each
    prepare: Callable[[GroundTruth], GroundTruth] = _unchanged  # labels as the benchmark's code takes them
    boxes: bool = True  # whether the labels have boxes of their own, which are worth a box AP


def keypoint_metrics(
    truth: GroundTruth, results: list[Result], oks_sigmas: Sequence[float], *, max_people: int, backend: str
) -> Tables:
    """COCO's metrics; see :class:`Metrics`."""
    metrics = coco_metrics(truth.dataset, results, "keypoints", oks_sigmas, max_people=max_people, backend=backend)
    return OrderedDict(keypoints=metrics)


_KEYPOINTS = tuple(row[0] for row in METRICS["keypoints"])
SCORINGS = {
    "coco": Scoring(keypoint_metrics, "PoseEvaluator", {"keypoints": _KEYPOINTS}),
    "crowdpose": Scoring(crowdpose_metrics, "CrowdPoseEvaluator", {"keypoints": CROWDPOSE_METRICS}, crowdpose_truth),
    "coco_wholebody": Scoring(wholebody_metrics, "WholeBodyEvaluator", dict.fromkeys(WHOLEBODY_TABLES, _KEYPOINTS)),
    "mpii": Scoring(mpii_metrics, "MPIIEvaluator", {"keypoints": _KEYPOINTS, "pckh": PCKH_METRICS}, boxes=False),
    "h36m": Scoring(keypoint_metrics, "H36MEvaluator", {"keypoints": _KEYPOINTS}),
}


def evaluator_type(dataset_name: str | None, annotations: str = "") -> str:
    """How a data set is scored: a key of :data:`SCORINGS`.

    Args:
        dataset_name: whose metadata say it; None where the labels have no name.
        annotations: their file, whose layout says it then.
    """
    if dataset_name is None:
        return protocol_of_layout(annotations)
    if dataset_name not in DatasetCatalog.list():
        return "coco"
    found = MetadataCatalog.get(dataset_name).get("evaluator_type", "coco")
    return found if found in SCORINGS else "coco"


def known_metrics(dataset_name: str) -> dict[str, tuple[str, ...]]:
    """Names of the tables of AP and the like that an evaluation of a data set gives, and of the metrics in each."""
    scoring = SCORINGS[evaluator_type(dataset_name)]
    boxes = {"bbox": tuple(row[0] for row in METRICS["bbox"])}
    return {**(boxes if scoring.boxes else {}), **scoring.tables}
