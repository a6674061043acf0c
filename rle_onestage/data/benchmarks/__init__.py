"""JSON files of benchmarks that are not in COCO's format, in its form, which the one reader then checks as any file."""

from collections.abc import Callable
from typing import Any

from .h36m import PARTS, h36m_as_coco
from .mpii import mpii_as_coco
from .wholebody import wholebody_as_coco

_READERS = {"mpii": mpii_as_coco, "wholebody": wholebody_as_coco}


def as_coco(layout: str, data: Any, source: str, load: Callable[[str, str], Any]) -> dict[str, Any]:
    """The content of a file in COCO's form.

    Args:
        layout: one of :data:`rle_onestage.utils.label_address.LAYOUTS`.
        data: the parsed file; may be changed.
        source: its path, for messages and for files beside it.
        load: reads another JSON file, by its path and its name in messages.

    Raises:
        DataError: the file has another layout; the sentence names it and the remedy.
    """
    if layout in PARTS:
        return h36m_as_coco(layout, data, source, load)
    return _READERS[layout](data, source)
