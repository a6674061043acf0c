"""Command lines: parsers that complain in one sentence, and the kinds of numbers that flags take."""

import argparse
import math
from collections.abc import Callable
from typing import NoReturn

from rle_onestage.errors import cut

PROGRAM = "rle-onestage"
# What whole numbers stay below: those of C take no more.
MOST = 2**31


class CommandParser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all errors of the project are.

    Args:
        command: name of the sub-command.
        text: what it does, with an example of its use.
    """

    def __init__(self, command: str, text: str | None):
        super().__init__(
            prog=f"{PROGRAM} {command}", description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def error(self, message: str) -> NoReturn:
        """End with the sentence and exit code 2."""
        complain(self, message)


def complain(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """End with one sentence and exit code 2."""
    parser.exit(2, f"error: {message}; see {parser.prog} --help\n")


def _number(kind: type, words: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    """A reader of numbers for argparse, which refuses text, nan, inf, and what does not fit, in words that say why."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if kind is int and abs(value) >= MOST:
            raise argparse.ArgumentTypeError(f"{cut(text, 30)!r} is too large")
        if not (math.isfinite(value) and fits(value)):
            raise argparse.ArgumentTypeError(f"{cut(text, 30)!r} is not {words}")
        return value

    return read


positive_int = _number(int, "a whole number above 0", lambda value: value > 0)
natural_int = _number(int, "a whole number of 0 or more", lambda value: value >= 0)
positive_float = _number(float, "a number above 0", lambda value: value > 0)
natural_float = _number(float, "a number of 0 or more", lambda value: value >= 0)
share = _number(float, "a number between 0 and 1", lambda value: 0 < value < 1)
# Its range is checked by errors.check_score, which knows what to say of percents.
number = _number(float, "a number", lambda value: True)
