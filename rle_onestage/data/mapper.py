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
- people without labelled joints stay as boxes.

Keypoints come with Detectron2's +0.5 already (:mod:`.coco_json`) and are not shifted here.
"""

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.structures import Boxes, BoxMode, Instances, Keypoints

from ..errors import ConfigError
from ..skeleton import Skeleton
from . import augmentation as aug
from . import mosaic
from .coco_json import AREA_OF_BOX
from .images import ImageCache

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
        skeleton: the joints of the data set.
        annotations: whether test samples carry ``instances`` too, in the pixels of the resized picture.

    Raises:
        ConfigError: an augmentation option is out of its range.
    """

    def __init__(self, cfg, is_train: bool, *, skeleton: Skeleton, annotations: bool = False):
        self.is_train = is_train
        self.annotations = is_train or annotations
        self.num_joints = skeleton.num_joints
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
            the canvas), file_name, image_id, and in training instances (gt_boxes, gt_classes (M,), gt_keypoints (M, K,
            3), gt_area (M,)) and ignore_boxes.

        Raises:
            UnreadableImage: the image cannot be used.
        """
        if others:
            return self._mosaic([record, *others], rng)
        image = self.cache.read(record, self._shrink if self.is_train and self.side else None)
        height, width = record.get("height", image.shape[0]), record.get("width", image.shape[1])
        people = _people(record, self.num_joints) if self.annotations else None
        if not self.is_train:
            transform = self.test_resize.transform(height, width)
            image = self.test_resize(image)
        elif self.side:
            image, transform = self._affine(image, height, width, rng)
        else:
            image, transform = self._shortest_edge(image, people, rng)
        sample = {
            "image": image_to_tensor(image, self.image_format),
            "height": height,
            "width": width,
            "file_name": record["file_name"],
            "image_id": record.get("image_id"),
        }
        if people is not None:
            sample["instances"], sample["ignore_boxes"] = self._targets(people, transform)
        return sample

    def _mosaic(self, records, rng):
        canvas = np.empty((self.side, self.side, 3), np.uint8)
        labels, corners = [], []
        for record, (x, y, height, width) in zip(records, mosaic.parts(rng, self.side)):
            image, people = self.cache.read(record, self._shrink), _people(record, self.num_joints)
            size = record.get("height", image.shape[0]), record.get("width", image.shape[1])
            whole = aug.random_affine(rng, *size, self.side, **self.affine)
            boxes = people.boxes[~people.crowd]
            transform = mosaic.cut(rng, whole, height, width, (boxes[:, :2] + boxes[:, 2:]) / 2)
            canvas[y : y + height, x : x + width] = self._warped(image, size, transform, rng)
            labels.append(self._targets(people, transform))
            corners.append((x, y))
        instances, ignore = mosaic.join(labels, corners, self.side)
        return {
            "image": image_to_tensor(canvas, self.image_format), "height": self.side, "width": self.side,
            "file_name": records[0]["file_name"], "image_id": records[0].get("image_id"), "instances": instances,
            "ignore_boxes": ignore,
        }  # fmt: skip

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

    def _targets(self, people, transform):
        size = (transform.height, transform.width)
        boxes = aug.transform_boxes(people.boxes, transform, people.keypoints)
        boxes, share = aug.clip_boxes(boxes, *size)
        area = people.area * transform.area_scale * share
        sides = boxes[:, 2:] - boxes[:, :2]
        enough = (share >= aug.MIN_VISIBLE_SHARE) & (sides.min(1) >= aug.MIN_BOX_SIDE) & (area > 0)
        keep = enough & ~people.crowd
        ignore = ~keep & (sides.min(1) > 0)
        keypoints = aug.transform_keypoints(people.keypoints[keep], transform, self.flip_index)
        arrays = (v.astype(np.float32) for v in (keypoints, area[keep]))
        instances = as_instances(size, boxes[keep].astype(np.float32), people.classes[keep], *arrays)
        return instances, Boxes(torch.from_numpy(boxes[ignore].astype(np.float32)))


def as_instances(size, boxes, classes, keypoints, area) -> Instances:
    """Labels as Detectron2 wants them.

    Args:
        size: height and width of the picture.
        boxes: (M, 4) float32 array.
        classes: (M,) int64 array.
        keypoints: (M, K, 3) float32 array.
        area: (M,) float32 array.
    """
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.from_numpy(boxes))
    instances.gt_classes = torch.from_numpy(classes)
    instances.gt_keypoints = Keypoints(torch.from_numpy(keypoints))
    instances.gt_area = torch.from_numpy(area)
    return instances


class _People:
    """The annotations of one image as arrays: boxes (M, 4), keypoints (M, K, 3), area, classes, crowd (M,)."""

    def __init__(self, boxes, keypoints, area, classes, crowd):
        self.boxes, self.keypoints, self.area, self.classes, self.crowd = boxes, keypoints, area, classes, crowd


def _people(record, num_joints):
    annotations = record.get("annotations") or ()
    number = len(annotations)
    boxes = np.zeros((number, 4))
    keypoints = np.zeros((number, num_joints, 3))
    area = np.zeros(number)
    for i, annotation in enumerate(annotations):
        x0, y0, x1, y1 = annotation["bbox"]
        if annotation["bbox_mode"] == BoxMode.XYWH_ABS:
            x1, y1 = x0 + x1, y0 + y1
        boxes[i] = x0, y0, x1, y1
        if annotation.get("keypoints") is not None:
            keypoints[i] = np.asarray(annotation["keypoints"], np.float64).reshape(num_joints, 3)
        # Detectron2's own loader keeps no area.
        area[i] = annotation.get("area", AREA_OF_BOX * (x1 - x0) * (y1 - y0))
    classes = np.array([a["category_id"] for a in annotations], np.int64)
    crowd = np.array([bool(a.get("iscrowd", 0)) for a in annotations], bool)
    return _People(boxes, keypoints, area, classes, crowd)


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
            all(0 <= v <= 1 for v in (pose.FLIP_PROB, pose.AFFINE_PROB, pose.MOSAIC_PROB, pose.MOSAIC_OFF)),
            "INPUT.POSE.FLIP_PROB, AFFINE_PROB, MOSAIC_PROB and MOSAIC_OFF must be in [0, 1]",
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
