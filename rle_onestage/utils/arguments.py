"""Command lines: parsers that complain in one sentence, and the kinds of numbers that flags take."""

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from rle_onestage.errors import cut
from rle_onestage.utils.near import did_you_mean

PROGRAM = "rle-onestage"
IMPORT_HELP = "import a Python module that registers parts of your own, by its name; may be given several times"
_NAME_WEIGHTS = "which only train and evaluate have; name the weights: MODEL.WEIGHTS OUTPUT_DIR/model_final.pth"
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

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, for which all others ask; unknown flags first, before what is missing because of them."""
        check_flags(self, sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)


def complain(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """End with one sentence and exit code 2."""
    hint = _meant(parser, message)
    parser.exit(2, f"error: {message}; {hint}{' ' * bool(hint)}see {parser.prog} --help\n")


def check_flags(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Complain of the first word that looks like a flag and is none; abbreviations of flags are some.

    Args:
        parser: that has the flags.
        words: of the command line.
    """
    known = [flag for action in parser._actions if action.help != argparse.SUPPRESS for flag in action.option_strings]
    for word in words:
        flag = word.partition("=")[0]
        if flag == "--":
            return
        is_one = flag in parser._option_string_actions or any(each.startswith(flag) for each in known)
        if re.match("--|-[A-Za-z]", flag) and not is_one:
            if flag == "--resume" and "--opts" in known:  # other commands run a model too, but never the last one
                parser.exit(2, f"error: there is no flag {flag}, {_NAME_WEIGHTS}; see {parser.prog} --help\n")
            hint = did_you_mean(flag, known, cutoff=0.7)
            remedy = f"{hint}{' ' * bool(hint)}see {parser.prog} --help"
            parser.exit(2, f"error: there is no flag {cut(flag, 60)}; {remedy}\n")


def _meant(parser: argparse.ArgumentParser, message: str) -> str:
    """What somebody may have meant who chose what argparse complains of; "" for other complaints."""
    found = re.match(r"argument ([^\s:/]+)[^:]*: invalid choice: '?([^'\s]*)'?", message)
    action = parser._option_string_actions.get(found[1]) if found else None
    return did_you_mean(found[2], map(str, action.choices or ())) if found and action is not None else ""


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
