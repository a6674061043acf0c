"""The images of a split of a YOLO-pose data set, and where their labels are."""

import os
from collections import Counter
from typing import NamedTuple

from ...errors import DataError, counted, shown
from ...utils.near import did_you_mean
from ...utils.output_files import kind_of
from .description import Description

# What Ultralytics takes from a folder, so that both see the same images.
IMAGE_ENDINGS = (
    ".avif", ".bmp", ".dng", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp",
)  # fmt: skip


class Split(NamedTuple):
    """The images of a split, sorted."""

    images: list[str]  # paths
    whole: bool  # they are all of their folders, so that each label has an image
    repeated: list[str]  # listed more than once


def find_images(description: Description, name: str) -> Split:
    """The images of a split.

    Args:
        description: of the data set.
        name: of the split.

    Raises:
        DataError: there is no such split, or its folder, list or an image of it is missing.
    """
    entries = description.splits.get("val" if name == "validation" else name)
    if not entries:
        known = list(description.splits)
        hint = did_you_mean(name, known)
        raise DataError(
            f"{description.file} has no split {name!r}; {f'{hint} ' if hint else ''}it has "
            f"{', '.join(known) or 'none: add train and val, the folders of their images'}"
        )
    found: list[str] = []
    whole = True
    for entry in entries:
        place = _place(entry, name, description)
        if os.path.isdir(place):
            found += _of_folder(place)
        else:
            whole = False
            found += _of_list(place, description.root)
    if not found:
        raise DataError(f"{description.file}: `{name}` has no image in {', '.join(entries)}; put the images there")
    times = Counter(found)
    return Split(sorted(times), whole, sorted(path for path, number in times.items() if number > 1))


def label_file(image: str) -> str:
    """Where the labels of an image are: ``labels`` for the last folder ``images`` of its path, with the ending .txt."""
    start, folder, end = image.rpartition(f"{os.sep}images{os.sep}")
    path = f"{start}{os.sep}labels{os.sep}{end}" if folder else image
    return f"{os.path.splitext(path)[0]}.txt"


def find_labels(image: str) -> str | None:
    """The labels of an image; in a linked folder also those where the link leads, as Ultralytics has it.

    Args:
        image: its path.

    Returns:
        The path; None: there are none.
    """
    labels = label_file(image)
    if not os.path.lexists(labels):
        folder, name = os.path.split(image)
        labels = label_file(os.path.join(os.path.realpath(folder), name))
    return labels if os.path.lexists(labels) else None


def _place(entry: str, name: str, description: Description) -> str:
    """The path of an entry of the data.yaml."""
    given = os.path.expanduser(entry.replace("\\", "/"))
    places = [os.path.join(description.root, given)]
    if given.startswith("../"):  # as Roboflow writes it, which Ultralytics reads so too
        places.append(os.path.join(description.root, given[3:]))
    for place in map(os.path.abspath, places):
        if os.path.exists(place):
            return place
    raise DataError(
        f"{description.file}: `{name}` is {shown(entry, 200)}, but there is no "
        f"{' or '.join(map(os.path.abspath, places))}; put the images there, or correct `{name}` or `path`"
    )


def _of_folder(folder: str) -> list[str]:
    """Images in a folder and all below it.

    As for Ultralytics, what begins with a dot is none (macOS and notebooks leave copies of that name). A link to a
    folder that was looked at already is not followed: it may lead round in a circle.
    """
    found: list[str] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images = (name for name in names if name.lower().endswith(IMAGE_ENDINGS) and not name.startswith("."))
        found += [os.path.join(place, name) for name in images]
    return found


def _of_list(path: str, root: str) -> list[str]:
    """Images that a text file lists, one a line; relative ones lie beside it, or below the root."""
    found = []
    for number, line in enumerate(read_lines(path), start=1):
        name = line.strip().replace("\\", "/")
        if not name:
            continue
        places = [os.path.abspath(os.path.join(base, name)) for base in (os.path.dirname(path), root)]
        image = next((place for place in places if os.path.isfile(place)), None)
        if image is None:
            raise DataError(
                f"{path}, line {number}: there is no image {places[0]}; put it there, or take the line out of the list"
            )
        found.append(image)
    return found


def read_lines(path: str) -> list[str]:
    """The lines of a text file, with any line ends, with a byte order mark or without.

    Raises:
        DataError: it cannot be read, or is no text.
    """
    if kind := kind_of(path):
        raise DataError(f"{path} is {kind}, not a file of text; check the path")
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 (byte {error.start}); write it again") from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def lonely_labels(images: list[str]) -> list[str]:
    """Label files beside those of some images, that have no image themselves.

    Args:
        images: all of their folders.
    """
    wanted = {label_file(image) for image in images}
    folders = {os.path.dirname(path) for path in wanted} - {os.path.dirname(image) for image in images}
    return sorted(
        os.path.join(folder, name)
        for folder in folders
        if os.path.isdir(folder)
        for name in os.listdir(folder)
        if name.endswith(".txt") and name != "classes.txt" and os.path.join(folder, name) not in wanted
    )


def listed(paths: list[str], noun: str) -> str:
    """A number of files with the first of them, for the log."""
    return f"{counted(len(paths), noun)} ({', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''})"
