"""What somebody may have meant: names and files that are spelt alike. Standard library only."""

import difflib
import os
from collections.abc import Iterable

# Names in a folder that are compared: others would take seconds in a folder of a million images.
MOST_FILES = 5000


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


def near_file(path: str, endings: tuple[str, ...] = ()) -> str:
    """What a message says of a file that is missing: the one in its folder that is named alike, or a missing folder.

    Args:
        path: of the missing file.
        endings: of the files that are meant, such as ``(".yaml",)``; none: any.

    Returns:
        ``did you mean out/a.yaml?``, ``there is no folder out``, or "" where neither is so.
    """
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or ".") as entries:
            there = [entry.name for entry, _ in zip(entries, range(MOST_FILES)) if entry.is_file()]
    except FileNotFoundError:
        return f"there is no folder {folder}"
    except (OSError, ValueError):
        return ""
    found = nearest(name, (each for each in there if each.endswith(endings or "")))
    return f"did you mean {os.path.join(folder, found)}?" if found else ""
