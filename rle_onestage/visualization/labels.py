"""Labels drawn on their images: as the training loader gives them, or as the annotation files say."""

import itertools
import logging
import os
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, BoxMode, Instances

from ..data import build_train_loader, load_dataset, model_skeleton, own_skeleton, read_image
from ..errors import DataError, MediaError
from ..structures.skeleton import Skeleton
from .pages import contact_sheet
from .people import draw_people

logger = logging.getLogger(__name__)
PAGE = "page.png"
PAGE_COLUMNS, PAGE_SIZE = 4, 24
_SEARCHED = 100  # images looked at for each with people that is drawn: the loader's have no end
_UNREADABLE = 10  # if the first images, as many as this, cannot be read, the folder is probably the wrong one
_SHORTEST = 480  # pixels of the longer side; smaller images are enlarged


class LabelledImage(NamedTuple):
    """An image with its labels.

    Attributes:
        name: of the file.
        image: (H, W, 3) uint8 BGR.
        boxes: (M, 4) x0, y0, x1, y1 of people, in pixels.
        keypoints: (M, K, 3) x, y in pixels, and visibility.
        ignored: (I, 4) boxes that training ignores.
        skeleton: of the joints.
    """

    name: str
    image: np.ndarray
    boxes: np.ndarray
    keypoints: np.ndarray
    ignored: np.ndarray
    skeleton: Skeleton


def draw_dataset(
    cfg: CfgNode, folder: str, *, augmented: bool, number: int, with_people: bool = False
) -> tuple[int, bool]:
    """Draw labels of ``DATASETS.TRAIN``: an image a file, and a page of the first of them.

    Args:
        cfg: the config.
        folder: to write to.
        augmented: what the loader gives in a training; else what the annotation files say.
        number: how many images.
        with_people: leave out images on which nobody is labelled.

    Returns:
        How many images were drawn, the files may have fewer; and whether they have more.

    Raises:
        ConfigError: the config names no data set.
        DataError: a data set cannot be read.
        MediaError: an image cannot be written.
    """
    source = iter(loaded_labels(cfg) if augmented else filed_labels(cfg))
    if with_people:
        source = (labelled for labelled in itertools.islice(source, _SEARCHED * number) if len(labelled.boxes))
    page: list[tuple[np.ndarray, str]] = []
    count = 0
    for count, labelled in zip(range(1, number + 1), source):
        drawn = draw_labels(labelled)
        stem = os.path.splitext(os.path.basename(labelled.name))[0]
        write_image(os.path.join(folder, f"{count - 1:04d}_{stem}.jpg"), drawn)
        page += [(drawn, stem)] if count <= PAGE_SIZE else []
    if page:
        images, captions = zip(*page)
        sheet = contact_sheet(list(images), PAGE_COLUMNS, captions=list(captions), tile=(360, 360))
        write_image(os.path.join(folder, PAGE), sheet)
    return count, next(source, None) is not None


def to_draw(boxes: np.ndarray, keypoints: np.ndarray, size: tuple[int, int]) -> Instances:
    """Labels in the fields that ``draw_people`` knows: visible joints are certain, hidden ones are not.

    Args:
        boxes: (M, 4) x0, y0, x1, y1 in pixels.
        keypoints: (M, K, 3) x, y in pixels, and visibility.
        size: height and width of the image.
    """
    people = Instances(size)
    points = torch.as_tensor(keypoints, dtype=torch.float64).clone()
    people.pred_keypoint_presence = (points[..., 2] > 0).double()
    points[..., 2] = (points[..., 2] > 1).double()
    people.pred_keypoints = points
    people.pred_boxes = Boxes(torch.as_tensor(boxes))
    people.scores = torch.ones(len(points))
    return people


def loaded_labels(cfg: CfgNode) -> Iterator[LabelledImage]:
    """What the loader gives in a training, without end."""
    skeleton = model_skeleton(cfg)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASETS.TEST = ()  # a training looks at its test sets first, whose faults say nothing of what is drawn
    for batch in build_train_loader(cfg):
        for sample in batch:
            image = sample["image"].numpy().transpose(1, 2, 0)
            image = np.ascontiguousarray(image[:, :, ::-1] if cfg.INPUT.FORMAT == "RGB" else image)
            people = sample["instances"]
            boxes, keypoints = people.gt_boxes.tensor, people.gt_keypoints.tensor
            ignored = sample["ignore_boxes"].tensor.numpy()
            yield LabelledImage(sample["file_name"], image, boxes.numpy(), keypoints.numpy(), ignored, skeleton)


def filed_labels(cfg: CfgNode) -> Iterator[LabelledImage]:
    """What the annotation files say, image by image. An image that cannot be read is left out, with a warning.

    Args:
        cfg: the config.

    Yields:
        The images of ``DATASETS.TRAIN`` that can be read, with their labels.

    Raises:
        DataError: a data set cannot be read, its first images cannot, or none of its images can.
    """
    read, failed = 0, list[DataError]()
    for name in cfg.DATASETS.TRAIN:
        skeleton = own_skeleton(cfg, name)
        num_joints = skeleton.num_joints
        for record in load_dataset(cfg, name, own_joints=True):
            try:
                image = read_image(record["file_name"], record["width"], record["height"])
            except DataError as error:  # one damaged image must not hide the labels of the others
                failed.append(error)
                if not read and len(failed) == _UNREADABLE:
                    raise
                logger.warning("%s This image is left out.", error)
                continue
            read += 1
            labels = record["annotations"]
            boxes = np.array([BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in labels])
            keypoints = np.array([a.get("keypoints") or [0] * 3 * num_joints for a in labels], float)
            boxes, keypoints = boxes.reshape(-1, 4), keypoints.reshape(-1, num_joints, 3)
            crowd = np.array([bool(a.get("iscrowd")) for a in labels], bool)
            yield LabelledImage(record["file_name"], image, boxes[~crowd], keypoints[~crowd], boxes[crowd], skeleton)
    if failed and not read:
        raise failed[0]


def draw_labels(labelled: LabelledImage) -> np.ndarray:
    """The labels on their image, which is enlarged if it is small: uint8 BGR."""
    scale = max(1.0, _SHORTEST / max(labelled.image.shape[:2]))
    people = to_draw(labelled.boxes, labelled.keypoints, labelled.image.shape[:2])
    canvas = draw_people(labelled.image, people, labelled.skeleton, labels=False, scale=scale)
    for boxes, colour in ((labelled.ignored, (128, 128, 128)), (labelled.boxes, (255, 255, 255))):
        for box in np.round(boxes * scale).astype(int).tolist():
            cv2.rectangle(canvas, tuple(box[:2]), tuple(box[2:]), colour, 1)
    return canvas


def write_image(path: str, image: np.ndarray) -> None:
    """Write an image under a temporary name, then rename it.

    Raises:
        MediaError: it cannot be written.
    """
    stem, suffix = os.path.splitext(path)
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if not cv2.imwrite(f"{stem}.part{suffix}", image):
            raise OSError(None, "OpenCV cannot encode it")
        os.replace(f"{stem}.part{suffix}", path)
    except (OSError, cv2.error) as error:
        raise MediaError(
            f"{path} cannot be written ({getattr(error, 'strerror', error)}); choose another --output"
        ) from error
