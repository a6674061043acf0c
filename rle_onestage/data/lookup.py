"""What a registered data set is like: its joints, how it was labelled, which images of its file are its own."""

import contextlib
import os
from collections.abc import Iterable, Sequence

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from ..errors import ConfigError, DataError
from ..structures.skeleton import Skeleton, map_joints, skeleton_from_category
from ..utils.label_address import labels_are_there
from .category_cache import category_of
from .coco.json_files import check_image_folder, read_json
from .datasets import KeypointMetadata, get_metadata, get_skeleton, register_from_config
from .labels import SetOptions, in_part


def joint_names(name: str) -> list[str]:
    """Names of the joints of a registered data set, in its own order.

    Raises:
        ConfigError: no data set has this name.
        DataError: its file cannot be used, or it has no keypoints.
    """
    metadata = get_metadata(name)
    if isinstance(metadata, KeypointMetadata):
        if metadata.source.skeleton is not None:
            return list(metadata.source.skeleton.names)
        return list(category_of(metadata.json_file, name)["keypoints"])
    if not metadata.get("keypoint_names"):
        raise DataError(f"data set {name!r} has no keypoints; use a keypoint data set.")
    return list(metadata.get("keypoint_names"))


def model_skeleton(cfg: CfgNode) -> Skeleton:
    """The joints that the model learns: those of the first training set that has ``NUM_KEYPOINTS`` of them.

    Where no training set does, the first test set decides; other training sets are mapped to it by name.

    Raises:
        ConfigError: see :func:`~.datasets.get_skeleton`.
        DataError: see :func:`~.datasets.get_skeleton`.
    """
    return get_skeleton(cfg, _model_set(cfg))


def _model_set(cfg: CfgNode) -> str:
    """The data set whose joints the model learns, see :func:`model_skeleton`."""
    register_from_config(cfg)
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        if name in cfg.DATASETS.TRAIN or is_there(name):
            if len(joint_names(name)) == cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS:
                return name
    return training_names(cfg)[0]


def training_names(cfg: CfgNode) -> list[str]:
    """The names of ``DATASETS.TRAIN``.

    Raises:
        ConfigError: there is none.
    """
    if not cfg.DATASETS.TRAIN:
        raise ConfigError(
            "DATASETS.TRAIN names no data set; name those to train on, such as rle_coco_2017_train, or give a "
            "--config-file that does"
        )
    return list(cfg.DATASETS.TRAIN)


def known_joints(cfg: CfgNode) -> list[str] | None:
    """Names of the joints that the config's model predicts; None where no data set on this machine tells.

    Those of the test sets, which have the model's joints in its order; without them those of :func:`model_skeleton`.
    What is wrong with a set is left to those who read its images.
    """
    name = _test_set(cfg)
    if name is not None:
        return joint_names(name)
    with contextlib.suppress(ConfigError, DataError):
        return list(model_skeleton(cfg).names)
    return None


def known_skeleton(cfg: CfgNode) -> Skeleton | None:
    """The joints of :func:`known_joints`, with all that their data set says of them."""
    name = _test_set(cfg)
    with contextlib.suppress(ConfigError, DataError):
        return model_skeleton(cfg) if name is None else get_skeleton(cfg, name)
    return None


def _test_set(cfg: CfgNode) -> str | None:
    """The first test set on this machine that has as many joints as the model."""
    for name in cfg.DATASETS.TEST:
        with contextlib.suppress(ConfigError, DataError):
            register_from_config(cfg)
            if is_there(name) and len(joint_names(name)) == cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS:
                return name
    return None


def source_of_joints(cfg: CfgNode) -> str | None:
    """The data set that :func:`known_joints` goes by, and its file, for messages; None where none tells."""
    name = _test_set(cfg)
    with contextlib.suppress(ConfigError, DataError):
        name = name or _model_set(cfg)
    metadata = get_metadata(name) if name else None
    return f"data set {name!r} ({metadata.json_file})" if isinstance(metadata, KeypointMetadata) else name


def check_test_joints(cfg: CfgNode) -> None:
    """Check that the test sets on this machine have the same joints in the same order.

    Raises:
        ConfigError: one is not registered.
        DataError: they do not, or one cannot be used.
    """
    register_from_config(cfg)
    named = [(name, list(joint_names(name))) for name in cfg.DATASETS.TEST if is_there(name)]
    for name, names in named[1:]:
        if names != named[0][1]:
            raise DataError(
                f"the test sets {named[0][0]!r} and {name!r} have different joints ({', '.join(named[0][1])}; "
                f"{', '.join(names)}); test a model on sets with its joints in its order"
            )


def check_model_joints(name: str, joints: Sequence[str] | None) -> None:
    """Check that a registered data set has the joints of a model in its order.

    Args:
        name: of the data set.
        joints: names of the model's joints; None where nobody knows them, which is let pass.

    Raises:
        DataError: it has not.
    """
    own = joint_names(name)
    if joints is not None and map_joints(own, joints) != list(range(len(own))):
        raise DataError(
            f"data set {name!r} has the joints {', '.join(own)}, but the model's are {', '.join(joints)}; name a set "
            "with the model's joints in its order"
        )


def check_sets(cfg: CfgNode, names: Iterable[str], *, needed: Iterable[str] = (), images: bool = False) -> None:
    """Check the names of data sets before a model is built.

    Args:
        cfg: with ``DATASETS.KEYPOINT_FILES``.
        names: that must be registered.
        needed: those whose annotation file must be on this machine too.
        images: whether their image folders must be there as well; scores of files of results need none.

    Raises:
        ConfigError: one is not registered.
        DataError: the file or the folder of one is missing.
    """
    register_from_config(cfg)
    for name in (*names, *needed):
        get_metadata(name)
    for name in needed:
        metadata = get_metadata(name)
        if not is_there(name):
            read_json(metadata.json_file, name)  # which says what is missing
        if images and isinstance(metadata, KeypointMetadata):
            check_image_folder(metadata.image_root, name)


def own_skeleton(cfg: CfgNode, name: str) -> Skeleton:
    """The joints of a data set as its file has them, be they the model's or not.

    Raises:
        ConfigError: see :func:`~.datasets.get_skeleton`.
        DataError: see :func:`~.datasets.get_skeleton`.
    """
    register_from_config(cfg)
    if len(joint_names(name)) == cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS:
        return get_skeleton(cfg, name)
    metadata = get_metadata(name)
    if not isinstance(metadata, KeypointMetadata):
        return skeleton_from_category({"name": name, "keypoints": joint_names(name)})
    return metadata.source.skeleton or skeleton_from_category(category_of(metadata.json_file, name))


def set_options(name: str) -> SetOptions:
    """How a registered data set was labelled; the defaults for those that are not ours."""
    metadata = MetadataCatalog.get(name)
    return metadata.source.options if isinstance(metadata, KeypointMetadata) else SetOptions()


def images_of_part(name: str, images: Iterable[dict]) -> list[int]:
    """Ids of the images (dicts with ``id`` and ``file_name``) of a file that belong to the data set ``name``."""
    metadata, options = MetadataCatalog.get(name), set_options(name)
    root = metadata.image_root if isinstance(metadata, KeypointMetadata) else ""
    return [image["id"] for image in images if in_part(os.path.join(root, image["file_name"]), options)]


def is_there(name: str) -> bool:
    """Whether the annotation file of a registered data set is on this machine; True for sets that are not ours."""
    metadata = get_metadata(name)
    return not isinstance(metadata, KeypointMetadata) or labels_are_there(metadata.json_file)
