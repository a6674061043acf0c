"""What somebody may have meant: names and files that are spelt alike. Standard library only."""

import difflib
import os
from collections.abc import Iterable

# Names in a folder that are compared: a folder of a million would take seconds.
MOST_FILES = 5000
WEIGHT_FILES = (".pth", ".pt", ".pkl", ".safetensors")  # endings


def nearest(name: str, names: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The name that is spelt most alike, whatever its capitals; None where none is near.

    Args:
        name: what was given.
        names: what there is.
        cutoff: least likeness, from 0 to 1.
    """
    by_small = {each.lower(): each for each in names}
    found = difflib.get_close_matches(name[:200].lower(), by_small, n=1, cutoff=cutoff)
    return by_small[found[0]] if found else None


def did_you_mean(name: str, names: Iterable[str], *, cutoff: float = 0.6) -> str:
    """``did you mean NAME?`` for a message; "" where nothing is near. The arguments are those of :func:`nearest`."""
    found = nearest(name, names, cutoff=cutoff)
    return f"did you mean {found}?" if found else ""


def near_file(path: str, endings: tuple[str, ...] = ()) -> str | None:
    """The file in the folder of a missing one that is named most alike; None where none is.

    Args:
        path: of the missing file.
        endings: of the files that are meant, such as ``(".yaml",)``; none: any.
    """
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or ".") as entries:
            there = [entry.name for entry, _ in zip(entries, range(MOST_FILES)) if entry.is_file()]
    except (OSError, ValueError):
        return None
    stems = {os.path.splitext(each)[0]: each for each in there if each.endswith(endings or "")}
    found = nearest(os.path.splitext(name)[0], stems)
    return None if found is None else os.path.join(folder, stems[found])


def what_is_wrong(path: str) -> str:
    """ "" for a regular file, else what is wrong with the path, in words."""
    if os.path.isfile(path):
        return ""
    return "is a folder" if os.path.isdir(path) else "is no file" if os.path.exists(path) else "does not exist"


def remedy_for(path: str, check: str, endings: tuple[str, ...] = ()) -> str:
    """What to do about a path that :func:`what_is_wrong` complains of.

    Args:
        path: where no file is.
        check: what to look at where nothing is near, such as ``check --config-file``.
        endings: see :func:`near_file`.

    Returns:
        ``did you mean out/a.yaml?``, or ``check`` itself, after the name of a folder that is missing too.
    """
    if os.path.exists(path):
        return check
    if near := near_file(path, endings):
        return f"did you mean {near}?"
    folder = os.path.dirname(path)
    return f"{check}: there is no folder {folder}" if folder and not os.path.isdir(folder) else check
