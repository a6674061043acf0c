"""JSON files of benchmarks that are not in COCO's format, in its form, which the one reader then checks as any file."""

from typing import Any

from .mpii import mpii_as_coco
from .wholebody import wholebody_as_coco

_READERS = {"mpii": mpii_as_coco, "wholebody": wholebody_as_coco}


def as_coco(layout: str, data: Any, source: str) -> dict[str, Any]:
    """The content of a file in COCO's form.

    Args:
        layout: one of :data:`rle_onestage.utils.label_address.LAYOUTS`.
        data: the parsed file; may be changed.
        source: what to call it in messages.

    Raises:
        DataError: the file has another layout; the sentence names it and the remedy.
    """
    return _READERS[layout](data, source)
