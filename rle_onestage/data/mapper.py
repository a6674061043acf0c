"""From a data set dictionary to what the model is fed.

Training images go one of two ways. With ``INPUT.POSE.SIZE`` = 0, Detectron2's: crop (``INPUT.CROP``), flip, shortest
edge (``INPUT.MIN_SIZE_TRAIN``, ``MAX_SIZE_TRAIN``). With ``INPUT.POSE.SIZE`` = n, an n x n canvas: letterbox, flip, and
a random scale, turn and shift in one warp; the border has the mean colour, which is 0 after normalisation, as the
padding of batches. Then come ``INPUT.AUGMENTATIONS``, pasted and erased parts, and degradation.

What happens to a person:

- a joint outside the image loses its label (visibility 0, coordinates 0);
- a turned box is that of :func:`~.transforms.augmentation.transform_boxes`; boxes are clipped to the image;
- ``gt_area`` is scaled by the determinant of the transform, and by the share of the box that stays in the image;
- a person with less than ``MIN_VISIBLE_SHARE`` of the box, or a box side below ``MIN_BOX_SIDE``, moves to
  ``ignore_boxes``;
- ``iscrowd`` annotations are in ``ignore_boxes`` only, never people to learn;
- people without labelled joints stay as boxes;
- joints of the data set are mapped to the model's (:class:`~.labels.LabelRules`); ``gt_known`` says of which it is
  known whether they are in the image, ``regions`` which parts of the image come from sets that leave something open.

Keypoints come with Detectron2's +0.5 already (:mod:`.coco.records`) and are not shifted here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from detectron2.structures import Boxes

from ..errors import ConfigError
from ..structures.skeleton import Skeleton
from ..utils.images import ImageCache
from ..utils.registry import NamedRegistry
from .labels import LabelRules, plain_rules
from .lookup import model_skeleton
from .people import LabelledPeople, as_instances, onto_canvas, read_people, region_row
from .training_sets import load_training_records, training_cutouts, training_rules
from .transforms import augmentation as aug
from .transforms import mosaic
from .transforms.canvas import CanvasPeople
from .transforms.copy_paste import random_paste
from .transforms.cutouts import Cutout
from .transforms.degradation import random_degradation, random_erase
from .transforms.model_input import TestResize, image_to_tensor
from .transforms.occlusion import hide
from .transforms.stock import augment, build_augmentations

MAPPER_REGISTRY = NamedRegistry("MAPPER", "INPUT.MAPPER")
"""What ``INPUT.MAPPER`` can name: functions and classes that are called with (cfg, is_train) and give a mapper.

A mapper is called with a data set dictionary and gives the model's input, as Detectron2's ``DatasetMapper``, which can
be registered too. A subclass of :class:`PoseMapper` keeps everything that it does not override::

    @MAPPER_REGISTRY.register()
    class RainyMapper(PoseMapper):
        @classmethod
        def build_augmentation(cls, cfg):
            return [*super().build_augmentation(cfg), Rain()]
"""

Mapper = Callable[..., dict[str, Any]]


class _Canvas(NamedTuple):
    """A training sample on its way."""

    image: np.ndarray  # (H, W, 3) uint8 BGR
    people: CanvasPeople
    regions: list[list[float]]
    size: tuple[int, int]  # height and width of the original


@MAPPER_REGISTRY.register()
class PoseMapper:
    """Maps a data set dictionary to the model's input; see the module for what is done.

    ``PoseMapper(cfg, is_train)`` works with the loaders of this package and with Detectron2's own. Arguments beside the
    config stand in place of what it gives: ``PoseMapper(cfg, True, augmentations=[])``.

    To add an augmentation of Detectron2's kind (``detectron2.data.transforms.Augmentation``), name it in the config::

        INPUT:
          AUGMENTATIONS: [[RandomRotation, {angle: [-10, 10]}], [RandomLighting, {scale: 0.1}]]

    or override :meth:`build_augmentation` in a subclass, and name that in ``INPUT.MAPPER`` (:data:`MAPPER_REGISTRY`). A
    class of your own gets a name for the config by :data:`~.transforms.stock.AUGMENTATION_REGISTRY`. Joints, boxes,
    areas and regions follow every transform that moves points, and left and right swap where it mirrors. Augmentations
    see uint8 BGR images. What they draw from NumPy's, Python's and torch's generators is a function of the sample, so a
    resumed run sees the same images.

    Args:
        is_train: augment.
        skeleton: the joints of the model.
        annotations: whether test samples carry ``instances`` too, in the pixels of the resized image.
        rules: of the training sets, by the ``dataset_name`` of a record; all joints of other records are the model's.
        cutouts: people to paste, in the model's joints.
        image_format: ``BGR`` or ``RGB``, of the samples.
        test_resize: of test images; None: they keep their size.
        side: of the canvas, in pixels; 0: none, ``edges`` decide.
        affine: scale, turn, shift and flip.
        edges: crop and resize where there is no canvas.
        colour: strengths of the changes of colour.
        augmentations: of Detectron2, on the image with its labels in place, before anything is put in front of people.
        copy_paste: how often, and how many people, are pasted.
        erase_prob: how often rectangles are put in front of people.
        degrade: how often each kind of :func:`~.transforms.degradation.random_degradation` is applied.
        border: colour outside the image, three grey levels in BGR.
        cache_mb: of decoded images that are kept, in megabytes.
        depth: whether samples have the depth of joints too.

    Raises:
        ConfigError: a mosaic, or a crop, does not go with the canvas.
    """

    @configurable
    def __init__(
        self,
        *,
        is_train: bool,
        skeleton: Skeleton,
        annotations: bool = False,
        rules: Mapping[str, LabelRules] | None = None,
        cutouts: Sequence[Cutout] = (),
        image_format: str = "BGR",
        test_resize: TestResize | None = None,
        side: int = 0,
        affine: aug.AffineOptions = aug.AffineOptions(),  # noqa: B008 -- a tuple
        edges: aug.EdgeOptions = aug.EdgeOptions(),  # noqa: B008 -- a tuple
        colour: aug.ColourOptions = aug.ColourOptions(),  # noqa: B008 -- a tuple
        augmentations: Sequence[T.Augmentation] = (),
        copy_paste: aug.PasteOptions = aug.PasteOptions(),  # noqa: B008 -- a tuple
        erase_prob: float = 0.0,
        degrade: Mapping[str, float] | None = None,
        border: Sequence[float] = (103.53, 116.28, 123.675),
        cache_mb: float = 0,
        depth: bool = False,
    ):
        if edges.crop is not None and side:
            raise ConfigError(
                "INPUT.CROP.ENABLED does nothing with INPUT.POSE.SIZE, whose affine crops already; turn one off."
            )
        self.is_train = is_train
        self.annotations = is_train or annotations
        self.num_joints = skeleton.num_joints
        self.rules = dict(rules or {})
        self.plain_rules = plain_rules(skeleton.num_joints)
        self.flip_index = skeleton.flip_index
        self.cutouts = list(cutouts)
        self.image_format = image_format
        self.test_resize = test_resize or TestResize()
        self.side = side
        self.affine, self.edges, self.colour = affine, edges, colour
        self.augmentations = list(augmentations)
        self.copy_paste, self.erase_prob, self.degrade = copy_paste, erase_prob, dict(degrade or {})
        self.border = [float(level) for level in border]
        self.cache = ImageCache(cache_mb if is_train else 0)
        self.depth = depth

    @classmethod
    def from_config(
        cls,
        cfg: CfgNode,
        is_train: bool = True,
        *,
        skeleton: Skeleton | None = None,
        annotations: bool = False,
        rules: Mapping[str, LabelRules] | None = None,
        cutouts: Sequence[Cutout] | None = None,
    ) -> dict[str, Any]:
        """The arguments that the config gives; what is None is made from its data sets.

        Args:
            cfg: reads INPUT and MODEL.PIXEL_MEAN; DATASETS too, where ``skeleton`` is None.
            is_train: augment.
            skeleton: the joints of the model; None: these, ``rules`` and ``cutouts`` are those of ``cfg.DATASETS``.
            annotations: as of the class.
            rules: as of the class.
            cutouts: as of the class.

        Raises:
            ConfigError: a mosaic needs a canvas, or an augmentation is not known.
            DataError: a data set cannot be used.
        """
        pose, crop = cfg.INPUT.POSE, cfg.INPUT.CROP
        if pose.MOSAIC_PROB and not pose.SIZE:
            raise ConfigError("INPUT.POSE.MOSAIC_PROB needs a canvas; set INPUT.POSE.SIZE too.")
        if skeleton is None:
            skeleton = model_skeleton(cfg)
            if is_train:
                rules = training_rules(cfg, skeleton) if rules is None else rules
                if cutouts is None and pose.COPY_PASTE_PROB:
                    cutouts = training_cutouts(cfg, load_training_records(cfg))
        mean = list(cfg.MODEL.PIXEL_MEAN)
        flip_prob = 0.0 if cfg.INPUT.RANDOM_FLIP == "none" else pose.FLIP_PROB
        return {
            "is_train": is_train,
            "skeleton": skeleton,
            "annotations": annotations,
            "rules": rules,
            "cutouts": cutouts or (),
            "image_format": cfg.INPUT.FORMAT,
            "test_resize": TestResize(cfg),
            "side": pose.SIZE,
            "affine": aug.AffineOptions(tuple(pose.SCALE), pose.ROTATE, pose.TRANSLATE, pose.AFFINE_PROB, flip_prob),
            "edges": aug.EdgeOptions(
                tuple(np.atleast_1d(cfg.INPUT.MIN_SIZE_TRAIN).tolist()),
                cfg.INPUT.MAX_SIZE_TRAIN,
                cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING,
                (crop.TYPE, tuple(crop.SIZE)) if crop.ENABLED else None,
            ),
            "colour": aug.ColourOptions(pose.BRIGHTNESS, pose.CONTRAST, pose.SATURATION, pose.HUE),
            "augmentations": cls.build_augmentation(cfg) if is_train else (),
            "copy_paste": aug.PasteOptions(pose.COPY_PASTE_PROB, pose.COPY_PASTE_MOST),
            "erase_prob": pose.ERASE_PROB,
            "degrade": {name.lower(): prob for name, prob in pose.DEGRADE.items()},
            "border": mean[::-1] if cfg.INPUT.FORMAT == "RGB" else mean,  # images are BGR until the end
            "cache_mb": pose.CACHE_MB,
            "depth": cfg.MODEL.RLE_ONESTAGE.DEPTH.ENABLED,
        }

    @classmethod
    def build_augmentation(cls, cfg: CfgNode) -> list[T.Augmentation]:
        """The augmentations of Detectron2's kind in training: those of ``INPUT.AUGMENTATIONS``. To be overridden.

        Args:
            cfg: the config.
        """
        return build_augmentations(cfg.INPUT.AUGMENTATIONS)

    def __call__(
        self, record: dict[str, Any], rng: np.random.Generator | None = None, others: Sequence[dict[str, Any]] = ()
    ) -> dict[str, Any]:
        """Map one data set dictionary.

        Args:
            record: file_name, image_id, height, width, annotations (may be missing); not changed.
            rng: what all random choices of this sample come from; None: one that NumPy's global generator seeds, as in
                the loaders of Detectron2.
            others: three more, for a mosaic; needs a canvas.

        Returns:
            dict with image (3, H, W) uint8 tensor in ``image_format``, height and width of the original (or of the
            canvas, for a mosaic), file_name, image_id, and in training instances (:func:`~.people.as_instances`),
            ignore_boxes, and regions where a set leaves something open (:func:`~.people.region_row`).

        Raises:
            UnreadableImage: the image cannot be used.
            DataError: an augmentation does not give an image.
        """
        if not self.is_train:
            return self._test_sample(record)
        if rng is None:
            rng = np.random.default_rng(np.random.randint(2**31 - 1))
        canvas = self._mosaic([record, *others], rng) if others else self._single(record, rng)
        image, people, regions, size = canvas
        if self.augmentations:
            given = (rng, image, people, regions, self.augmentations, self.flip_index)
            image, people, regions = augment(*given, file_name=record["file_name"])
        image, people = self._in_front(image, people, rng)
        return self._sample(record, image, size, people, regions)

    def _rules(self, record: dict[str, Any]) -> LabelRules:
        return self.rules.get(record.get("dataset_name", ""), self.plain_rules)

    def _test_sample(self, record: dict[str, Any]) -> dict[str, Any]:
        image = self.cache.read(record)
        size = _size(record, image)
        if not self.annotations:
            return self._sample(record, self.test_resize(image), size)
        transform, rules = self.test_resize.transform(*size), self._rules(record)
        people = onto_canvas(read_people(record, rules, depth=self.depth), transform, self.flip_index)
        return self._sample(record, self.test_resize(image), size, people, _regions(rules, transform))

    def _single(self, record: dict[str, Any], rng: np.random.Generator) -> _Canvas:
        image = self.cache.read(record, self._shrink if self.side else None)
        size, rules = _size(record, image), self._rules(record)
        people = read_people(record, rules, depth=self.depth)
        if self.side:
            transform = aug.random_affine(rng, *size, self.side, **self.affine._asdict())
            image = self._warped(image, size, transform, rng)
        else:
            image, transform = self._shortest_edge(image, people, rng)
        return _Canvas(image, onto_canvas(people, transform, self.flip_index), _regions(rules, transform), size)

    def _mosaic(self, records: Sequence[dict[str, Any]], rng: np.random.Generator) -> _Canvas:
        canvas = np.empty((self.side, self.side, 3), np.uint8)
        placed, corners, regions = [], [], []
        for record, (x, y, height, width) in zip(records, mosaic.parts(rng, self.side)):
            rules = self._rules(record)
            image, people = self.cache.read(record, self._shrink), read_people(record, rules, depth=self.depth)
            size = _size(record, image)
            whole = aug.random_affine(rng, *size, self.side, **self.affine._asdict())
            transform = mosaic.cut(rng, whole, height, width, people.centres)
            canvas[y : y + height, x : x + width] = self._warped(image, size, transform, rng)
            placed.append(onto_canvas(people, transform, self.flip_index))
            corners.append((x, y))
            regions += _regions(rules, transform, (x, y))
        return _Canvas(canvas, mosaic.join(placed, corners), regions, (self.side, self.side))

    def _in_front(
        self, image: np.ndarray, people: CanvasPeople, rng: np.random.Generator
    ) -> tuple[np.ndarray, CanvasPeople]:
        """Pasted people and other things in front of those who are there, then worse photography."""
        image, people = random_paste(
            rng, image, people, self.cutouts, self.flip_index, prob=self.copy_paste.prob, most=self.copy_paste.most
        )
        image, erased = random_erase(rng, image, people.boxes, prob=self.erase_prob)
        if erased is not None:
            people = hide(people, erased)
        return random_degradation(rng, image, **self.degrade), people

    def _sample(
        self,
        record: dict[str, Any],
        image: np.ndarray,
        size: tuple[int, int],
        people: CanvasPeople | None = None,
        regions: Sequence[Sequence[float]] = (),
    ) -> dict[str, Any]:
        sample: dict[str, Any] = {
            "image": image_to_tensor(image, self.image_format), "height": size[0], "width": size[1],
            "file_name": record["file_name"], "image_id": record.get("image_id"),
        }  # fmt: skip
        if not self.is_train and "camera" in record:
            sample["camera"] = record["camera"]
        if people is not None:
            labels = people._asdict()
            ignore, extra = labels.pop("ignore"), labels.pop("extra")
            sample["instances"] = as_instances(image.shape[:2], **labels, **extra)
            sample["ignore_boxes"] = Boxes(torch.from_numpy(ignore.astype(np.float32)))
        if regions:
            sample["regions"] = torch.tensor(regions, dtype=torch.float32)
        return sample

    def _shrink(self, image: np.ndarray) -> np.ndarray:
        """Decoded images are kept no larger than the affine will ever show them."""
        factor = self.side * max(1.0, self.affine.scale[1]) / max(image.shape[:2])
        if factor >= 1:
            return image
        height, width = (max(1, round(n * factor)) for n in image.shape[:2])
        return aug.resize_image(image, height, width)

    def _warped(
        self, image: np.ndarray, size: tuple[int, int], transform: aug.Transform, rng: np.random.Generator
    ) -> np.ndarray:
        """An image, perhaps kept smaller than its ``size``, in other colours and at its place."""
        image = aug.random_colour(rng, image, **self.colour._asdict())
        height, width = image.shape[:2]
        from_shrunk = aug.scaling(height, width, *size)
        return aug.warp_image(image, from_shrunk.then(transform), self.border)

    def _shortest_edge(
        self, image: np.ndarray, people: LabelledPeople, rng: np.random.Generator
    ) -> tuple[np.ndarray, aug.Transform]:
        transform = aug.identity(*image.shape[:2])
        if self.edges.crop is not None:
            crop = aug.random_crop(rng, transform.height, transform.width, *self.edges.crop, people.centres)
            x, y = (-crop.matrix[:2, 2]).astype(int)
            image = image[y : y + crop.height, x : x + crop.width]
            transform = transform.then(crop)
        if rng.random() < self.affine.flip_prob:
            image = image[:, ::-1]
            transform = transform.then(aug.flipping(transform.height, transform.width))
        shortest = self.edges.draw(rng)
        if shortest:
            size = aug.shortest_edge_size(transform.height, transform.width, shortest, self.edges.longest)
            transform = transform.then(aug.scaling(transform.height, transform.width, *size))
            image = aug.resize_image(np.ascontiguousarray(image), *size)
        return aug.random_colour(rng, np.ascontiguousarray(image), **self.colour._asdict()), transform


def _size(record: dict[str, Any], image: np.ndarray) -> tuple[int, int]:
    """Height and width of the original, of which ``image`` may be a smaller copy."""
    height, width = image.shape[:2]
    return record.get("height") or height, record.get("width") or width


def _regions(rules: LabelRules, transform: aug.Transform, corner: tuple[int, int] = (0, 0)) -> list[list[float]]:
    """What the canvas of a transform may teach, none where that is all; ``corner``: its place on a larger one."""
    return [] if rules.plain else [region_row(rules, *corner, transform.height, transform.width)]


def build_mapper(cfg: CfgNode, is_train: bool, **parts: Any) -> Mapper:
    """The mapper that ``INPUT.MAPPER`` names.

    Args:
        cfg: the config.
        is_train: for training.
        parts: what a :class:`PoseMapper` takes beside these two, such as ``skeleton``; others do without.

    Raises:
        ConfigError: no mapper has this name.
    """
    kind = MAPPER_REGISTRY.get(cfg.INPUT.MAPPER)
    if isinstance(kind, type) and issubclass(kind, PoseMapper):
        return kind(cfg, is_train, **parts)
    return kind(cfg, is_train)
