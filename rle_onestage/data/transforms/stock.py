"""Detectron2's augmentations on a canvas: joints, boxes, areas and regions follow whatever their transforms do.

What a transform does to a person is seen by where it puts points: a ring of points on the ellipse that the box encloses
gives the new box, by how much the area grows, and whether left and right swap. So every kind works that moves points
(``apply_coords``), one of a user's own too.
"""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np
from detectron2.data import transforms as T
from fvcore.common.registry import Registry

from ...errors import ConfigError, DataError, called, naming_own_code, shown
from ...utils.named_options import check_options
from ...utils.near import did_you_mean
from ..randomness import drawn_from
from .canvas import CanvasPeople, clip_people, swap_sides, zoomed

AUGMENTATION_REGISTRY = Registry("AUGMENTATION")
"""Augmentations that ``INPUT.AUGMENTATIONS`` can name, beside those of ``detectron2.data.transforms``.

A class of the kind ``detectron2.data.transforms.Augmentation``, under its own name::

    @AUGMENTATION_REGISTRY.register()
    class Fog(T.Augmentation):
        def __init__(self, strength): ...
        def get_transform(self, image): ...
"""

_CALLED = "_of_the_config"  # an attribute of those that are made here: which entry of the config it is, for messages

# Points on the ellipse of a box. A turned box is too small by at most 0.12 %; one that is not turned is exact.
_RING = np.linspace(0, 2 * np.pi, 64, endpoint=False)
_RING = np.stack([np.cos(_RING), np.sin(_RING)], axis=1)


def augmentation_entries(value: Any) -> list:
    """Check ``INPUT.AUGMENTATIONS``: its form, the names, and the names of the options.

    Raises:
        ConfigError: it is not a list of names and of [name, {option: value}], a name is not known, or an augmentation
            does not take an option, or needs one that is not given.
    """
    if isinstance(value, (list, tuple)) and [type(part) for part in value] == [str, dict]:
        raise ConfigError(
            f"INPUT.AUGMENTATIONS is {shown(value)}; put an augmentation and its options into a list of their own, as "
            "in [[RandomRotation, {angle: [-10, 10]}]]"
        )
    for entry in value if isinstance(value, (list, tuple)) else [value]:
        name, options = (entry, {}) if isinstance(entry, str) else _pair(entry)
        if (
            not isinstance(name, str)
            or not isinstance(options, Mapping)
            or not all(isinstance(k, str) for k in options)
        ):
            raise ConfigError(
                f"INPUT.AUGMENTATIONS has {shown(entry)}; give a list of names, or of [name, {{option: value}}] such "
                "as [RandomRotation, {angle: [-10, 10]}]"
            )
        check_options("INPUT.AUGMENTATIONS", name, signature(_augmentation_class(name)).parameters.values(), options)
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"INPUT.AUGMENTATIONS is {shown(value)}; give a list, such as [{shown(value)}]")
    return list(value)


def _pair(entry: Any) -> tuple[Any, Any]:
    return tuple(entry) if isinstance(entry, (list, tuple)) and len(entry) == 2 else (None, None)


def augmentation_names() -> list[str]:
    """The names that ``INPUT.AUGMENTATIONS`` can have now: those of :data:`AUGMENTATION_REGISTRY`, and Detectron2's."""
    by_config = _stock().keys() - {"AugmentationList", "RandomApply"}  # which take other augmentations, made already
    return list(dict.fromkeys([*(name for name, _ in AUGMENTATION_REGISTRY), *sorted(by_config)]))


def build_augmentations(entries: Sequence) -> list[T.Augmentation]:
    """Make what ``INPUT.AUGMENTATIONS`` lists.

    Args:
        entries: names, or [name, {option: value}], of augmentations of Detectron2 or of :data:`AUGMENTATION_REGISTRY`.

    Raises:
        ConfigError: see :func:`augmentation_entries`; or an augmentation does not take the values of its options.
    """
    made = []
    for entry in augmentation_entries(entries):
        name, options = (entry, {}) if isinstance(entry, str) else entry
        kind = _augmentation_class(name)
        try:
            made.append(kind(**options))
        except (TypeError, ValueError, AssertionError) as error:
            raise ConfigError(
                f"INPUT.AUGMENTATIONS: {name} cannot be made with {shown(dict(options))} ({error}); correct them."
            ) from error
        setattr(made[-1], _CALLED, called(name, options, f"number {len(made)} of INPUT.AUGMENTATIONS"))
        if name not in AUGMENTATION_REGISTRY:
            _try_out(made[-1], name, options)
    return made


def _try_out(made: T.Augmentation, name: str, options: Mapping[str, Any]) -> None:
    """Raises ConfigError where one of Detectron2's fails on a small image: many take any value until they are used."""
    blank = T.AugInput(np.full((64, 64, 3), 128, np.uint8), boxes=np.array([[8, 8, 56, 56]], np.float32))
    try:
        with drawn_from(np.random.default_rng(0)):
            T.AugmentationList([made])(blank)
    except Exception as error:  # of any kind, as it is not foreseen there
        reason = f"{type(error).__name__}: {shown(str(error), 200)[1:-1]}"
        raise ConfigError(
            f"INPUT.AUGMENTATIONS: {name} does not work with {shown(dict(options))} ({reason}); correct its options, "
            "or leave it out"
        ) from error


def _stock() -> dict[str, type[T.Augmentation]]:
    """Detectron2's augmentations by name, without their bases."""
    kinds = {key: kind for key, kind in vars(T).items() if isinstance(kind, type) and issubclass(kind, T.Augmentation)}
    return {key: kind for key, kind in kinds.items() if key not in ("Augmentation", "TransformGen")}


def _augmentation_class(name: str) -> type[T.Augmentation]:
    if name in AUGMENTATION_REGISTRY:
        return AUGMENTATION_REGISTRY.get(name)
    stock = _stock()
    if name not in stock:
        known = augmentation_names()
        hint = did_you_mean(name, known)
        raise ConfigError(
            f"INPUT.AUGMENTATIONS names {shown(name)}; {hint}{' ' * bool(hint)}it is none of {', '.join(known)}; "
            "register your own with AUGMENTATION_REGISTRY in a module of IMPORTS"
        )
    return stock[name]


def augment(
    rng: np.random.Generator,
    image: np.ndarray,
    people: CanvasPeople,
    regions: Sequence[Sequence[float]],
    augmentations: Sequence[T.Augmentation],
    flip_index: Sequence[int],
    file_name: str = "?",
) -> tuple[np.ndarray, CanvasPeople, list[list[float]]]:
    """Apply augmentations of Detectron2 to a canvas.

    Args:
        rng: what all random choices come from.
        image: (H, W, 3) uint8 BGR; not changed.
        people: its labels; not changed. An augmentation that asks for ``boxes`` gets theirs.
        regions: rows that begin with x0, y0, x1, y1.
        augmentations: one after the other.
        flip_index: K, which joint each becomes in a mirror.

        file_name: of the image, for messages.

    Returns:
        (image, people, regions); the size of the canvas may be another one.

    Raises:
        DataError: an augmentation gives something else than an image such as it was given.
        OwnCodeError: an augmentation fails.
    """
    given = T.AugInput(image.copy(), boxes=people.boxes.astype(np.float32))
    transforms = T.TransformList([])
    with drawn_from(rng):
        for number, each in enumerate(T.AugmentationList(augmentations).augs, 1):
            what = f"augmentation {getattr(each, _CALLED, None) or f'{type(each).__name__} (number {number})'}"
            with naming_own_code(f"{what}, image {file_name}"):
                transforms += each(given)
                given.image = np.asarray(given.image)
            _check_image(given.image, what, file_name)
    image = given.image
    height, width = image.shape[:2]
    people = clip_people(_moved(people, transforms, flip_index, (width, height)), height, width)
    return np.ascontiguousarray(image), people, _moved_regions(regions, transforms, (width, height))


def _check_image(image: np.ndarray, what: str, file_name: str) -> None:
    """Raise DataError for what is no (H, W, 3) uint8 image.

    Other types are not converted: whether a dark float image is one in 0..255 or in 0..1, nobody can tell.
    """
    if image.dtype != np.uint8:
        extent = f" from {image.min():g} to {image.max():g}" if image.size and image.dtype.kind in "fiu" else ""
        raise DataError(
            f"{what} gives an image of {image.dtype}{extent} for {file_name}; let its apply_image give uint8 in "
            "0..255, as in np.rint(image).clip(0, 255).astype(np.uint8), and multiply by 255 before where it is in 0..1"
        )
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(
            f"{what} gives an image of the shape {image.shape} for {file_name}; let its apply_image give (height, "
            "width, 3), with both sides above 0"
        )


def _moved(
    people: CanvasPeople, transforms: T.Transform, flip_index: Sequence[int], size: tuple[int, int]
) -> CanvasPeople:
    """The people where the transforms put them, boxes and areas not clipped; ``size`` is width and height."""
    before = _ring(people.boxes)
    after = _points(transforms, before)
    grown = _enclosed(after) / _enclosed(before)
    keypoints = swap_sides(people.keypoints, flip_index, grown < 0)
    points = _points(transforms, keypoints[..., :2])
    labelled = keypoints[..., 2] > 0
    low, high = after.min(1), after.max(1)
    # A joint that was in its box stays in it, though the ellipse may not reach to it.
    old = keypoints[..., :2]
    held = (labelled & (old >= people.boxes[:, None, :2]).all(-1) & (old <= people.boxes[:, None, 2:]).all(-1))[
        ..., None
    ]
    low = np.minimum(low, np.where(held, points, np.inf).min(1, initial=np.inf))
    high = np.maximum(high, np.where(held, points, -np.inf).max(1, initial=-np.inf))
    inside = labelled & ((points >= 0) & (points <= size)).all(-1)
    return people._replace(
        boxes=np.concatenate([low, high], axis=1),
        keypoints=np.concatenate([points, keypoints[..., 2:]], axis=-1) * inside[..., None],
        area=people.area * np.abs(grown),
        ignore=_extents(people.ignore, transforms, size),
        extra={
            name: swap_sides(values, flip_index, grown < 0)
            for name, values in zoomed(people.extra, np.sqrt(np.abs(grown))).items()
        },
    )


def _moved_regions(
    regions: Sequence[Sequence[float]], transforms: T.Transform, size: tuple[int, int]
) -> list[list[float]]:
    corners = _extents(np.array([row[:4] for row in regions], float).reshape(-1, 4), transforms, size, keep_all=True)
    return [[*box, *row[4:]] for box, row in zip(corners.tolist(), regions)]


def _extents(boxes: np.ndarray, transforms: T.Transform, size: tuple[int, int], keep_all: bool = False) -> np.ndarray:
    """Boxes (G, 4) about where the corners of others come to, clipped; those that leave are kept if asked."""
    corners = _points(transforms, boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2))
    limits = np.array(size, float)
    moved = np.concatenate([corners.min(1).clip(0, limits), corners.max(1).clip(0, limits)], axis=1)
    return moved if keep_all else moved[(moved[:, 2:] > moved[:, :2]).all(1)]


def _ring(boxes: np.ndarray) -> np.ndarray:
    """(M, 64, 2) points on the ellipses that boxes enclose, in the order of their angle."""
    centres, halves = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    return centres[:, None] + halves[:, None] * _RING


def _enclosed(rings: np.ndarray) -> np.ndarray:
    """(M,) area within rings of points (M, n, 2), negative where they run the other way round (shoelace formula)."""
    following = np.roll(rings, -1, axis=1)
    return (rings[..., 0] * following[..., 1] - rings[..., 1] * following[..., 0]).sum(1) / 2


def _points(transforms: T.Transform, points: np.ndarray) -> np.ndarray:
    """Where points (..., 2) come to; some transforms write to what they are given."""
    return np.asarray(transforms.apply_coords(points.reshape(-1, 2).astype(np.float64)), float).reshape(points.shape)
