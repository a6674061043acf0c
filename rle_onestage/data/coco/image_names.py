"""Images whose ``file_name`` is not their place below the image folder, as exports of labelling tools have it.

Label Studio writes ``images/3f2a1b4c-dog.jpg`` beside a folder ``images``, ``/data/upload/4/...``,
``..\\..\\media\\upload\\...`` or ``/data/local-files/?d=folder/dog%201.jpg``.
"""

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from ...utils.shards import split_member


def found_elsewhere(names: Mapping[Any, str], image_root: str) -> dict[Any, str]:
    """Images that are not where their name says, and are found by the end of it.

    Args:
        names: id -> ``file_name``.
        image_root: the folder of images.

    Returns:
        id -> the name below ``image_root``; without those that would share a file with another image.
    """
    found = {}
    for image_id, name in names.items():
        if split_member(name):
            continue
        if any(sign in name for sign in "/\\%") and not os.path.exists(os.path.join(image_root, name)):
            other = _by_its_end(name, image_root)
            if other is not None:
                found[image_id] = other
    taken = Counter(found.get(image_id, name) for image_id, name in names.items()) if found else Counter()
    return {image_id: name for image_id, name in found.items() if taken[name] == 1}


def _by_its_end(name: str, image_root: str) -> str | None:
    """The longest end of a name that is a file below a folder."""
    plain = unquote(name.rpartition("?d=")[2]).replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".", "..") and "\0" not in part]
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if os.path.isfile(os.path.join(image_root, end))), None)
