"""Fonts that have the letters of a text: names of joints, sets and files may be in any script."""

import functools
import logging
import os
import unicodedata
from collections.abc import Iterable

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

logger = logging.getLogger(__name__)

_USUAL = "DejaVu Sans"
_told: set[str] = set()  # characters, in this process


def file_for(text: str, bold: bool = False) -> str:
    """The font file to write a text with.

    DejaVu Sans, which matplotlib brings to every machine that has Detectron2, where it has all letters; else the font
    of this machine that has most of them. What none has is drawn as boxes, and a warning says so, once.

    Args:
        text: one line.
        bold: the bold face, of DejaVu Sans alone.

    Returns:
        Path of the font.
    """
    usual = os.path.join(
        matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    )
    needed = _letters(text)
    if not needed - _letters_of(usual):
        return usual
    best = max([usual, *_files()], key=lambda file: len(needed & _letters_of(file)))  # the first of equal ones
    _warn(needed - _letters_of(best))
    return best


def families_for(texts: Iterable[str]) -> list[str]:
    """Families for matplotlib's ``font.family``: DejaVu Sans, then others for letters that it lacks.

    Args:
        texts: all that a plot says.

    Returns:
        Names of families, in the order in which matplotlib looks for a letter.
    """
    usual = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    families, missing = [_USUAL], _letters("".join(texts)) - _letters_of(usual)
    while missing:
        found = max(_files(), key=lambda file: len(missing & _letters_of(file)), default=None)
        if found is None or not missing & _letters_of(found):
            break
        families.append(_files()[found])
        missing = missing - _letters_of(found)
    _warn(missing)
    return families


def _letters(text: str) -> frozenset[int]:
    """Code points that need a glyph: not spaces, controls, joiners and variation selectors."""
    unseen = ("Cc", "Cf", "Zs", "Zl", "Zp", "Mn")
    return frozenset(ord(letter) for letter in text if unicodedata.category(letter) not in unseen)


@functools.lru_cache(maxsize=256)
def _letters_of(file: str) -> frozenset[int]:
    """Code points that a font has; none where it cannot be read."""
    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@functools.lru_cache(maxsize=1)
def _files() -> dict[str, str]:
    """Upright fonts of this machine in the usual weight: dict file -> family."""
    fonts = font_manager.fontManager.ttflist
    return {f.fname: f.name for f in fonts if f.style == "normal" and f.weight in (400, "normal", "regular", "book")}


def _warn(missing: frozenset[int]) -> None:
    """Say which letters no font has, each once in this process."""
    letters = "".join(chr(code) for code in sorted(missing) if chr(code) not in _told)
    if not letters:
        return
    _told.update(letters)
    shown = ascii(letters[:3])[1:-1]
    logger.warning(
        "no font of this machine has %d letters of the captions (%s, %s): they are drawn as boxes; install a font that "
        "has them, such as Noto Sans CJK, or use names in Latin letters",
        len(letters), letters[:10], shown,
    )  # fmt: skip
