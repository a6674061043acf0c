"""COCO's metrics, by ``faster-coco-eval`` where that gives the same as ``pycocotools``, else by ``pycocotools``."""

import contextlib
import functools
import importlib
import io
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ..errors import DataError
from .results import Result

logger = logging.getLogger(__name__)

Metric = tuple[str, int, float | None, str]
# Name, precision (1) or recall (0), OKS or IoU threshold (None: mean over .50:.05:.95), area range.
_BOX: list[Metric] = [
    ("AP", 1, None, "all"),
    ("AP50", 1, 0.5, "all"),
    ("AP75", 1, 0.75, "all"),
    ("APs", 1, None, "small"),
    ("APm", 1, None, "medium"),
    ("APl", 1, None, "large"),
    ("AR", 0, None, "all"),
]
_KEYPOINTS: list[Metric] = [
    ("AP", 1, None, "all"),
    ("AP50", 1, 0.5, "all"),
    ("AP75", 1, 0.75, "all"),
    ("APm", 1, None, "medium"),
    ("APl", 1, None, "large"),
    ("AR", 0, None, "all"),
    ("AR50", 0, 0.5, "all"),
    ("AR75", 0, 0.75, "all"),
    ("ARm", 0, None, "medium"),
    ("ARl", 0, None, "large"),
]
# What counts in a result and a label; the rest (sigmas, presence, whatever a file has) is for others.
_SCORED = ("image_id", "category_id", "bbox", "keypoints", "score")
_LABELLED = ("id", "bbox", "area", "iscrowd", "keypoints", "num_keypoints")
METRICS = {"bbox": _BOX, "keypoints": _KEYPOINTS}


class ForCoco(NamedTuple):
    """Labels and results as COCO's code can take them; see :func:`for_coco`."""

    dataset: dict[str, Any]
    results: list[Result]
    image_ids: list[Any]  # id in the file of image 1, 2, ...


def for_coco(dataset: dict[str, Any], results: list[Result]) -> ForCoco:
    """Number the images 1..n and the one category 1: COCO's code takes no ids that are text, fractions or large.

    Args:
        dataset: COCO-format ground truth, complete (see :class:`~.ground_truth.GroundTruth`); not changed.
        results: COCO results, with the same ids; not changed.

    Returns:
        Copies with the new numbers, and the old ids in their order.

    Raises:
        DataError: a result is of an image that is not in ``dataset``.
    """
    ids = [image["id"] for image in dataset["images"]]
    # As COCO orders them, which decides between equal scores; text has no order of its own.
    ids = sorted(ids) if all(isinstance(i, (int, float)) for i in ids) else ids
    numbers = {image_id: number for number, image_id in enumerate(ids, start=1)}
    numbered = {
        "images": [{"id": numbers[image["id"]]} for image in dataset["images"]],
        "annotations": [
            {**{key: a[key] for key in _LABELLED if key in a}, "image_id": numbers[a["image_id"]], "category_id": 1}
            for a in dataset["annotations"]
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
    scored = [{key: result[key] for key in _SCORED if key in result} for result in results]
    for result in scored:
        number = _number_of(result.get("image_id"), numbers)
        result.update(image_id=number, category_id=1)
    return ForCoco(numbered, scored, ids)


def _number_of(image_id: Any, numbers: dict[Any, int]) -> int:
    if isinstance(image_id, (int, float, str)) and image_id in numbers:
        return numbers[image_id]
    raise DataError(
        f"a result is of image {str(image_id)[:60]!r}, but the labels have no image of this id; give the results of "
        "the same data set, with its image ids"
    )


def coco_metrics(
    dataset: dict[str, Any],
    results: list[Result],
    iou_type: str,
    oks_sigmas: Sequence[float],
    *,
    max_people: int = 20,
    backend: str = "auto",
) -> OrderedDict[str, float]:
    """Score results as COCO does.

    Args:
        dataset: COCO-format ground truth, complete (see :class:`~.ground_truth.GroundTruth`), its image ids of any
            kind; not changed.
        results: COCO results. As in Detectron2, a result's area is its box's where it has one, else the
            extent of its joints; that decides which unmatched results count in APm and APl.
        iou_type: ``bbox`` or ``keypoints``.
        oks_sigmas: (K,) COCO's OKS sigmas.
        max_people: results per image that count for keypoints (COCO: 20); for boxes COCO's 100, or this if it is more.
        backend: ``auto``, ``pycocotools`` or ``faster``.

    Returns:
        Name -> percent; NaN where the ground truth has nothing in that range (pycocotools' -1).
    """
    faster = backend == "faster" or (backend == "auto" and len(results) > 0 and _faster_agrees())
    coco_class, eval_class = _faster_classes() if faster else (COCO, COCOeval)
    # Both evaluators write into the dicts, which are copies, and never into the lists in them.
    dataset, results, _ = for_coco(dataset, results)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_class()
        truth.dataset = dataset
        truth.createIndex()
        evaluation = eval_class(truth, load_results(truth, coco_class, results), iou_type)
        evaluation.params.imgIds = sorted(truth.getImgIds())
        evaluation.params.catIds = sorted(truth.getCatIds())
        if iou_type == "keypoints":
            evaluation.params.kpt_oks_sigmas = np.asarray(oks_sigmas, dtype=float)
            evaluation.params.maxDets = [max_people]
        else:
            evaluation.params.maxDets = [1, 10, max(100, max_people)]
        evaluation.evaluate()
        evaluation.accumulate()
    return OrderedDict(
        (name, _mean(evaluation, kind, threshold, area)) for name, kind, threshold, area in METRICS[iou_type]
    )


def load_results(truth: Any, coco_class: type, results: list[Result]) -> Any:
    """Results as COCO's code takes them, also where there are none.

    Args:
        truth: the labels, an object of ``coco_class``.
        coco_class: ``COCO`` of pycocotools, or that of faster-coco-eval.
        results: of :func:`for_coco`.

    Returns:
        An object of ``coco_class`` over the images of ``truth``.
    """
    if results:
        return truth.loadRes(results)
    # loadRes looks at the first result; without any, the detections are an empty set over the same images.
    empty = coco_class()
    empty.dataset = {"images": truth.dataset["images"], "annotations": [], "categories": truth.dataset["categories"]}
    empty.createIndex()
    return empty


def _mean(evaluation: Any, kind: int, threshold: float | None, area: str) -> float:
    """One metric in percent, of an evaluation that has run; NaN where there is nothing in that range."""
    params = evaluation.params
    values = np.asarray(evaluation.eval["precision" if kind else "recall"])  # (T, R, K, A, M) or (T, K, A, M)
    values = values[..., params.areaRngLbl.index(area), -1]
    if threshold is not None:
        values = values[np.isclose(params.iouThrs, threshold)]
    values = values[values > -1]
    return 100.0 * float(values.mean()) if values.size else float("nan")


def _faster_classes() -> tuple[type, type]:
    module = importlib.import_module("faster_coco_eval")
    return module.COCO, module.COCOeval_faster


@functools.lru_cache(maxsize=1)
def _faster_agrees() -> bool:
    """Whether faster-coco-eval is installed and gives pycocotools' metrics on a small case with all the hard parts."""
    try:
        _faster_classes()
    except (ImportError, AttributeError):
        return False
    dataset, results = random_case(seed=0, num_images=12, num_joints=5)
    oks_sigmas = np.linspace(0.03, 0.1, 5).tolist()
    try:
        for iou_type in METRICS:
            ours, theirs = (
                coco_metrics(dataset, results, iou_type, oks_sigmas, max_people=4, backend=b)
                for b in ("faster", "pycocotools")
            )
            np.testing.assert_allclose(list(ours.values()), list(theirs.values()), atol=1e-9)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        logger.warning(
            "faster-coco-eval differs from pycocotools here and is not used (%s)", str(error).strip().split("\n")[0]
        )
        return False
    return True


def random_case(*, seed: int, num_images: int, num_joints: int) -> tuple[dict[str, Any], list[Result]]:
    """Random labels and results with crowds, tied scores, people without joints, empty images and all three sizes.

    Args:
        seed: of the random numbers.
        num_images: how many images.
        num_joints: K.

    Returns:
        (dataset, results), both as in COCO's files.
    """
    rng = np.random.default_rng(seed)
    images: list[dict[str, Any]] = [
        {"id": 10 + 7 * i, "file_name": f"{i}.jpg", "height": 480, "width": 640} for i in range(num_images)
    ]
    annotations: list[dict[str, Any]] = []
    results: list[Result] = []
    for image in images:
        for _ in range(rng.integers(0, 6)):
            annotation = _random_person(rng, image["id"], num_joints)
            annotations.append({**annotation, "id": len(annotations) + 1})
            for _ in range(rng.integers(0, 3)):
                results.append(_perturbed(rng, annotation))
        for _ in range(rng.integers(0, 3)):
            results.append(_perturbed(rng, _random_person(rng, image["id"], num_joints)))
    categories = [{"id": 1, "name": "person"}]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def _random_person(rng: np.random.Generator, image_id: int, num_joints: int) -> dict[str, Any]:
    """A label without an id."""
    size = 10 ** rng.uniform(1.0, 2.5, 2)
    corner = rng.uniform(0, 400, 2)
    joints = corner + rng.uniform(0, 1, (num_joints, 2)) * size
    visibility = rng.integers(0, 3, num_joints) * (rng.random() > 0.15)
    joints[visibility == 0] = 0
    return {
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": int(rng.random() < 0.1),
        "bbox": [*corner.tolist(), *size.tolist()],
        "area": float(size.prod() * rng.uniform(0.4, 0.8)),
        "keypoints": np.column_stack([joints, visibility]).reshape(-1).tolist(),
        "num_keypoints": int((visibility > 0).sum()),
    }


def _perturbed(rng: np.random.Generator, person: dict[str, Any]) -> Result:
    """A result near a label, with a score of one decimal."""
    joints = np.array(person["keypoints"]).reshape(-1, 3)
    size = np.array(person["bbox"][2:])
    joints[:, :2] += rng.normal(size=joints[:, :2].shape) * size * rng.choice([0.0, 0.01, 0.05])
    box = np.array(person["bbox"]) + rng.normal(size=4) * np.tile(size, 2) * 0.05
    box[2:] = box[2:].clip(1)
    return {
        "image_id": person["image_id"],
        "category_id": 1,
        "bbox": box.tolist(),
        "keypoints": joints.reshape(-1).tolist(),
        # So that scores tie.
        "score": round(float(rng.random()), 1),
    }
