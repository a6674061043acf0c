"""Registration of keypoint data sets with Detectron2.

Importing ``rle_onestage`` registers the built-in names (:func:`register_all`); ``cfg.DATASETS.KEYPOINT_FILES`` adds any
other COCO-format file or YOLO-pose data set (:func:`register_from_config`). Paths are resolved under
``$DETECTRON2_DATASETS`` (default ``datasets``) when a set is used, not when it is registered.
"""

import os
from dataclasses import replace
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata

from ..errors import ConfigError, DataError, shown
from ..structures.flip_pairs import flip_index, join_flip_pairs, named_flip_pairs
from ..structures.skeleton import OKS_KEY, Skeleton, skeleton_from_category
from ..utils.label_address import ENDINGS, labels_are_there, split_address
from ..utils.near import did_you_mean
from ..utils.shards import shard_kind
from .category_cache import category_of, remember_category
from .coco.annotations import read_keypoints
from .coco.categories import check_num_joints, keypoint_category
from .coco.flags import remember_flags
from .coco.json_files import Problems, check_image_folder, read_json
from .coco.records import records_of
from .labels import SetOptions, idle_patterns, in_part
from .named_sets import BUILT_IN, Source
from .shards.reading import check_members


class KeypointMetadata(Metadata):
    """Detectron2's metadata whose paths and joints are found when they are asked for.

    ``skeleton`` raises :class:`~.errors.DataError` when it must be read from a file that is missing; the names derived
    from it (``keypoint_names``, ...) are then absent, as Detectron2's visualizer can do without them.

    Args:
        source: where the data set lies.
    """

    def __init__(self, source: Source):
        super().__init__(
            name=source.name,
            evaluator_type=source.evaluator_type,
        )
        self.__dict__["_source"] = source
        self.__dict__["_overrides"] = {}

    def __reduce__(self) -> tuple:
        return (KeypointMetadata, (self._source,), dict(self.__dict__))

    @property
    def source(self) -> Source:
        """Where the data set lies."""
        return self._source

    @property
    def json_file(self) -> str:
        """Path of the annotation file, or address of a split of a YOLO-pose set; it need not exist."""
        return self._source.path(self._source.json_file)

    @property
    def image_root(self) -> str:
        """Path of the folder of images; it need not exist."""
        return self._source.image_folder()

    @property
    def skeleton(self) -> Skeleton:
        """The joints: COCO's for built-in sets with COCO's joints, else those of the file's ``categories``.

        In sets with as many joints as its model, flip pairs of the config are added, and its sigmas stand in place of
        either.

        Raises:
            DataError: the file that must be read is missing or has no keypoints.
            ConfigError: the config gives another number of sigmas than there are joints.
        """
        skeleton = self._source.skeleton
        if skeleton is None:
            category = category_of(self.json_file, self.name)
            pairs, sigmas = self._own_pairs_and_sigmas(len(category["keypoints"]))
            return replace(skeleton_from_category(category, pairs, sigmas), name=self.name)
        pairs, sigmas = self._own_pairs_and_sigmas(skeleton.num_joints)
        if pairs:
            skeleton = replace(skeleton, flip_pairs=join_flip_pairs(skeleton.names, skeleton.flip_pairs, pairs))
        if sigmas:
            if len(sigmas) != skeleton.num_joints:
                raise ConfigError(
                    f"TEST.KEYPOINT_OKS_SIGMAS has {len(sigmas)} values but data set {self.name!r} has "
                    f"{skeleton.num_joints} joints; give one for each."
                )
            given, source = tuple(float(s) for s in sigmas), f"as given ({OKS_KEY})"
            skeleton = replace(skeleton, oks_sigmas=given, has_oks_sigmas=True, oks_source=source)
        return skeleton

    @property
    def keypoint_names(self) -> list[str]:
        """Names of the K joints; absent (AttributeError) if the file cannot be read."""
        return list(self._skeleton_or_absent("keypoint_names").names)

    @property
    def keypoint_flip_map(self) -> list[tuple[str, str]]:
        """Pairs of names that swap in a mirror."""
        return self._skeleton_or_absent("keypoint_flip_map").flip_map

    @property
    def keypoint_connection_rules(self) -> list[tuple[str, str, tuple[int, int, int]]]:
        """Limbs as (name, name, RGB colour), which Detectron2's visualizer draws."""
        return self._skeleton_or_absent("keypoint_connection_rules").connection_rules

    @property
    def keypoint_oks_sigmas(self) -> list[float]:
        """K OKS sigmas in COCO's convention."""
        return list(self._skeleton_or_absent("keypoint_oks_sigmas").oks_sigmas)

    @property
    def thing_dataset_id_to_contiguous_id(self) -> dict[Any, int]:
        """The file's id of the person category -> 0."""
        if self._source.skeleton is not None and not labels_are_there(self.json_file):
            return {1: 0}
        if not self._source.annotated:
            return {1: 0}
        category_id = category_of(self.json_file, self.name).get("id")
        return {1 if category_id is None else category_id: 0}

    @property
    def thing_classes(self) -> list[str]:
        """The name of the file's category with joints, "person" where there is no file to say it."""
        if not self._source.annotated or not labels_are_there(self.json_file):
            return ["person"]
        try:
            return [str(category_of(self.json_file, self.name).get("name") or "person")]
        except DataError as error:
            raise AttributeError(f"thing_classes of data set {self.name!r} is unknown: {error}") from error

    def _own_pairs_and_sigmas(self, joints: int) -> tuple[list | None, list | None]:
        """Flip pairs and sigmas that the config gives for a model of so many joints."""
        if self._overrides.get("joints", joints) != joints:
            return None, None
        return self._overrides.get("flip_pairs"), self._overrides.get("sigmas")

    def _skeleton_or_absent(self, key: str) -> Skeleton:
        try:
            return self.skeleton
        except DataError as error:
            raise AttributeError(f"{key} of data set {self.name!r} is unknown: {error}") from error

    def as_dict(self) -> dict[str, Any]:
        """What is known, as a dictionary; fields that cannot be read are left out."""
        keys = ("json_file", "image_root", "keypoint_names", "keypoint_flip_map", "keypoint_connection_rules")
        own = {k: v for k, v in self.__dict__.items() if not k.startswith("_")}
        return {**own, **{k: getattr(self, k) for k in keys if hasattr(self, k)}}


_problems: dict[str, Problems] = {}  # data set name -> Problems of its last load


def _load(source: Source) -> list[dict]:
    json_file = source.path(source.json_file)
    folder = source.image_folder()
    data = read_json(json_file, source.name)
    if source.annotated:
        category = keypoint_category(data, json_file)
        remember_category(json_file, category)
        if source.skeleton is not None:
            check_num_joints(json_file, len(category["keypoints"]), source.skeleton.num_joints)
    check_image_folder(folder, source.name)
    file = read_keypoints(data, json_file, image_root=folder, images_only=not source.annotated)
    remember_flags(json_file, file.flags)
    records = records_of(file, folder, weight_by=source.options.weight_by, area_from_box=source.options.area == "box")
    _problems[source.name] = file.problems
    check_members((record["file_name"] for record in records), source.name)
    idle = idle_patterns([record["file_name"] for record in records], source.options)
    if idle:
        first = next((image["file_name"] for image in file.images.values()), "(none)")
        raise ConfigError(
            f"DATASETS.KEYPOINT_FILES: {source.name!r} names {', '.join(idle)}, but {json_file} has no such "
            f"image; correct the pattern (its file names are such as {shown(first, 100)[1:-1]})"
        )
    records = [record for record in records if in_part(record["file_name"], source.options)]
    for record in records:  # tells a mapper behind Detectron2's own loaders how it was labelled
        record["dataset_name"] = source.name
    return records


def problems_of(name: str) -> Problems:
    """What was left out when the data set was last loaded in this process."""
    return _problems.get(name, Problems())


def register(source: Source) -> None:
    """Register one data set; registering the same name again replaces it.

    Raises:
        ConfigError: the name belongs to a data set that is not ours.
    """
    if source.name in DatasetCatalog.list():
        if not isinstance(MetadataCatalog.get(source.name), KeypointMetadata):
            raise ConfigError(
                f"the data set name {source.name!r} is taken by Detectron2; choose another one in KEYPOINT_FILES."
            )
        if MetadataCatalog.get(source.name).source == source:
            return
        DatasetCatalog.remove(source.name)
    DatasetCatalog.register(source.name, lambda: _load(source))
    MetadataCatalog[source.name] = KeypointMetadata(source)


def register_all(root: str | None = None) -> None:
    """Register the built-in data sets.

    Args:
        root: folder of the data sets; None: ``$DETECTRON2_DATASETS``, looked up when a set is used.
    """
    for source in BUILT_IN:
        register(replace(source, root=root))


def register_from_config(cfg: CfgNode) -> None:
    """Register ``cfg.DATASETS.KEYPOINT_FILES`` and apply the config's flip pairs and OKS sigmas.

    Flip pairs and sigmas go to the data sets of ours that ``DATASETS.TRAIN`` and ``TEST`` name. Can be called again.

    Raises:
        ConfigError: an entry is not [name, json, image folder] or [name, data.yaml, split], or those with options.
    """
    for entry in cfg.DATASETS.KEYPOINT_FILES:
        sound = isinstance(entry, (list, tuple)) and len(entry) in (3, 4) and all(isinstance(e, str) for e in entry[:3])
        if not sound:
            raise ConfigError(
                "DATASETS.KEYPOINT_FILES must hold entries of [name, json file, image folder], [name, data.yaml, "
                f"split] or [name, shards, ''], or those with {{option: value}} behind, not {entry!r}."
            )
        name, labels, images = entry[:3]
        if labels.lower().endswith(ENDINGS) or split_address(labels):
            labels, images = _address_of(name, labels, images), ""
        elif shard_kind(labels) and images:
            raise ConfigError(
                f"DATASETS.KEYPOINT_FILES: the entry of {name!r} has the shards {labels!r}, which have their images in "
                f"them, and the folder {images!r}; leave the third entry empty"
            )
        options = SetOptions.parse(name, entry[3] if len(entry) == 4 else {})
        register(Source(name, labels, images, options=options))
    for name in {*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST}:
        metadata = MetadataCatalog.get(name) if name in DatasetCatalog.list() else None
        if isinstance(metadata, KeypointMetadata):
            metadata._overrides.update(
                joints=cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS,
                flip_pairs=[list(p) for p in cfg.DATASETS.KEYPOINT_FLIP_PAIRS],
                sigmas=list(cfg.TEST.KEYPOINT_OKS_SIGMAS),
            )


def _address_of(name: str, file: str, split: str) -> str:
    """The address of the split of a data.yaml that an entry of ``DATASETS.KEYPOINT_FILES`` names."""
    address = f"{file}:{split}"
    if split_address(address) is None or split_address(file) is not None:
        raise ConfigError(
            f"DATASETS.KEYPOINT_FILES: the entry of {name!r} has {file!r} and {split!r}; give a data.yaml, and as the "
            "third entry one of its splits, such as train or val"
        )
    return address


def get_metadata(name: str) -> Metadata:
    """Metadata of a registered data set.

    Raises:
        ConfigError: no data set has this name.
    """
    if name not in DatasetCatalog.list():
        ours = sorted(n for n in DatasetCatalog.list() if isinstance(MetadataCatalog.get(n), KeypointMetadata))
        hint = did_you_mean(name, DatasetCatalog.list())
        others = f"{hint} Else" if hint else f"use one of {', '.join(ours)}, one of Detectron2's, or"
        raise ConfigError(f"there is no data set {name!r}; {others} add it to DATASETS.KEYPOINT_FILES")
    return MetadataCatalog.get(name)


def get_skeleton(cfg: CfgNode, dataset_name: str) -> Skeleton:
    """The joints of a data set, with the config's flip pairs and sigmas.

    Works for our data sets and for Detectron2's ``keypoints_coco_*``.

    Raises:
        ConfigError: unknown name, or sigmas of another number.
        DataError: the file cannot be used, or its number of joints is not ``MODEL.RLE_ONESTAGE.NUM_KEYPOINTS``.
    """
    register_from_config(cfg)
    metadata = get_metadata(dataset_name)
    pairs, sigmas = list(cfg.DATASETS.KEYPOINT_FLIP_PAIRS), list(cfg.TEST.KEYPOINT_OKS_SIGMAS)
    if isinstance(metadata, KeypointMetadata):
        where = metadata.json_file
        if metadata.source.skeleton is None:
            check_num_joints(
                where, len(category_of(where, dataset_name)["keypoints"]), cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS
            )
        joints = cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS
        metadata._overrides.update(joints=joints, flip_pairs=pairs, sigmas=sigmas)
        skeleton = metadata.skeleton
    else:
        where = f"data set {dataset_name!r}"
        names = metadata.get("keypoint_names")
        if not names:
            raise DataError(f"{where} has no keypoints; use a keypoint data set.")
        category: dict[str, Any] = {"name": dataset_name, "keypoints": names}
        if own := named_flip_pairs(names, metadata.get("keypoint_flip_map", ())):
            category["flip_idx"] = flip_index(own, len(names))
        skeleton = skeleton_from_category(category, pairs, sigmas)
        rules = metadata.get("keypoint_connection_rules", ())
        index = {n: i for i, n in enumerate(names)}
        skeleton = replace(
            skeleton, limbs=tuple((index[a], index[b]) for a, b, _ in rules if a in index and b in index)
        )
    check_num_joints(where, skeleton.num_joints, cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS)
    return skeleton


def load_dataset(cfg: CfgNode, name: str, *, own_joints: bool = False) -> list[dict]:
    """Load one registered data set, its joints checked against the config.

    Args:
        cfg: reads DATASETS and the number of joints.
        name: of the data set.
        own_joints: accept any joints, for a training set that is mapped to the model's.

    Raises:
        ConfigError: see :func:`get_skeleton`.
        DataError: see :func:`get_skeleton` and :mod:`.coco.json_files`.
    """
    register_from_config(cfg)
    metadata = get_metadata(name)
    if (
        not isinstance(metadata, KeypointMetadata)
        and metadata.get("json_file")
        and not os.path.isfile(metadata.json_file)
    ):
        read_json(metadata.json_file, name)  # says where it looked
    if not own_joints:
        get_skeleton(cfg, name)
    return DatasetCatalog.get(name)
