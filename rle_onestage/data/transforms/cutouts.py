"""People cut out of photographs along their segments, to be pasted elsewhere (:mod:`.copy_paste`)."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from detectron2.structures import BoxMode
from pycocotools import mask as coco_mask

from ...errors import DataError
from . import augmentation as aug
from .canvas import zoomed

logger = logging.getLogger(__name__)

# Pixels kept around the box, so that the edge of the person can be sampled.
_MARGIN = 3
# A segment that comes so near to the photograph's border (share of its longest side) goes on beyond it.
_BORDER = 0.012
# A joint this far outside the segment (share of the square root of its area) is not among the pixels that are pasted.
_OUTSIDE = 0.06
# A segment that is this small a share of its box, or differs from its stated area by more than this factor, is wrong.
_LEAST_OF_BOX, _AREA_FACTOR = 0.15, 1.6
# The largest connected part of a segment has at least this share: what something in front cut in two looks cut in two.
_LEAST_OF_PARTS = 0.8


class Cutout(NamedTuple):
    """One person, cut out."""

    image: np.ndarray  # (h, w, 3) uint8 BGR
    mask: np.ndarray  # (h, w) uint8, 255 on the person, 0 elsewhere; grey only on the edge of a shrunk one
    keypoints: np.ndarray  # (K, 3) x, y in the crop's pixels, visibility; joints that are not on the mask are hidden
    box: np.ndarray  # (4,) x0, y0, x1, y1 in the crop's pixels
    area: float  # of the mask, in the crop's pixels^2
    cut: np.ndarray  # (4,) bool: the person goes on beyond the left, top, right, bottom side of the box
    category: int
    extra: dict  # name -> value for one row of CanvasPeople.extra; a first axis of length K goes by joint


def cut_person(
    image: np.ndarray,
    polygons: Sequence[Sequence[float]],
    keypoints: np.ndarray,
    box: Sequence[float],
    *,
    category: int = 0,
    extra: dict | None = None,
) -> Cutout:
    """Cut one person out.

    Args:
        image: (H, W, 3) uint8 BGR.
        polygons: COCO's segment, flat lists x, y, ... in pixels; several are parts of one person.
        keypoints: (K, 3) x, y, visibility, from the corner of the first pixel.
        box: x0, y0, x1, y1. Where the segment reaches further, so does the cutout's box.
        category: class.
        extra: see :class:`Cutout`.

    Returns:
        The cutout, with pixels and joints of its own; its area is 0 if the polygons enclose nothing.
    """
    height, width = image.shape[:2]
    points = np.concatenate([np.zeros((0, 2)), *(np.reshape(p, (-1, 2)) for p in polygons if _is_polygon(p))])
    low, high = np.asarray(box[:2], float), np.asarray(box[2:], float)
    if len(points):
        low, high = np.minimum(low, points.min(0)), np.maximum(high, points.max(0))
    low, high = np.clip(low, 0, (width, height)), np.clip(high, 0, (width, height))
    near = _BORDER * max(height, width)
    cut = np.concatenate([low <= near, high >= np.array([width, height]) - near])
    x0, y0 = np.floor(low).astype(int) - _MARGIN
    x1, y1 = np.ceil(high).astype(int) + _MARGIN
    mask = _rasterise(polygons, (x0, y0), (y1 - y0, x1 - x0))
    keypoints = np.array(keypoints, float)
    keypoints[:, :2] -= (x0, y0)
    return Cutout(
        image=_crop(image, x0, y0, x1, y1),
        mask=mask,
        keypoints=_hidden_off_mask(keypoints, mask),
        box=np.concatenate([low, high]) - [x0, y0, x0, y0],
        area=float(np.count_nonzero(mask)),
        cut=cut,
        category=category,
        extra=extra or {},
    )


def _is_polygon(polygon: Sequence[float]) -> bool:
    return len(polygon) >= 6 and len(polygon) % 2 == 0


def _rasterise(polygons: Sequence[Sequence[float]], corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """(h, w) uint8 of 0 and 255, as COCO rasterises, of the window whose first pixel is ``corner``."""
    moved = [(np.reshape(p, (-1, 2)) - corner).ravel().tolist() for p in polygons if _is_polygon(p)]
    if not moved:
        return np.zeros(size, np.uint8)
    height, width = (int(v) for v in size)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(moved, height, width))) * np.uint8(255)


def _crop(image: np.ndarray, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """A window of an image, its last pixels repeated where it reaches beyond."""
    height, width = image.shape[:2]
    inner = image[max(y0, 0) : min(y1, height), max(x0, 0) : min(x1, width)]
    top, bottom, left, right = (int(max(v, 0)) for v in (-y0, y1 - height, -x0, x1 - width))
    return cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_REPLICATE)


def _hidden_off_mask(keypoints: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Labelled joints that are not on the person's pixels were hidden by something, or by nothing that is pasted."""
    reach = max(1, round(_OUTSIDE * np.sqrt(np.count_nonzero(mask))))
    near = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    height, width = mask.shape
    place = np.floor(keypoints[:, :2]).astype(int)
    inside = (place >= 0).all(1) & (place < (width, height)).all(1)
    on = inside & (near[place[:, 1].clip(0, height - 1), place[:, 0].clip(0, width - 1)] > 0)
    keypoints[:, 2] = np.where(on, keypoints[:, 2], np.minimum(keypoints[:, 2], 1))
    return keypoints


def load_cutouts(
    records: Iterable[dict],
    read_image: Callable,
    num_joints: int,
    *,
    min_joints: int = 6,
    min_side: float = 48.0,
    max_side: float = 480.0,
    legs: Sequence[int] = (),
    most: int = 2000,
    extra_of: Callable[[dict, dict], dict] | None = None,
) -> list[Cutout]:
    """The people of a data set that are worth pasting, as crops of their own.

    Left out are crowds, people without polygons, with few visible joints, small ones, segments that cannot be right or
    are in pieces, and those that reach from one border of the photograph to the opposite one.

    Args:
        records: data set dictionaries; ``segmentation`` of an annotation is a list of polygons, else it is not used.
        read_image: function of (file name, width, height) that gives (H, W, 3) uint8 BGR, such as
            :func:`.images.read_image`.
        num_joints: K.
        min_joints: visible joints on the segment.
        min_side: pixels of the longest side of the box.
        max_side: to this the longest side is shrunk, which bounds the memory.
        legs: joints below the hips. A person with none of them visible is taken as cut off below, whether by the
            photograph or by a table, and is laid on the lower border. Empty: only the photograph cuts.
        most: people who are cut out at most, the same ones each time; about 0.15 MB each.
        extra_of: function of (record, annotation) that gives :attr:`Cutout.extra`.

    Returns:
        list of cutouts, in the order of the records.

    Raises:
        DataError: a ``segmentation`` is a list, but not of polygons.
    """
    cutouts: list[Cutout] = []
    for record, annotations in _candidates(records, num_joints, min_joints, min_side, most):
        if len(cutouts) >= most:
            break
        try:
            image = read_image(record["file_name"], record.get("width"), record.get("height"))
        except DataError as error:  # it is counted, named and limited where it is trained on
            logger.warning("Nobody is cut out of %s: %s", record["file_name"], error)
            continue
        for annotation in annotations:
            box = BoxMode.convert(list(annotation["bbox"]), annotation["bbox_mode"], BoxMode.XYXY_ABS)
            keypoints = np.reshape(annotation["keypoints"], (num_joints, 3))
            extra = extra_of(record, annotation) if extra_of else None
            category = annotation.get("category_id", 0)
            cutout = cut_person(image, annotation["segmentation"], keypoints, box, category=category, extra=extra)
            if _is_good(cutout, annotation.get("area"), min_joints):
                cutouts.append(_shrunk(_cut_below(cutout, legs), max_side))
    return cutouts


def _candidates(
    records: Iterable[dict], num_joints: int, min_joints: int, min_side: float, most: int
) -> list[tuple[dict, list[dict]]]:
    """(record, annotations worth cutting out) of each photograph that has any, their polygons checked."""
    chosen: list[tuple[dict, list[dict]]] = []
    for record in records:
        annotations = record.get("annotations") or ()
        annotations = [a for a in annotations if _may_be_cut(a, num_joints, min_joints, min_side)]
        for annotation in annotations:
            _check_polygons(record, annotation)
        chosen += [(record, annotations)] if annotations else []
    if sum(len(annotations) for _, annotations in chosen) > most:  # those of the first photographs in a random order
        chosen = [chosen[i] for i in np.random.default_rng(0).permutation(len(chosen))]
    return chosen


def _may_be_cut(annotation: dict, num_joints: int, min_joints: int, min_side: float) -> bool:
    segment, keypoints = annotation.get("segmentation"), annotation.get("keypoints")
    if annotation.get("iscrowd") or not isinstance(segment, list) or not segment or not keypoints:
        return False
    enough = len(keypoints) == 3 * num_joints and sum(v > 1 for v in keypoints[2::3]) >= min_joints
    x0, y0, x1, y1 = BoxMode.convert(list(annotation["bbox"]), annotation["bbox_mode"], BoxMode.XYXY_ABS)
    return enough and max(x1 - x0, y1 - y0) >= min_side


def _check_polygons(record: dict, annotation: dict) -> None:
    try:
        sound = all(np.isfinite(np.reshape(p, (-1, 2)).astype(float)).all() for p in annotation["segmentation"])
    except (TypeError, ValueError):
        sound = False
    if not sound or any(np.ndim(p) != 1 for p in annotation["segmentation"]):
        raise DataError(
            f"annotation {annotation.get('id')} of image {record['file_name']} has a `segmentation` that is not a list "
            "of polygons [x, y, x, y, ...]; correct it or remove the key."
        )


def _is_good(cutout: Cutout, stated_area: float | None, min_joints: int) -> bool:
    left, top, right, bottom = cutout.cut
    sides = cutout.box[2:] - cutout.box[:2]
    stated_area = stated_area or cutout.area
    return bool(
        np.count_nonzero(cutout.keypoints[:, 2] > 1) >= min_joints
        and cutout.area >= _LEAST_OF_BOX * sides.prod()
        and _largest_part(cutout.mask) >= _LEAST_OF_PARTS * cutout.area
        and stated_area / _AREA_FACTOR <= cutout.area <= stated_area * _AREA_FACTOR
        and not (left and right)
        and not (top and bottom)
    )


def _largest_part(mask: np.ndarray) -> int:
    """Pixels of the largest connected part."""
    return int(cv2.connectedComponentsWithStats(mask)[2][1:, cv2.CC_STAT_AREA].max(initial=0))


def _cut_below(cutout: Cutout, legs: Sequence[int]) -> Cutout:
    if not len(legs) or (cutout.keypoints[list(legs), 2] > 1).any() or cutout.cut[1]:
        return cutout
    return cutout._replace(cut=cutout.cut | [False, False, False, True])


def _shrunk(cutout: Cutout, max_side: float) -> Cutout:
    """The cutout with a box of at most ``max_side`` pixels."""
    factor = max_side / (cutout.box[2:] - cutout.box[:2]).max()
    if factor >= 1:
        return cutout
    height, width = cutout.mask.shape
    small = aug.scaling(height, width, max(1, round(height * factor)), max(1, round(width * factor)))
    x, y = small.matrix[0, 0], small.matrix[1, 1]
    return cutout._replace(
        image=aug.resize_image(cutout.image, small.height, small.width),
        mask=aug.resize_image(cutout.mask, small.height, small.width),
        keypoints=cutout.keypoints * [x, y, 1],
        box=cutout.box * [x, y, x, y],
        area=cutout.area * x * y,
        extra=zoomed(cutout.extra, (x * y) ** 0.5),
    )
