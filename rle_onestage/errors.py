"""The project's errors, and the one place that turns them into a sentence and an exit code.

Every message is one sentence that names the file, key or image, and says what to do.
"""

import contextlib
import functools
import re
import reprlib
import sys
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from .console import LostOutput, is_first_on_machine, lasting_output, open_closed_streams

P = ParamSpec("P")
T = TypeVar("T")

# Modules of the user's own, which a config's IMPORTS or a command line's --import named.
OWN_MODULES: set[str] = set()


class PoseError(Exception):
    """Base of all errors that a user can mend; tools print the message alone and exit with 2."""


class ConfigError(PoseError):
    """A config key is missing, mistyped, or does not fit another one."""


class DataError(PoseError):
    """A data set, annotation or image cannot be used."""


class CheckpointError(PoseError):
    """Weights cannot be read or do not fit the model."""


class MediaError(PoseError):
    """An image or video cannot be opened or written."""


class MissingPackageError(PoseError, ImportError):
    """A package that only some functions need is not installed; the message has the command that installs it."""


class DivergenceError(PoseError):
    """The loss became non-finite; the message names the images of the batch."""


class OwnCodeError(RuntimeError):
    """Code of the user's own fails; the message says where, and the cause has the traceback, which is of use there."""


EXIT_CODE = 2


def check_score(value: float, name: str) -> None:
    """Refuse a threshold outside [0, 1]: no score is there, so 30 (percent) would find nobody and say nothing.

    Args:
        value: the threshold.
        name: the flag, key or argument that it came by.

    Raises:
        ConfigError: it is outside, or no number.
    """
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} is {value:g}; give a number from 0 to 1, as scores are{percent_hint(value)}")


@contextlib.contextmanager
def naming_own_code(what: str) -> Iterator[None]:
    """Let what fails within the block end with a sentence that says which of the user's parts it is in.

    Args:
        what: the part, as in "hook Stopwatch {'period': 0} (SOLVER.HOOKS)".

    Raises:
        OwnCodeError: in place of any error but those that have their sentence already.
    """
    try:
        yield
    except (PoseError, OwnCodeError, LostOutput):
        raise
    except Exception as error:
        raise OwnCodeError(f"in {what}: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def naming_own_modules() -> Iterator[None]:
    """Let what fails in a function of :data:`OWN_MODULES` end with a sentence that names the function.

    Raises:
        OwnCodeError: in place of any error but those that have their sentence already.
    """
    try:
        yield
    except Exception as error:
        place = _own_function(error.__traceback__)
        if place is None:
            raise
        with naming_own_code(place):
            raise


def _own_function(trace: TracebackType | None) -> str | None:
    """The innermost function of :data:`OWN_MODULES` that a traceback passes through, if any."""
    place = None
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        module = str(frame.f_globals.get("__name__"))
        if any(f"{module}.".startswith(f"{own}.") for own in OWN_MODULES):
            owner = f"{type(frame.f_locals['self']).__name__}." if "self" in frame.f_locals else ""
            place = f"{module}.{owner}{frame.f_code.co_name}"
    return place


def called(name: str, options: Mapping[str, Any], key: str) -> str:
    """A part that a config names, for messages: "Fog {'strength': 0.5} (INPUT.AUGMENTATIONS)".

    Args:
        name: of the part.
        options: that the config gives it.
        key: of the config.
    """
    return f"{name}{f' {shown(dict(options))}' if options else ''} ({key})"


def percent_hint(value: float) -> str:
    """What a message adds where a number from 0 to 1 is wanted and a percentage may be meant; "" elsewhere."""
    return f" ({value / 100:g} for {value:g} percent)" if 1 < value <= 100 else ""


def cut(text: str, length: int) -> str:
    """A text for a message; long ones end in three dots."""
    return text if len(text) <= length else f"{text[:length]}..."


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 image", "2 images".

    Args:
        number: how many.
        one: the noun for one.
        many: for any other number; empty: with an s.
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def counted_as(number: int, reason: str) -> str:
    """A number with a reason whose first plural is what it counts: "1 annotation without a box", "2 annotations ...".

    Args:
        number: how many.
        reason: for several, such as ``annotations without a box``.
    """
    one = re.sub(r"^([^,;:]*?[a-z])s(?![a-z])", r"\1", reason)
    return f"{number} {one if number == 1 else reason}"


def shown(value: Any, length: int = 60) -> str:
    """A value of a file, for a message.

    Args:
        value: anything.
        length: most characters that are shown.

    Returns:
        Text in quotes, arrays and tensors by their type alone, other values as Python writes them; long ones are cut.
    """
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"a {type(value).__name__}"
    try:
        text = _reader.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = f"a number of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    return cut(text, length)


def _short_reader() -> reprlib.Repr:
    """``repr`` that neither follows deep nests nor writes out long lists."""
    made = reprlib.Repr()
    made.maxlevel, made.maxlist, made.maxdict, made.maxstring, made.maxlong, made.maxother = 4, 12, 12, 300, 300, 300
    return made


_reader = _short_reader()


def exits_with_sentence(main: Callable[P, T]) -> Callable[P, T]:
    """Decorate a tool's ``main``: a :class:`PoseError` becomes one line on stderr and exit code 2.

    Under torchrun only the first process of each machine prints, all exit non-zero. Ctrl-C exits with 130. A reader of
    the output that leaves (``| head``) does not end the work, see :func:`~.console.lasting_output`.

    Args:
        main: what the tool does.

    Returns:
        The same function, for which errors of the user end the process.
    """

    @functools.wraps(main)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        open_closed_streams()
        try:
            with lasting_output():
                return run(*args, **kwargs)
        except LostOutput as error:
            print(f"error: {error}; write to a disk that has room", file=sys.stderr, flush=True)
            sys.exit(EXIT_CODE)

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with naming_own_modules():
                return main(*args, **kwargs)
        except PoseError as error:
            if is_first_on_machine():
                print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            sys.exit(EXIT_CODE)
        except KeyboardInterrupt as error:
            print("interrupted", file=sys.stderr, flush=True)
            sys.exit(128 + getattr(error, "signum", 2))  # of utils.signals.Interrupted; else Ctrl-C

    return wrapper
