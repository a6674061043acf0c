"""The sets of ``DATASETS.TRAIN`` as one: joints mapped by name, weights, and what the log says of them."""

import logging
import os
from typing import NamedTuple

import numpy as np
from detectron2.config import CfgNode

from ..errors import ConfigError, DataError
from ..structures.skeleton import Skeleton, joint_key
from ..utils.images import read_image
from ..utils.label_address import labels_are_there
from ..utils.tables import table_text
from .coco.json_files import Problems, doubts_last
from .datasets import get_metadata, load_dataset, problems_of
from .hidden import hidden_told, say_who_tells
from .labels import LabelRules, make_rules, set_weights
from .lookup import is_there, joint_names, model_skeleton, set_options, training_names
from .people import extras_of, read_people
from .teaching import NO_ANNOTATIONS, Teaching, count_teaching, why_nobody
from .transforms.cutouts import Cutout, load_cutouts

logger = logging.getLogger(__name__)

LEFT_OUT = "DATALOADER.FILTER_EMPTY_ANNOTATIONS"  # the key


class TrainingSets(NamedTuple):
    """What there is to train on."""

    records: list[dict]  # each with ``dataset_name``, its key in ``rules``
    skeleton: Skeleton  # the model's
    rules: dict[str, LabelRules]  # of each set, by its name
    often: np.ndarray  # (number of records,) how often each image comes in an epoch
    problems: Problems


@doubts_last()
def load_training_records(cfg: CfgNode) -> TrainingSets:
    """The images of ``cfg.DATASETS.TRAIN``, in order, without those that cannot teach anything.

    With ``DATALOADER.FILTER_EMPTY_ANNOTATIONS`` images without a person (crowds do not count) are left out; with
    ``MODEL.KEYPOINT_ON`` also those with fewer than ``MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE`` labelled
    joints.

    Raises:
        ConfigError: as :func:`~.datasets.load_dataset`; also when a set has none of the model's joints, or the weights
            make no sense.
        DataError: as :func:`~.datasets.load_dataset`; also when an image is trained on and tested on, nobody is left to
            learn from, or depth is to be learnt and nobody has any.
    """
    names = training_names(cfg)
    weights = set_weights(names, cfg.DATASETS.TRAIN_WEIGHTS)
    skeleton = model_skeleton(cfg)
    rules = training_rules(cfg, skeleton)
    problems = Problems()
    records: list[dict] = []
    often: list[float] = []
    rows: list[_Row] = []
    nobody: dict[str, str] = {}
    for name, (frequency, counts) in zip(names, weights):
        found = load_dataset(cfg, name, own_joints=True)
        problems.merge(problems_of(name))
        kept = [{**record, "dataset_name": name} for record in _teaching(cfg, found)] if frequency * counts else []
        records += kept
        often += [frequency] * len(kept)
        teaching = count_teaching(kept, rules[name])
        rows.append(_Row(name, len(kept), len(found), teaching, frequency, counts))
        if frequency * counts:
            _refuse_what_is_certain(name)
            if not teaching.people:
                nobody[name] = why_nobody(count_teaching(found, rules[name]), problems_of(name))
    _tell(rows)
    pairs = ", ".join(f"{left}/{right}" for left, right in skeleton.flip_map)
    logger.info("Joints that swap in a mirrored image: %s", pairs or "none")
    if cfg.MODEL.RLE_ONESTAGE.HEAD.VISIBILITY:
        say_who_tells(list(dict.fromkeys(names)))
    _tell_of_nobody(rows, nobody)
    if cfg.MODEL.RLE_ONESTAGE.DEPTH.ENABLED:
        _check_depth(records, [row.name for row in rows if row.often * row.counts])
    _check_tests(cfg, records, skeleton)
    return TrainingSets(records, skeleton, rules, np.array(often), problems)


def training_rules(cfg: CfgNode, skeleton: Skeleton) -> dict[str, LabelRules]:
    """How to read the labels of each set of ``cfg.DATASETS.TRAIN``, by its name.

    Args:
        cfg: reads DATASETS.
        skeleton: the joints of the model.

    Raises:
        ConfigError: a set has none of the model's joints, or comes twice with labels that count differently, or the
            weights make no sense.
        DataError: a file cannot be used.
    """
    rules: dict[str, LabelRules] = {}
    names = list(cfg.DATASETS.TRAIN)
    for name, (_, counts) in zip(names, set_weights(names, cfg.DATASETS.TRAIN_WEIGHTS)):
        if name in rules and rules[name].weight != counts:
            raise ConfigError(
                f"DATASETS.TRAIN names {name!r} twice and DATASETS.TRAIN_WEIGHTS says that it counts {counts:g} and "
                f"{rules[name].weight:g}; name it once."
            )
        told = cfg.MODEL.RLE_ONESTAGE.HEAD.VISIBILITY and hidden_told(name).told
        rules[name] = make_rules(name, joint_names(name), skeleton.names, set_options(name), counts, told)
    return rules


def training_cutouts(cfg: CfgNode, training: TrainingSets) -> list[Cutout]:
    """The people to paste: those of the sets of the model's joints who have polygons; none where nothing is pasted.

    Raises:
        ConfigError: there are none.
        DataError: a segment is not a list of polygons.
    """
    if not cfg.INPUT.POSE.COPY_PASTE_PROB:
        return []
    joints = training.skeleton.num_joints
    own = {name for name, rules in training.rules.items() if (rules.joints == np.arange(joints)).all()}
    legs = [i for i, name in enumerate(training.skeleton.names) if joint_key(name)[0] in ("knee", "ankle")]

    def extra_of(record: dict, annotation: dict) -> dict:
        own = {"annotations": [annotation]}
        people = read_people(own, training.rules[record["dataset_name"]], depth=cfg.MODEL.RLE_ONESTAGE.DEPTH.ENABLED)
        return {name: values[0] for name, values in extras_of(people).items()}

    records = [record for record in training.records if record["dataset_name"] in own]
    cutouts = load_cutouts(records, read_image, joints, legs=legs, extra_of=extra_of)
    if not cutouts:
        raise ConfigError(
            "INPUT.POSE.COPY_PASTE_PROB is above 0, but no training set with the model's joints has people with "
            "polygons in `segmentation`; set it to 0 or add such a set"
        )
    logger.info("Copy-paste has %d people to paste.", len(cutouts))
    return cutouts


def _teaching(cfg: CfgNode, records: list[dict]) -> list[dict]:
    if not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        return records
    fewest = cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE if cfg.MODEL.KEYPOINT_ON else 0
    return [record for record in records if _has_people(record, fewest)]


def _people(record: dict) -> list[dict]:
    return [a for a in record.get("annotations", ()) if not a.get("iscrowd", 0)]


def _has_people(record: dict, fewest_joints: int) -> bool:
    people = _people(record)
    joints = sum(v > 0 for a in people for v in (a.get("keypoints") or ())[2::3]) if fewest_joints else 0
    return bool(people) and joints >= fewest_joints


class _Row(NamedTuple):
    """What the log says of a set."""

    name: str
    kept: int  # images
    found: int
    teaching: Teaching
    often: float
    counts: float


def _where(name: str) -> str:
    return f"data set {name!r} ({get_metadata(name).get('json_file') or 'not of a file'})"


def _refuse_what_is_certain(name: str) -> None:
    """Nothing sensible can be learnt from a file whose numbers certainly mean something else."""
    certain = [doubt.sentence for doubt in problems_of(name).doubts if doubt.certain]
    if certain:
        raise DataError(f"{_where(name)} cannot be trained on: {'; '.join(certain)}.")


def _tell_of_nobody(rows: list[_Row], nobody: dict[str, str]) -> None:
    """An error where no set teaches a joint, a warning for each single one that does not.

    Args:
        rows: of all sets.
        nobody: name -> likely cause.
    """
    teaching = any(row.teaching.people for row in rows if row.often * row.counts)
    kept = {row.name for row in rows if row.kept}
    for name, cause in nobody.items():
        if teaching:
            if cause == NO_ANNOTATIONS and name in kept:
                cause = (
                    "its images have no annotations, so they teach what is no person; if there are people in them, "
                    "export the file anew, as COCO keypoints"
                )
            logger.warning("Nobody is learnt from %s: %s", _where(name), cause)
    if not teaching:
        whole = "; ".join(f"{_where(name)}: {cause}" for name, cause in nobody.items())
        raise DataError(f"there is nobody to learn from in {whole}.")


def _check_depth(records: list[dict], names: list[str]) -> None:
    """An error where a model with depth has nobody to learn it from.

    Args:
        records: that are trained on.
        names: of their sets.
    """
    if not any(annotation.get("depth") is not None for record in records for annotation in _people(record)):
        raise DataError(
            f"MODEL.RLE_ONESTAGE.DEPTH.ENABLED is True, but nobody has usable `keypoints_3d` in "
            f"{', '.join(map(_where, dict.fromkeys(names)))}; add a set that has them, or set it to False"
        )


def _tell(rows: list[_Row]) -> None:
    total = sum(row.kept * row.often for row in rows)
    if len(rows) == 1:
        row, more = rows[0], ""
        if row.teaching.boxes:
            more = f"; {row.teaching.boxes} more have a box, but no joint"
        if row.kept < row.found:
            more += f"; {row.found - row.kept} images without labelled people are left out, by {LEFT_OUT}"
        logger.info(
            "Training on %d of %d images of %s (%d people, %d joints%s).", row.kept, row.found, row.name,
            row.teaching.people, row.teaching.joints, more,
        )  # fmt: skip
        return
    table = [
        (row.name, f"{row.kept} of {row.found}", row.teaching.people, row.teaching.joints, row.teaching.boxes,
         f"{row.often:g}", f"{row.counts:g}", f"{100 * row.kept * row.often / total:.1f} %")
        for row in rows if total
    ]  # fmt: skip
    head = ("data set", "images", "people", "joints", "boxes alone", "comes", "counts", "share of a step")
    logger.info("Training on %d data sets:\n%s", len(rows), table_text(table, head))


def _contents(name: str) -> tuple:
    """What decides which images a data set has, as a key: sets with the same key are one under two names."""
    metadata, options = get_metadata(name), set_options(name)
    paths = [os.path.realpath(metadata.get(key) or name) for key in ("json_file", "image_root")]
    return (*paths, options.part, options.one_in, options.only, options.without)


def _check_tests(cfg: CfgNode, records: list[dict], skeleton: Skeleton) -> None:
    """Test sets have the model's joints, and no image that is trained on, unless a set is named as both on purpose."""
    both = {_contents(name) for name in cfg.DATASETS.TRAIN}
    trained = {os.path.realpath(record["file_name"]) for record in records}
    for name in cfg.DATASETS.TEST:
        metadata = get_metadata(name)
        if is_there(name) and list(joint_names(name)) != list(skeleton.names):
            raise DataError(
                f"the test set {name!r} has the joints {', '.join(joint_names(name))}, but the model learns "
                f"{', '.join(skeleton.names)}; test on a set with the same joints in the same order"
            )
        if _contents(name) in both:
            logger.warning("Data set %s is trained on and tested on: its metrics say nothing of other images.", name)
        elif labels_are_there(metadata.get("json_file") or "") and os.path.isdir(metadata.get("image_root") or ""):
            shared = [r["file_name"] for r in load_dataset(cfg, name) if os.path.realpath(r["file_name"]) in trained]
            if shared:
                raise DataError(
                    f"{len(shared)} images of the test set {name!r} are in DATASETS.TRAIN too, the first is "
                    f"{shared[0]}; take them out of one of the two"
                )
