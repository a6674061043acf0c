"""COCO evaluation of boxes and keypoints, with the metrics of ``pycocotools``."""

import itertools
import logging
import math
import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.logger import create_small_table

from ..data.coco.json_files import read_json
from ..data.datasets import get_skeleton
from ..data.lookup import images_of_part
from ..errors import ConfigError, DataError, MediaError, check_score, counted
from ..structures import ErrorDensity, Skeleton
from ..structures.depth_density import SpaceDensity
from .calibration import COLUMNS, Row, calibration_table, format_calibration, regions_by_group
from .ground_truth import GroundTruth
from .joint_factors import joint_factors, joints_path
from .metrics import coco_metrics
from .partial_sets import tell_of_partial
from .per_joint import Matches, best_match, format_joint_errors, joint_errors, match_people
from .probabilities import dataset_claims, format_probabilities, probability_table
from .protocols import SCORINGS, evaluator_type
from .regions import format_regions
from .registry import EVALUATOR_REGISTRY
from .results import Result, instances_to_coco, write_json
from .space import has_space, space_tables
from .stand_ins import warn_of_stand_ins
from .sure_joints import warn_of_sure_joints

logger = logging.getLogger(__name__)

RESULTS_FILE = "coco_instances_results.json"
RESULTS_FOLDER = "inference"  # of OUTPUT_DIR


@EVALUATOR_REGISTRY.register()
class PoseEvaluator(DatasetEvaluator):
    """Average precision of boxes and keypoints over all images of a set, and the error of each joint.

    Every image of the annotation file counts, also those without people; an image that was processed twice is an
    error, one that was not processed counts as without predictions (with a warning). Areas and crowds are taken as
    the file says. The metrics are those of ``pycocotools`` on the same results.

    Args:
        dataset_name: a registered data set; its metadata gives ``json_file``.
        skeleton: the joints; None takes the metadata's.
        oks_sigmas: (K,) OKS sigmas instead of the skeleton's.
        output_dir: folder for ``coco_instances_results.json``, what :func:`~.joint_factors.joint_factors` says of its
            joints, and ``per_joint.json``; None writes nothing.
        distributed: gather the predictions of all processes.
        max_people: predictions per image that count for keypoints (COCO: 20).
        score_threshold: predictions below it do not count for the best match.
        density: of the model's error, for coverage and likelihood; without it these are left out. May be set later.
        space_density: of the intervals of joints in space, likewise.

    Attributes:
        other_size: see :func:`~.sure_joints.warn_of_sure_joints`.
        on_unwritable: called with the error of a file that cannot be written, so that the metrics are had all the
            same; None raises it.

    Raises:
        ConfigError: there is not one OKS sigma for each joint.
    """

    evaluator_type = "coco"  # of the metadata of the sets that it is for, see rle_onestage.evaluation.protocols

    def __init__(
        self,
        dataset_name: str,
        *,
        skeleton: Skeleton | None = None,
        oks_sigmas: Sequence[float] = (),
        output_dir: str | None = None,
        distributed: bool = True,
        max_people: int = 20,
        score_threshold: float = 0.1,
        density: ErrorDensity | None = None,
        space_density: SpaceDensity | None = None,
    ) -> None:
        self.metadata = MetadataCatalog.get(dataset_name)
        self.dataset_name = dataset_name
        self.skeleton: Skeleton = skeleton or self.metadata.skeleton
        self.oks_sigmas = np.asarray(list(oks_sigmas) or self.skeleton.oks_sigmas, dtype=float)
        if len(self.oks_sigmas) != self.skeleton.num_joints:
            raise ConfigError(
                f"TEST.KEYPOINT_OKS_SIGMAS has {counted(len(self.oks_sigmas), 'value')} but {dataset_name} has "
                f"{counted(self.skeleton.num_joints, 'joint')}; give one for each"
            )
        self.output_dir = output_dir
        self.distributed = distributed
        self.max_people = max_people
        check_score(score_threshold, "score_threshold")
        self.score_threshold = score_threshold
        self.density = density
        self.space_density = space_density
        self.other_size = ""
        self.on_unwritable: Callable[[MediaError], Any] | None = None
        self.reset()

    @classmethod
    def from_config(cls, cfg: CfgNode, dataset_name: str, **options: Any) -> "PoseEvaluator":
        """An evaluator with the data set's joints, and OKS sigmas by ``TEST.KEYPOINT_OKS_SIGMAS`` if that is set.

        For a benchmark that scores in a way of its own ``PoseEvaluator`` gives the evaluator of that, by
        ``evaluator_type`` of the set's metadata.

        Args:
            cfg: the config.
            dataset_name: a data set of the config or a registered one.
            options: of the class.

        It writes to :func:`results_folder`, and ``TEST.MAX_PEOPLE`` count in each image, unless the options say else.

        Raises:
            DataError: the data set has another number of joints than the config.
        """
        options = {"output_dir": results_folder(cfg, dataset_name), "max_people": cfg.TEST.MAX_PEOPLE, **options}
        skeleton = get_skeleton(cfg, dataset_name)
        if cls is PoseEvaluator:
            cls = EVALUATOR_REGISTRY.get(SCORINGS[evaluator_type(dataset_name)].evaluator)
        return cls(dataset_name, skeleton=skeleton, **options)

    def reset(self) -> None:
        """Forget all predictions."""
        self._image_ids: list[Any] = []
        self._results: list[Result] = []

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Take the model's outputs for some images.

        Args:
            inputs: dicts with ``image_id``.
            outputs: dicts with ``instances``, in the pixels of the original images.
        """
        for given, output in zip(inputs, outputs):
            self._image_ids.append(given["image_id"])
            self._results.extend(instances_to_coco(output["instances"], given["image_id"]))

    def evaluate(self, img_ids: Iterable[Any] | None = None) -> OrderedDict[str, Mapping[str, float]]:
        """Score everything.

        Args:
            img_ids: only these images of the file; None means all.

        Returns:
            ``bbox``, ``keypoints`` (metrics in percent), ``per_joint``, ``calibration`` (see
            :func:`~.calibration.calibration_table` and :func:`~.probabilities.probability_table`; what the model does
            not predict is left out) and ``best_match``; empty on processes other than the first, and for sets without
            labels (test-dev), whose results are only written.

        Raises:
            DataError: an image was processed twice, or is not in the file.
        """
        image_ids, results = self._gather()
        if not comm.is_main_process():
            return OrderedDict()
        self._check_once(image_ids)
        dataset = read_json(self.metadata.json_file, self.dataset_name)
        if not isinstance(dataset.get("annotations"), list):
            self._write_results(results)
            logger.info("%s has no labels: the results are written, not scored", self.dataset_name)
            return OrderedDict()
        truth = GroundTruth(
            dataset=dataset, num_joints=self.skeleton.num_joints, source=self.metadata.json_file,
            image_root=self.metadata.get("image_root"),
        )  # fmt: skip
        truth = truth.subset(images_of_part(self.dataset_name, truth.images.values()))
        for result in results:
            result["category_id"] = truth.category_id
        self._write_results(results)
        if img_ids is not None:
            truth = truth.subset(img_ids)
            results = [r for r in results if r["image_id"] in truth.images]
            image_ids = [i for i in image_ids if i in truth.images]
        self._check_all(truth, image_ids)
        if not truth.by_image():
            logger.warning(
                "%s has nobody with a labelled joint on the images that are evaluated, so there is no keypoint AP",
                self.metadata.json_file,
            )
        return self._score(truth, results)

    def _write_results(self, results: list[Result]) -> None:
        """Write the results, and beside them what they leave open of the joints."""
        self._write(results, RESULTS_FILE)
        if self.output_dir:
            self._write(joint_factors(self.skeleton, self.density), joints_path(RESULTS_FILE))

    def _write(self, data: Any, name: str) -> None:
        """Write a file of the output folder, if there is one."""
        if not self.output_dir:
            return
        try:
            write_json(data, os.path.join(self.output_dir, name))
        except MediaError as error:
            if self.on_unwritable is None:
                raise
            self.on_unwritable(error)

    def _gather(self) -> tuple[list[Any], list[Result]]:
        """Ids of images and results of all processes, on the first; nothing on the others."""
        if not self.distributed or comm.get_world_size() == 1:
            return self._image_ids, self._results
        comm.synchronize()
        gathered = comm.gather((self._image_ids, self._results), dst=0)
        ids, results = zip(*gathered) if gathered else ((), ())
        return list(itertools.chain.from_iterable(ids)), list(itertools.chain.from_iterable(results))

    def _check_once(self, image_ids: Sequence[Any]) -> None:
        repeated = [i for i, n in Counter(image_ids).items() if n > 1]
        if repeated:
            raise DataError(
                f"{counted(len(repeated), 'image')} of {self.dataset_name} evaluated more than once (first: "
                f"{repeated[0]}); use build_test_loader, which gives every image once"
            )

    def _check_all(self, truth: GroundTruth, image_ids: Sequence[Any]) -> None:
        unknown = [i for i in image_ids if i not in truth.images]
        if unknown:
            raise DataError(
                f"image {unknown[0]} was evaluated but is not in {self.metadata.json_file}; "
                "evaluate the set whose file it is"
            )
        missing = len(truth.images) - len(image_ids)
        if missing:
            logger.warning(
                "%d of the %d images of %s were not evaluated; they count as without predictions",
                missing,
                len(truth.images),
                self.dataset_name,
            )

    def _score(self, truth: GroundTruth, results: list[Result]) -> OrderedDict[str, Mapping[str, float]]:
        """All metrics of :meth:`evaluate`."""
        scores: OrderedDict[str, Mapping[str, float]] = OrderedDict()
        oks_sigmas, limit = self.oks_sigmas.tolist(), self.max_people
        skeleton = self.skeleton
        if oks_sigmas != list(skeleton.oks_sigmas):
            skeleton = replace(skeleton, has_oks_sigmas=True, oks_source="as given to the evaluator")
        warn_of_stand_ins(skeleton)
        tell_of_partial(self.dataset_name)
        truth.warn_of_cut(limit)
        truth.warn_of_cut_results(results, limit, self.score_threshold)
        scoring = SCORINGS[self.evaluator_type]
        truth = scoring.prepare(truth)
        if scoring.boxes:
            scores["bbox"] = coco_metrics(truth.dataset, results, "bbox", oks_sigmas, max_people=limit)
        scores |= scoring.metrics(truth, results, oks_sigmas, max_people=limit, backend="auto")
        if has_space(truth, results):
            scores |= space_tables(
                self.evaluator_type, truth, results, self.skeleton.names, self.space_density, max_people=limit
            )
        for task, metrics in scores.items():
            logger.info("Evaluation results for %s:\n%s", task, create_small_table(metrics))
        matches = match_people(truth, results, max_people=limit)
        table = joint_errors(matches, oks_sigmas, self.skeleton.names)
        logger.info(
            "Errors of each joint, of people matched at a box IoU of 0.5 (errors in %% of sqrt(area)):\n%s",
            format_joint_errors(table),
        )
        warn_of_sure_joints(table, size=self.other_size)
        calibration, probabilities = self._calibration(matches), self._probabilities(truth, results)
        self._write(_by_joint(table, calibration, probabilities), "per_joint.json")
        scores["per_joint"] = _flat(table)
        scores["calibration"] = _finite({**calibration["all"], **probabilities.get("all", {})})
        best = best_match(truth, results, oks_sigmas, score_threshold=self.score_threshold, max_people=limit)
        logger.info(
            "Best match of each labelled person (OKS in %%), over predictions with a score of at least %g:\n%s",
            self.score_threshold,
            create_small_table(best),
        )
        scores["best_match"] = best
        return scores

    def _probabilities(self, truth: GroundTruth, results: list[Result]) -> OrderedDict[str, Row]:
        """Metrics of presence and visibility by joint, as far as the model says and the labels know them."""
        claims = dataset_claims(self.dataset_name, truth, results, max_people=self.max_people)
        table = probability_table(claims, self.skeleton.names)
        if table:
            logger.info(
                "Probabilities of joints of matched people (presence: labelled at all; visibility: not hidden):\n%s",
                format_probabilities(table),
            )
        return table

    def _calibration(self, matches: Matches) -> OrderedDict[str, Row]:
        """See :func:`~.calibration.calibration_table`; its groups are logged."""
        density = None if self.density is None else self.density.to("cpu")
        table = calibration_table(matches, self.oks_sigmas.tolist(), self.skeleton.names, density)
        groups = OrderedDict((name, row) for name, row in table.items() if name not in self.skeleton.names)
        logger.info("Calibration over joints of matched people:\n%s\n%s", format_calibration(groups), COLUMNS)
        logger.info(
            "Coordinates within intervals, joints within ellipses of the covariance and within regions of highest "
            "density, in %%:\n%s",
            format_regions(groups),
        )
        return table


def results_folder(cfg: CfgNode, dataset_name: str) -> str:
    """Where the results of a data set go: ``OUTPUT_DIR/inference`` (and its name, where there are several sets).

    Args:
        cfg: the config.
        dataset_name: of the data set.
    """
    folder = os.path.join(cfg.OUTPUT_DIR, RESULTS_FOLDER)
    return os.path.join(folder, dataset_name) if len(cfg.DATASETS.TEST) > 1 else folder


def _finite(row: Mapping[str, float]) -> OrderedDict[str, float]:
    """A row without what the model does not predict."""
    return OrderedDict((key, value) for key, value in row.items() if math.isfinite(value))


def _by_joint(
    errors: Mapping[str, Mapping[str, float]], calibration: Mapping[str, Row], probabilities: Mapping[str, Row]
) -> OrderedDict[str, Mapping[str, float]]:
    """The errors of each joint, what intervals and regions held of it, and how right its probabilities are; the first
    two by visibility and size as well."""
    held = regions_by_group(calibration)
    rows: OrderedDict[str, Mapping[str, float]] = OrderedDict()
    for name, row in errors.items():
        rows[name] = {**row, **_finite(held[name]), **probabilities.get(name, {})}
    for name, row in calibration.items():
        if name not in rows:  # the sizes of people
            rows[name] = {"count": row["joints"], **_finite(held[name])}
    return rows


def _flat(table: Mapping[str, Mapping[str, float]]) -> OrderedDict[str, float]:
    """Numbers for the logs; names with "-" stay out of Detectron2's copy-paste line, as its per-class AP does."""
    flat: OrderedDict[str, float] = OrderedDict()
    for key in ("oks", "expected_oks", "median_px", "median_relative", "z_rms"):
        flat[key] = table["all"][key]
    for name, row in table.items():
        if name != "all":
            flat[f"oks-{name}"] = row["oks"]
            flat[f"median_relative-{name}"] = row["median_relative"]
    return flat
