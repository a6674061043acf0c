"""From a data set dictionary to what the model is fed.

Training pictures go one of two ways. With ``INPUT.POSE.SIZE`` = 0, Detectron2's: crop (``INPUT.CROP``), flip, shortest
edge (``INPUT.MIN_SIZE_TRAIN``, ``MAX_SIZE_TRAIN``). With ``INPUT.POSE.SIZE`` = n, an n x n canvas: letterbox, flip, and
a random scale, turn and shift in one warp; the border has the mean colour, which is 0 after normalisation, as the
padding of batches.

What happens to a person:

- a joint outside the picture loses its label (visibility 0, coordinates 0);
- a turned box is that of :func:`.augmentation.transform_boxes`; boxes are clipped to the picture;
- ``gt_area`` is scaled by the determinant of the transform, and by the share of the box that stays in the picture;
- a person with less than ``MIN_VISIBLE_SHARE`` of the box, or a box side below ``MIN_BOX_SIDE``, moves to
  ``ignore_boxes``;
- ``iscrowd`` annotations are in ``ignore_boxes`` only, never people to learn;
- people without labelled joints stay as boxes;
- joints of the data set are mapped to the model's (:class:`.labels.LabelRules`); ``gt_known`` says of which it is known
  whether they are in the picture, ``regions`` which parts of the picture come from sets that leave something open.

Keypoints come with Detectron2's +0.5 already (:mod:`.records`) and are not shifted here.
"""

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.structures import Boxes

from ..errors import ConfigError
from ..structures.skeleton import Skeleton
from ..utils.images import ImageCache
from .labels import LabelRules, plain_rules
from .people import as_instances, onto_canvas, read_people, region_row
from .transforms import augmentation as aug
from .transforms import mosaic
from .transforms.copy_paste import random_paste
from .transforms.cutouts import Cutout
from .transforms.degradation import random_degradation, random_erase
from .transforms.occlusion import hide

_SHARES = ("FLIP_PROB", "AFFINE_PROB", "MOSAIC_PROB", "MOSAIC_OFF", "COPY_PASTE_PROB", "ERASE_PROB")
_CROPS = ("relative", "relative_range", "absolute", "absolute_range")


class TestResize:
    """The resize at test time, for pictures outside a data set too, by the keys that Detectron2's own tools know.

    The shortest edge gets ``INPUT.MIN_SIZE_TEST`` unless the longest then exceeds ``MAX_SIZE_TEST``; with both equal,
    that is the length of the longest side. A shortest edge of 0 keeps the picture. ``INPUT.POSE.SIZE`` has no say.
    """

    __test__ = False  # not a test, for pytest

    def __init__(self, cfg):
        self.shortest = cfg.INPUT.MIN_SIZE_TEST
        self.longest = cfg.INPUT.MAX_SIZE_TEST

    def transform(self, height: int, width: int) -> aug.Transform:
        """The resize of a picture of this size."""
        if self.shortest == 0:
            size = height, width
        else:
            size = aug.shortest_edge_size(height, width, self.shortest, self.longest)
        return aug.scaling(height, width, *size)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Resize (H, W, 3) uint8."""
        transform = self.transform(*image.shape[:2])
        return aug.resize_image(image, transform.height, transform.width)


def image_to_tensor(image: np.ndarray, image_format: str) -> torch.Tensor:
    """(H, W, 3) uint8 BGR to a (3, H, W) uint8 tensor in ``cfg.INPUT.FORMAT``."""
    if image_format == "RGB":
        image = image[:, :, ::-1]
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


class PoseMapper:
    """Maps a data set dictionary to the model's input; see the module for what is done.

    Args:
        cfg: the config.
        is_train: augment.
        skeleton: the joints of the model.
        rules: of the data sets, by the ``set`` number of a record; without them all joints are the model's.
        cutouts: people to paste, in the model's joints.
        annotations: whether test samples carry ``instances`` too, in the pixels of the resized picture.

    Raises:
        ConfigError: an augmentation option is out of its range.
    """

    def __init__(
        self,
        cfg,
        is_train: bool,
        *,
        skeleton: Skeleton,
        annotations: bool = False,
        rules: Sequence[LabelRules] = (),
        cutouts: Sequence[Cutout] = (),
    ):
        self.is_train = is_train
        self.annotations = is_train or annotations
        self.num_joints = skeleton.num_joints
        self.rules = list(rules) or [plain_rules(skeleton.num_joints)]
        self.flip_index = skeleton.flip_index
        self.image_format = cfg.INPUT.FORMAT
        self.test_resize = TestResize(cfg)
        pose = cfg.INPUT.POSE
        self.side = pose.SIZE
        self.affine = {
            "scale": tuple(pose.SCALE),
            "rotate": pose.ROTATE,
            "translate": pose.TRANSLATE,
            "prob": pose.AFFINE_PROB,
            "flip_prob": 0.0 if cfg.INPUT.RANDOM_FLIP == "none" else pose.FLIP_PROB,
        }
        self.colour = {
            "brightness": pose.BRIGHTNESS,
            "contrast": pose.CONTRAST,
            "saturation": pose.SATURATION,
            "hue": pose.HUE,
        }
        self.shortest = tuple(np.atleast_1d(cfg.INPUT.MIN_SIZE_TRAIN).tolist())
        self.sampling = cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING
        self.longest = cfg.INPUT.MAX_SIZE_TRAIN
        self.crop = (cfg.INPUT.CROP.TYPE, tuple(cfg.INPUT.CROP.SIZE)) if cfg.INPUT.CROP.ENABLED else None
        mean = [float(v) for v in cfg.MODEL.PIXEL_MEAN]
        self.border = mean[::-1] if self.image_format == "RGB" else mean  # pictures are BGR until the end
        self.cutouts = list(cutouts)
        self.copy_paste = {"prob": pose.COPY_PASTE_PROB, "most": pose.COPY_PASTE_MOST}
        self.erase = {"prob": pose.ERASE_PROB}
        self.degrade = {name.lower(): prob for name, prob in pose.DEGRADE.items()}
        self.cache = ImageCache(pose.CACHE_MB if is_train else 0)
        _check_options(cfg)

    def __call__(self, record: dict, rng=None, others: Sequence[dict] = ()) -> dict:
        """Map one data set dictionary.

        Args:
            record: file_name, image_id, height, width, annotations (may be missing); not changed.
            rng: ``numpy.random.Generator`` of this sample; needed in training only.
            others: three more, for a mosaic; needs ``INPUT.POSE.SIZE``.

        Returns:
            dict with image (3, H, W) uint8 tensor in ``INPUT.FORMAT``, height and width of the original (of a mosaic:
            the canvas), file_name, image_id, and in training instances (:func:`.people.as_instances`), ignore_boxes,
            and regions where a set leaves something open (:func:`.people.region_row`).

        Raises:
            UnreadableImage: the image cannot be used.
        """
        if others:
            return self._mosaic([record, *others], rng)
        image = self.cache.read(record, self._shrink if self.is_train and self.side else None)
        height, width = record.get("height", image.shape[0]), record.get("width", image.shape[1])
        rules = self._rules(record)
        people = read_people(record, rules) if self.annotations else None
        if not self.is_train:
            transform = self.test_resize.transform(height, width)
            image = self.test_resize(image)
        elif self.side:
            image, transform = self._affine(image, height, width, rng)
        else:
            image, transform = self._shortest_edge(image, people, rng)
        placed, regions = None, []
        if people is not None:
            placed = onto_canvas(people, transform, self.flip_index)
            regions = [] if rules.plain else [region_row(rules, 0, 0, transform.height, transform.width)]
        if self.is_train:
            image, placed = self._in_front(image, placed, rng)
        return self._sample(record, image, (height, width), placed, regions)

    def _rules(self, record):
        return self.rules[record.get("set", 0)]

    def _mosaic(self, records, rng):
        canvas = np.empty((self.side, self.side, 3), np.uint8)
        placed, corners, regions = [], [], []
        for record, (x, y, height, width) in zip(records, mosaic.parts(rng, self.side)):
            rules = self._rules(record)
            image, people = self.cache.read(record, self._shrink), read_people(record, rules)
            size = record.get("height", image.shape[0]), record.get("width", image.shape[1])
            whole = aug.random_affine(rng, *size, self.side, **self.affine)
            boxes = people.boxes[~people.crowd]
            transform = mosaic.cut(rng, whole, height, width, (boxes[:, :2] + boxes[:, 2:]) / 2)
            canvas[y : y + height, x : x + width] = self._warped(image, size, transform, rng)
            placed.append(onto_canvas(people, transform, self.flip_index))
            corners.append((x, y))
            if not rules.plain:
                regions.append(region_row(rules, x, y, height, width))
        canvas, people = self._in_front(canvas, mosaic.join(placed, corners), rng)
        return self._sample(records[0], canvas, (self.side, self.side), people, regions)

    def _in_front(self, image, people, rng):
        """Pasted people and other things in front of those who are there, then worse photography."""
        image, people = random_paste(rng, image, people, self.cutouts, self.flip_index, **self.copy_paste)
        image, erased = random_erase(rng, image, people.boxes, **self.erase)
        if erased is not None:
            people = hide(people, erased)
        return random_degradation(rng, image, **self.degrade), people

    def _sample(self, record, image, size, people, regions):
        sample = {
            "image": image_to_tensor(image, self.image_format), "height": size[0], "width": size[1],
            "file_name": record["file_name"], "image_id": record.get("image_id"),
        }  # fmt: skip
        if people is not None:
            labels = people._asdict()
            ignore, extra = labels.pop("ignore"), labels.pop("extra")
            sample["instances"] = as_instances(image.shape[:2], **labels, **extra)
            sample["ignore_boxes"] = Boxes(torch.from_numpy(ignore.astype(np.float32)))
        if regions:
            sample["regions"] = torch.tensor(regions, dtype=torch.float32)
        return sample

    def _shrink(self, image):
        """Decoded pictures are kept no larger than the affine will ever show them."""
        factor = self.side * max(1.0, self.affine["scale"][1]) / max(image.shape[:2])
        if factor >= 1:
            return image
        height, width = (max(1, round(n * factor)) for n in image.shape[:2])
        return aug.resize_image(image, height, width)

    def _affine(self, image, height, width, rng):
        transform = aug.random_affine(rng, height, width, self.side, **self.affine)
        return self._warped(image, (height, width), transform, rng), transform

    def _warped(self, image, size, transform, rng):
        """A picture, perhaps kept smaller than its ``size``, in other colours and at its place."""
        image = aug.random_colour(rng, image, **self.colour)
        from_shrunk = aug.scaling(*image.shape[:2], *size)
        return aug.warp_image(image, from_shrunk.then(transform), self.border)

    def _shortest_edge(self, image, people, rng):
        transform = aug.identity(*image.shape[:2])
        if self.crop is not None:
            centres = (people.boxes[~people.crowd, :2] + people.boxes[~people.crowd, 2:]) / 2
            crop = aug.random_crop(rng, transform.height, transform.width, *self.crop, centres)
            x, y = (-crop.matrix[:2, 2]).astype(int)
            image = image[y : y + crop.height, x : x + crop.width]
            transform = transform.then(crop)
        if rng.random() < self.affine["flip_prob"]:
            image = image[:, ::-1]
            transform = transform.then(aug.flipping(transform.height, transform.width))
        if self.sampling == "range":
            shortest = int(rng.integers(self.shortest[0], self.shortest[-1] + 1))
        else:
            shortest = self.shortest[int(rng.integers(len(self.shortest)))]
        if shortest:
            size = aug.shortest_edge_size(transform.height, transform.width, shortest, self.longest)
            transform = transform.then(aug.scaling(transform.height, transform.width, *size))
            image = aug.resize_image(np.ascontiguousarray(image), *size)
        return aug.random_colour(rng, np.ascontiguousarray(image), **self.colour), transform


def _check_options(cfg):
    pose, crop = cfg.INPUT.POSE, cfg.INPUT.CROP
    checks = [
        (cfg.INPUT.FORMAT in ("BGR", "RGB"), f"INPUT.FORMAT must be BGR or RGB, not {cfg.INPUT.FORMAT!r}"),
        (cfg.INPUT.RANDOM_FLIP in ("horizontal", "none"), "INPUT.RANDOM_FLIP must be horizontal or none"),
        (pose.SIZE >= 0, "INPUT.POSE.SIZE must be 0 or a side in pixels"),
        (
            len(pose.SCALE) == 2 and 0 < pose.SCALE[0] <= pose.SCALE[1],
            "INPUT.POSE.SCALE must be [low, high] with 0 < low <= high",
        ),
        (pose.ROTATE >= 0, "INPUT.POSE.ROTATE must not be negative"),
        (pose.TRANSLATE >= 0, "INPUT.POSE.TRANSLATE must not be negative"),
        (
            all(0 <= pose[key] <= 1 for key in _SHARES) and all(0 <= v <= 1 for v in pose.DEGRADE.values()),
            f"INPUT.POSE.{', '.join(_SHARES)} and all of DEGRADE must be in [0, 1]",
        ),
        (
            not pose.MOSAIC_PROB or pose.SIZE > 0,
            "INPUT.POSE.MOSAIC_PROB needs a canvas; set INPUT.POSE.SIZE too",
        ),
        (
            all(0 <= v <= 1 for v in (pose.BRIGHTNESS, pose.CONTRAST, pose.SATURATION)) and pose.HUE >= 0,
            "INPUT.POSE.BRIGHTNESS, CONTRAST and SATURATION must be in [0, 1] and HUE not negative",
        ),
        (
            not crop.ENABLED or crop.TYPE in _CROPS,
            f"INPUT.CROP.TYPE must be one of {', '.join(_CROPS)}, not {crop.TYPE!r}",
        ),
        (
            not (crop.ENABLED and pose.SIZE),
            "INPUT.CROP.ENABLED does nothing with INPUT.POSE.SIZE, whose affine crops already; turn one of them off",
        ),
        (
            cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING in ("choice", "range"),
            f"INPUT.MIN_SIZE_TRAIN_SAMPLING must be choice or range, not {cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING!r}",
        ),
    ]
    for fine, sentence in checks:
        if not fine:
            raise ConfigError(sentence + ".")
