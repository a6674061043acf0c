"""Images: what inputs name, where outputs go, and writing them whole or not at all."""

import collections
import glob
import logging
import os
import re
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from ...errors import MediaError, counted
from ...utils.output_files import check_target, kind_of, write_bytes
from ...utils.paths import absolute
from .formats import looks_like_video

logger = logging.getLogger(__name__)

# What is written; and what a folder is searched for. Some of these need a package, which their sentence then names.
IMAGE_TYPES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
READ_TYPES = IMAGE_TYPES + (
    ".jfif", ".jpe", ".avif", ".gif", ".jp2", ".j2k", ".jpx", ".heic", ".heif", ".hif", ".jxl", ".dib", ".ppm", ".pgm",
    ".pbm", ".pnm", ".pam", ".tga", ".pcx", ".hdr",
)  # fmt: skip
# What ends a file's name; ".5" of "run-0.5" is none.
_ENDING = re.compile(r"\.[A-Za-z]\w{1,4}")
_LONGEST_SIDES = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}


def find_images(inputs: Iterable[str]) -> list[str]:
    """The image files that files, folders and globs name, in order, each once however often it is named and spelt.

    A folder means the images directly in it, by name, not hidden ones; a file is taken whatever its name ends with.

    Args:
        inputs: files, folders and globs.

    Raises:
        MediaError: something does not exist, a glob matches nothing, or a folder has no images.
    """
    found: list[str] = []
    for given in _once(inputs):
        path = os.path.expanduser(given)
        if os.path.isdir(path):
            found.extend(os.path.join(path, name) for name in sorted(images_in(path, "--input")))
        elif os.path.isfile(path):
            found.append(path)
        elif glob.has_magic(path):
            matches = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))
            if not matches:
                raise MediaError(f"no file matches {given}; check the pattern of --input")
            found.extend(matches)
        elif kind_of(path):
            raise MediaError(f"input {given} is {kind_of(path)}, not a file; give image files or folders with --input")
        else:
            raise MediaError(f"input {given} does not exist; check --input")
    return _once(found)


def _once(paths: Iterable[str]) -> list[str]:
    """Paths without repetition, as they were spelt first; an empty one names nothing."""
    found: dict[str, str] = {}
    for path in paths:
        found.setdefault(path and absolute(path), path)
    return list(found.values())


def images_in(folder: str, option: str) -> list[str]:
    """Names of the images directly in a folder; what is left out for its ending is said.

    Args:
        folder: path.
        option: the flag that it came by.

    Raises:
        MediaError: there is none, or the folder cannot be read.
    """
    try:
        entries = [e.name for e in os.scandir(folder) if not e.name.startswith(".") and not _is_folder(e)]
    except OSError as error:
        raise MediaError(f"folder {folder} cannot be read ({error.strerror}); check {option}") from error
    names = [name for name in entries if name.lower().endswith(READ_TYPES)]
    others = collections.Counter(os.path.splitext(name)[1].lower() for name in entries if name not in set(names))
    if not names:
        videos = sum(count for ending, count in others.items() if looks_like_video(ending))
        there = f"{counted(videos, 'video')}, to be given with --video-input" if videos else "none of its files is one"
        if any(_is_folder(entry) for entry in os.scandir(folder)):
            there += f"; folders in it are not searched, '{os.path.join(folder, '*', '*')}' names their files"
        raise MediaError(f"folder {folder} has no images by their names, such as a.jpg ({there}); check {option}")
    if others:
        endings = ", ".join(ending or "no ending" for ending in sorted(others)[:8])
        logger.info("folder %s: %s left out (%s)", folder, counted(others.total(), "other file"), endings)
    return names


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is one; what cannot be told (a link to itself) is for whoever opens it to say."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def output_paths(inputs: Sequence[str], output: str) -> list[str]:
    """Where the image of each input goes.

    With one input and an output that is named like an image, that file; else the output is a folder. Inputs of the same
    name get a number.

    Args:
        inputs: image files.
        output: what the user gave.

    Returns:
        list of paths, as long as the inputs.

    Raises:
        MediaError: an output would overwrite an input, or several inputs were given and the output is a file.
    """
    check_output_folder(output)
    is_file = output.lower().endswith(IMAGE_TYPES) and not os.path.isdir(output)
    if is_file and len(inputs) > 1:
        raise MediaError(f"output {output} is one file but there are {len(inputs)} inputs; give a folder with --output")
    if not is_file and os.path.isfile(output):
        raise MediaError(f"output {output} is a file that does not end with an image type; give a folder with --output")
    if is_file:
        check_target(output, "--output")
        paths = [output]
    else:
        paths = [os.path.join(output, name) for name in _output_names([os.path.basename(path) for path in inputs])]
    sources = {os.path.realpath(source) for source in inputs}
    for path in paths:
        if os.path.realpath(path) in sources:
            raise MediaError(f"{path} is an input and would be overwritten; give another folder with --output")
    return paths


def _output_names(names: Sequence[str]) -> list[str]:
    """Names that differ, with endings that are written. Those that can stay do: a.gif beside a.jpg is a.gif.jpg."""
    found: list[str] = [""] * len(names)
    taken: set[str] = set()
    kept = [os.path.splitext(name)[1].lower() in IMAGE_TYPES for name in names]
    for i in sorted(range(len(names)), key=lambda i: not kept[i]):
        root, ending = os.path.splitext(names[i]) if kept[i] else (os.path.splitext(names[i])[0], ".jpg")
        if not kept[i] and root + ending in taken:
            root = names[i]
        name, number = root + ending, 2
        while name in taken:
            name, number = f"{root}_{number}{ending}", number + 1
        taken.add(name)
        found[i] = name
    return found


def check_output_folder(output: str) -> None:
    """Raises MediaError for an output that is neither a file, nor a folder, nor a new name."""
    if not os.path.isdir(output) and not output.lower().endswith(IMAGE_TYPES):
        check_new_folder(output, IMAGE_TYPES)


def check_new_folder(output: str, endings: Sequence[str]) -> None:
    """Refuse to make a folder of a name that is more likely meant as a file, or that is taken.

    Args:
        output: what the user gave; no folder as yet.
        endings: of the files that would be written.

    Raises:
        MediaError: it ends as a file of another kind does, or is there and no folder.
    """
    ending = os.path.splitext(output)[1]
    if _ENDING.fullmatch(ending) and not os.path.lexists(output):
        raise MediaError(
            f"output {output} ends with {ending}, which is not written; end it with one of {', '.join(endings)}, or, "
            f"where a folder of that name is meant, give {output}/"
        )
    check_target(output, "--output, or a folder", through=False)


def make_folder(path: str) -> None:
    """Make a folder and check that it can be written.

    Args:
        path: of the folder; empty for the current one.

    Raises:
        MediaError: it cannot.
    """
    try:
        os.makedirs(path or ".", exist_ok=True)
    except OSError as error:
        raise MediaError(
            f"output folder {path} cannot be made ({error.strerror}); give another with --output"
        ) from error
    if not os.access(path or ".", os.W_OK):
        raise MediaError(f"output folder {path} cannot be written; give another with --output")


def write_image(path: str, image: np.ndarray) -> None:
    """Write a BGR image, whole or not at all; through a device or pipe that is there.

    One that is too long for its format becomes a PNG, ``path`` and ``.png``, and that is said.

    Args:
        path: where to; its ending names the format.
        image: (H, W, 3) BGR uint8.

    Raises:
        MediaError: it cannot be written.
    """
    ending, (height, width) = os.path.splitext(path)[1].lower(), image.shape[:2]
    most = _LONGEST_SIDES.get(ending, max(height, width))
    if max(height, width) > most:
        logger.warning("%s.png: a side has more pixels than %s holds (%d), so it is PNG", path, ending, most)
        path, ending = f"{path}.png", ".png"
    try:
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if ending in (".jpg", ".jpeg") else []
        encoded, data = cv2.imencode(ending, image, quality)
        if not encoded:
            raise MediaError(f"{path} cannot be written as {ending}; choose .jpg or .png")
        write_bytes(path, data.tobytes())
    except cv2.error as error:
        raise MediaError(f"{path} cannot be written as {ending}; choose .jpg or .png") from error
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}); give another place with --output") from error


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts names with their numbers by value: frame2 before frame10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]
