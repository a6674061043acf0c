"""Images that stand in several sets, found by what they show.

Each image has a hash of 64 bits that says where it gets brighter from left to right (dhash), and one as in a mirror.
Images of few differing bits are looked at again: the correlation of their grey values tells copies (after another
compression or size) from images that merely have the same layout.
"""

import os
from collections import defaultdict
from typing import NamedTuple

import cv2
import numpy as np

from rle_onestage.utils.images import UnreadableImage, read_image
from rle_onestage.video.io import find_images

BITS = 6  # a pair differs in so many at most
SAME = 0.9  # correlation of copies
_SMALL = 32  # side of the grey copies that are correlated, pixels
_BLOCK = 1024  # images that are compared with all others at once


class Images(NamedTuple):
    """N images of several sets."""

    sets: list[str]  # (N,) the set of each
    paths: list[str]  # (N,)
    hashes: np.ndarray  # (N, 2) uint64, as it is and mirrored
    small: np.ndarray  # (N, 32, 32) uint8


class Pair(NamedTuple):
    """Two images that look the same."""

    first: int  # places in Images
    second: int
    bits: int  # that differ
    mirrored: bool
    correlation: float  # of the grey values, in [-1, 1]


def dhash(grey: np.ndarray) -> int:
    """64 bits, whether each of 8 x 8 places is brighter than its left neighbour.

    Args:
        grey: (H, W) uint8.
    """
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(int)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def read_images(folders: dict[str, str]) -> tuple[Images, list[str]]:
    """Read all images of some folders.

    Args:
        folders: set -> folder; its images are those directly in it.

    Returns:
        (the images, sentences about those that cannot be read).

    Raises:
        MediaError: a folder is not there or has no images.
    """
    sets, paths, hashes, small, unread = [], [], [], [], []
    for name, folder in folders.items():
        for path in find_images([folder]):
            try:
                grey = cv2.cvtColor(read_image(path), cv2.COLOR_BGR2GRAY)
            except UnreadableImage as error:
                unread.append(str(error))
                continue
            sets.append(name)
            paths.append(path)
            hashes.append((dhash(grey), dhash(np.ascontiguousarray(grey[:, ::-1]))))
            small.append(cv2.resize(grey, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA))
    array = np.array(hashes, dtype=np.uint64).reshape(-1, 2)
    return Images(sets, paths, array, np.array(small, dtype=np.uint8).reshape(-1, _SMALL, _SMALL)), unread


def find_pairs(images: Images, *, bits: int = BITS, within: bool = False) -> list[Pair]:
    """All pairs of images that differ in few bits, most alike first.

    Args:
        images: from :func:`read_images`.
        bits: that may differ, at most.
        within: also pairs of the same set.
    """
    _, group = np.unique(images.sets, return_inverse=True)
    pairs = []
    for start in range(0, len(group), _BLOCK):
        block = slice(start, start + _BLOCK)
        own = images.hashes[block, 0][:, None]
        both = np.stack([_different(own, images.hashes[None, :, m]) for m in (0, 1)])  # as it is, mirrored
        near = both.min(0) <= bits
        near &= np.arange(len(group)) > np.arange(len(group))[block, None]
        if not within:
            near &= group != group[block, None]
        for i, j in zip(*np.nonzero(near)):
            mirrored = bool(both[1, i, j] < both[0, i, j])
            second = images.small[j][:, ::-1] if mirrored else images.small[j]
            alike = correlation(images.small[start + i], second)
            pairs.append(Pair(start + int(i), int(j), int(both[:, i, j].min()), mirrored, alike))
    return sorted(pairs, key=lambda pair: -pair.correlation)


def _different(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    bits = np.unpackbits((first ^ second)[..., None].view(np.uint8), axis=-1)
    return bits.sum(-1, dtype=np.uint8)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's, of the values of two arrays; 0 where one is of one grey."""
    a, b = (x.astype(float).ravel() - x.mean() for x in (first, second))
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else 0.0


def same_names(folders: dict[str, str]) -> dict[str, list[str]]:
    """Names without ending that stand in several sets, as COCO's ids do: name -> sets."""
    found = defaultdict(list)
    for name, folder in folders.items():
        for path in find_images([folder]):
            found[os.path.splitext(os.path.basename(path))[0]].append(name)
    return {name: sets for name, sets in sorted(found.items()) if len(sets) > 1}
