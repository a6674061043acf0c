"""Images of like size together, and their people in the order of the images."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from detectron2.structures import Instances

from ..demo.left_out import reason_to_leave_out
from ..errors import PoseError
from ..evaluation.people_parquet import Row
from .reading import Item

# Of decoded images that wait: with 3 bytes a pixel, 200 MB.
MOST_PIXELS = 2**26
_BATCHES = 4  # that a window of images is cut into


def windows(items: Iterable[Item], batch: int) -> Iterator[list[Item]]:
    """Yield some batches' worth of items, fewer where their images are large.

    Args:
        items: in order.
        batch: images that the model gets at once.
    """
    window: list[Item] = []
    pixels = 0
    for item in items:
        window.append(item)
        pixels += 0 if item.image is None else item.image.shape[0] * item.image.shape[1]
        if len(window) == _BATCHES * batch or pixels >= MOST_PIXELS:
            yield window
            window, pixels = [], 0
    if window:
        yield window


def rows_of(window: list[Item], predictor: Any, batch: int, min_score: float) -> list[Row]:
    """The rows of some items, in their order.

    Args:
        window: the items.
        predictor: with ``batch(images)``.
        batch: images that the model gets at once: only those that it sees in one size, so that none is padded for
            another's sake.
        min_score: of the people that are kept.

    Raises:
        PoseError: what is wrong is not an image's.
    """
    rows = [_begun(item) for item in window]
    groups: dict[tuple[int, int], list[int]] = {}
    for place, item in enumerate(window):
        if item.image is not None:
            groups.setdefault(_size_seen(predictor, item), []).append(place)
    for places in groups.values():
        for start in range(0, len(places), batch):
            part = places[start : start + batch]
            for place, found in zip(part, _predict(predictor, [window[place].image for place in part])):
                image = window[place].image
                size = (int(image.shape[0]), int(image.shape[1])) if image is not None else None
                if isinstance(found, str):
                    rows[place] = rows[place]._replace(size=size, error=found)
                else:
                    rows[place] = rows[place]._replace(size=size, people=found[found.scores >= min_score])
    return rows


def _begun(item: Item) -> Row:
    """The row of an item, without its people; names need not be text, but all that reads Parquet wants text."""
    error = None if item.error is None else _text(item.error)
    return Row(_text(item.path), item.place, item.time, error=error, away=item.away)


def _text(name: str) -> str:
    """A name as text, whose bytes that are none are written out."""
    return name.encode("utf-8", "backslashreplace").decode()


def _size_seen(predictor: Any, item: Item) -> tuple[int, int]:
    """The size of an image as the model gets it, with what its network pads it to."""
    height, width = item.image.shape[:2] if item.image is not None else (0, 0)
    resize: Any = getattr(predictor, "resize", None)
    if resize is None:
        return height, width
    seen = resize.transform(height, width)
    multiple = max(1, getattr(getattr(predictor.model, "backbone", None), "size_divisibility", 1))
    return -(-seen.height // multiple) * multiple, -(-seen.width // multiple) * multiple


def _predict(predictor: Any, images: list[Any]) -> list[Instances | str]:
    """The people of each image, or why there are none: one that fails costs itself alone."""
    call: Callable[[list[Any]], list[Instances]] = predictor.batch
    try:
        return list(call(images))
    except PoseError:
        raise
    except Exception as error:
        if len(images) == 1:
            return [reason_to_leave_out(error)]
    return [found for image in images for found in _predict(predictor, [image])]
