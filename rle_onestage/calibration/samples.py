"""What a calibration looks at: labels and what the model finds, of images to fit on and of held-out ones."""

import os
import zlib
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator

from ..data.datasets import get_metadata, get_skeleton
from ..data.loader import build_test_loader
from ..engine.inference import run_on_loader
from ..errors import ConfigError, DataError, counted
from ..evaluation import GroundTruth, instances_to_coco, match_people
from ..evaluation.per_joint import Matches
from ..evaluation.ranking import Ranking
from ..evaluation.results import Result
from ..evaluation.stand_ins import warn_of_stand_ins
from ..modeling import RLEOneStage

# Each half needs as many with people whom the model finds: fewer say nothing of other images. From
# evaluation.regions.LEAST_IMAGES held-out ones on there are intervals too, and so a "better" or "worse".
LEAST_IMAGES = 5


class Sample(NamedTuple):
    """Labels of some images and what a model found in them."""

    truth: GroundTruth
    results: list[Result]
    oks_sigmas: np.ndarray  # (K,)
    max_people: int = 20  # results an image that count
    files: Mapping[Any, str] = {}  # id of an image -> its path

    @property
    def matches(self) -> Matches:
        """People matched at a box IoU of 0.5."""
        return match_people(self.truth, self.results, max_people=self.max_people)

    @property
    def ranking(self) -> Ranking:
        """The detections, to be ranked by other scores."""
        return Ranking(self.truth, self.results, self.oks_sigmas.tolist(), max_people=self.max_people)

    @property
    def factors(self) -> np.ndarray:
        """(N, 3) of the scores: score branch, quality and expected OKS."""
        return np.array([r["score_factors"] for r in self.results], dtype=float).reshape(-1, 3)

    def subset(self, image_ids: Container[Any]) -> "Sample":
        """The same with only some images.

        Args:
            image_ids: ids of these.
        """
        results = [r for r in self.results if r["image_id"] in image_ids]
        return self._replace(truth=self.truth.subset(i for i in self.truth.images if i in image_ids), results=results)


class Collected(DatasetEvaluator):
    """Keeps the results."""

    def reset(self) -> None:
        """Forget all results."""
        self.results: list[Result] = []

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Take the model's outputs for some images."""
        for given, output in zip(inputs, outputs):
            results = instances_to_coco(output["instances"], given["image_id"])
            height, width = given["image"].shape[-2:]
            pixels = height * width / (given["height"] * given["width"])
            self.results += [{**result, "input_area": pixels * result["person_area"]} for result in results]

    def evaluate(self) -> list[Result]:
        """All results."""
        return self.results


def take_samples(
    cfg: CfgNode, model: RLEOneStage, dataset_name: str, fit_datasets: Sequence[str], fit_share: float
) -> tuple[Sample, Sample]:
    """Run the model over the data sets.

    Args:
        cfg: the config.
        model: without a correction.
        dataset_name: see :func:`~.fit.calibrate`.
        fit_datasets: see :func:`~.fit.calibrate`.
        fit_share: see :func:`~.fit.calibrate`.

    Returns:
        What is fitted on, and what is reported on.

    Raises:
        ConfigError: one set is named for both.
        DataError: one of them has too few images with labelled people whom the model finds.
    """
    if dataset_name in fit_datasets:
        raise ConfigError(f"--fit-dataset and --dataset are both {dataset_name}; name another one, or give --fit-share")
    held_out = _sample(cfg, model, dataset_name)
    warn_of_stand_ins(get_skeleton(cfg, dataset_name))
    if fit_datasets:
        fit = _as_one([_sample(cfg, model, name) for name in fit_datasets])
    else:
        chosen = images_to_fit(held_out.truth.images, fit_share)
        fit, held_out = held_out.subset(chosen), held_out.subset(set(held_out.truth.images) - chosen)
    names = (", ".join(fit_datasets) or dataset_name, dataset_name)
    for sample, name, what in zip((fit, held_out), names, ("fit on", "report on")):
        _check_enough(sample, name, what)
    return fit, held_out


def images_to_fit(image_ids: Iterable[Any], share: float) -> set[Any]:
    """Which images are fitted on: the first ones by a hash of their ids, the same on every machine and in every order.

    Args:
        image_ids: numbers or texts.
        share: of all images, in (0, 1).

    Returns:
        That share, rounded, but at least one image, and not all of several; a larger share has the same ones and more.
    """
    ordered = sorted(image_ids, key=lambda i: (zlib.crc32(str(i).encode()), str(i)))
    return set(ordered[: max(min(round(share * len(ordered)), len(ordered) - 1), 1)])


def _check_enough(sample: Sample, name: str, what: str) -> None:
    """Refuse images that a correction cannot be fitted to, or that say nothing about one.

    Raises:
        DataError: fewer than :data:`LEAST_IMAGES` images have labelled people whom the model finds.
    """
    labelled, matches = len(sample.truth.by_image()), sample.matches
    found = len(np.unique(matches.image_id[(matches.visibility > 0).any(1)]))
    if found >= LEAST_IMAGES:
        return
    has = f"{name} has {counted(labelled, 'image')} with labelled people to {what}"
    if labelled < LEAST_IMAGES:
        raise DataError(f"{has}, calibrate needs {LEAST_IMAGES} or more; give a larger set, or another --fit-share")
    raise DataError(
        f"{has}, and the model finds such people in {found} of them, calibrate needs {LEAST_IMAGES} or more; train the "
        "model longer, or give a larger set"
    )


def _sample(cfg: CfgNode, model: RLEOneStage, name: str) -> Sample:
    """The labels of a data set, and what the model finds in it."""
    skeleton = get_skeleton(cfg, name)
    truth = GroundTruth.of_dataset(name, skeleton.num_joints)
    results = cast("list[Result]", run_on_loader(model, build_test_loader(cfg, name), Collected(), name=name))
    oks_sigmas = np.array(list(cfg.TEST.KEYPOINT_OKS_SIGMAS) or skeleton.oks_sigmas, dtype=float)
    root = os.path.realpath(get_metadata(name).image_root)
    files = {i: os.path.normpath(os.path.join(root, image["file_name"])) for i, image in truth.images.items()}
    return Sample(truth, list(results), oks_sigmas, cfg.TEST.MAX_PEOPLE, files)


def _as_one(samples: Sequence[Sample]) -> Sample:
    """Several samples of the same joints as one."""
    truth, ids = GroundTruth.merged([sample.truth for sample in samples])
    results: list[Result] = []
    files: dict[Any, str] = {}
    for sample, new in zip(samples, ids):
        files |= {new[i]: sample.files[i] for i in sample.truth.images}
        for result in sample.results:
            moved = {"image_id": new[result["image_id"]], "category_id": truth.category_id}
            results.append({**result, **moved})
    return samples[0]._replace(truth=truth, results=results, files=files)
