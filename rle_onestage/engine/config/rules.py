"""Kinds of config values: what may stand behind a key, in which type it is kept, and in words.

A rule has ``words`` ("a whole number of at least 1"), ``kinds`` (types by name) and ``settle(value, default)``, which
gives the value in the type of the default or raises :class:`Misfit`.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rle_onestage.errors import percent_hint, shown
from rle_onestage.utils.near import did_you_mean

# Far beyond any use, and what int64 holds.
HUGE = 2**62
MAX_TEXT = 4096
# NUL ends names for the system; lone surrogates are bytes of a command line that are no text.
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


class Misfit(ValueError):
    """A value that a rule refuses; the message says in words why, where the rule's own words do not."""


@dataclass(frozen=True)
class Number:
    """A number in a range; a whole one where ``whole``. ``above``: the low end is excluded, ``below``: the high one."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    above: bool = False
    below: bool = False
    infinite: bool = False  # infinity too

    @property
    def kinds(self) -> str:
        """Python's type of the values."""
        return "int" if self.whole else "float"

    @property
    def words(self) -> str:
        """The values that the key takes, in words, for messages."""
        noun = "a whole number" if self.whole else "a number"
        low, high = (f"{end:.15g}" for end in (self.low, self.high))
        if self.low > -HUGE and self.high < HUGE:
            ends = f"{low}{' (excluded)' if self.above else ''} to {high}{' (excluded)' if self.below else ''}"
            return f"{noun} from {ends}"
        if self.low > -HUGE:
            return f"{noun} {'above' if self.above else 'of at least'} {low}"
        return noun if self.high >= HUGE else f"{noun} {'below' if self.below else 'of at most'} {high}"

    def settle(self, value: Any, default: Any = None) -> float:
        """The number. Where a float is due, whole numbers and text such as 1e-4 (as YAML takes it) become one."""
        if isinstance(value, bool) or not isinstance(value, (int, float, str) if not self.whole else int):
            raise Misfit
        if not self.whole:
            try:
                value = float(value)
            except (ValueError, OverflowError) as error:
                raise Misfit from error
        if value != value or (not self.infinite and abs(value) == math.inf):
            raise Misfit(f"it must be {self.words}, and finite")
        too_low = value <= self.low if self.above else value < self.low
        too_high = value >= self.high if self.below else value > self.high
        if too_low or too_high:
            hint = percent_hint(value) if (self.low, self.high) == (0, 1) else ""
            sign = "it must be positive; " if self.above else "it must not be negative; " if value < 0 else ""
            raise Misfit(f"{sign if self.low == 0 and too_low else ''}give {self.words}{hint}")
        return value


@dataclass(frozen=True)
class Flag:
    """True or False."""

    words = "True or False"
    kinds = "bool"

    def settle(self, value: Any, default: Any = None) -> bool:
        """The value as it is; raises Misfit where the rule does not allow it."""
        if not isinstance(value, bool):
            raise Misfit
        return value


@dataclass(frozen=True)
class Text:
    """Text, such as a name or a path. ``some``: not empty."""

    some: bool = False
    kinds = "str"

    @property
    def words(self) -> str:
        """The values that the key takes, in words, for messages."""
        return "text that is not empty" if self.some else "text"

    def settle(self, value: Any, default: Any = None) -> str:
        """The value as it is; raises Misfit where the rule does not allow it."""
        if not isinstance(value, str):
            raise Misfit
        if len(value) > MAX_TEXT:
            raise Misfit(f"it must have at most {MAX_TEXT} characters")
        if _NO_TEXT.search(value):
            if _is_utf8(value):
                raise Misfit("this process does not take its letters for UTF-8; set PYTHONUTF8=1 or a UTF-8 locale")
            raise Misfit("it has a NUL, or bytes that are no text; rename what it names")
        if self.some and not value:
            raise Misfit("it must not be empty")
        return value


def _is_utf8(value: str) -> bool:
    """Whether bytes of a command line that Python did not take for text are UTF-8, as under ``LC_ALL=C``."""
    try:
        return "\0" not in value.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        return False


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    choices: tuple

    @property
    def kinds(self) -> str:
        """Python's type of the values."""
        return type(self.choices[0]).__name__

    @property
    def words(self) -> str:
        """The values that the key takes, in words, for messages."""
        names = ", ".join(map(repr, self.choices))
        return f"one of {names}" if len(self.choices) > 1 else f"{names}, which alone is supported here"

    def settle(self, value: Any, default: Any = None) -> Any:
        """The value as it is; raises Misfit where the rule does not allow it."""
        return chosen(value, self.choices, self.words)


def chosen(value: Any, choices: tuple, words: str) -> Any:
    """A value that is one of some; raises Misfit for others, with what may have been meant."""
    if type(value) is not type(choices[0] if choices else ""):
        raise Misfit
    if value not in choices:
        hint = did_you_mean(value, filter(None, choices)) if isinstance(value, str) else ""
        raise Misfit(f"{hint}{' ' * bool(hint)}choose {words}")
    return value


@dataclass(frozen=True)
class Items:
    """A list (or tuple, as the default is) of values of one kind: ``exactly`` so many, or ``least`` to ``most``."""

    each: Any
    least: int = 0
    most: int = 100_000
    exactly: int = 0
    ascending: bool = False
    kinds = "list or tuple"

    @property
    def words(self) -> str:
        """The values that the key takes, in words, for messages."""
        number = f"{self.exactly} values, each" if self.exactly else "values, each"
        order = "ascending " if self.ascending else ""
        return f"a list of {order}{number} {self.each.words}"

    def settle(self, value: Any, default: Any = ()) -> list | tuple:
        """In the type of the default, its items settled."""
        if not isinstance(value, (list, tuple)):
            raise Misfit
        if self.exactly and len(value) != self.exactly:
            raise Misfit(f"it has {len(value)} values; it must be {self.words}")
        if not (self.exactly or self.least <= len(value) <= self.most):
            few = len(value) < self.least
            raise Misfit(f"it has {len(value)} values; give at {f'least {self.least}' if few else f'most {self.most}'}")
        settled = []
        for place, item in enumerate(value):
            try:
                settled.append(self.each.settle(item, item))
            except Misfit as misfit:
                reason = str(misfit) or f"it must be {self.each.words}"
                raise Misfit(f"value {place + 1} is {shown(item)}; {reason}") from misfit
        if self.ascending and any(a > b for a, b in zip(settled, settled[1:])):
            raise Misfit(f"it must be {self.words}")
        return settled if isinstance(default, list) else tuple(settled)


@dataclass(frozen=True)
class Either:
    """What one of several rules takes; ``nothing``: None too."""

    rules: tuple
    nothing: bool = False

    @property
    def kinds(self) -> str:
        """Python's type of the values."""
        return " or ".join(dict.fromkeys(rule.kinds for rule in self.rules))

    @property
    def words(self) -> str:
        """The values that the key takes, in words, for messages."""
        return ", or ".join(rule.words for rule in self.rules)

    def settle(self, value: Any, default: Any = None) -> Any:
        """As the first rule that takes it."""
        if value is None and self.nothing:
            return None
        reasons = []
        for rule in self.rules:
            try:
                return rule.settle(value, default)
            except Misfit as misfit:
                reasons.append(str(misfit))
        raise Misfit(next((reason for reason in reasons if reason), ""))


@dataclass(frozen=True)
class Checked:
    """What a function takes: it gives the value, or raises :class:`Misfit`."""

    words: str
    check: Callable[[Any], Any]
    kinds: str = "list"

    def settle(self, value: Any, default: Any = None) -> Any:
        """As the function says."""
        return self.check(value)


@dataclass(frozen=True)
class Like:
    """Anything of the type of a default: of keys of Detectron2 that this project does not read."""

    default: Any

    @property
    def kinds(self) -> str:
        """Python's type of the values."""
        return type(self.default).__name__

    @property
    def words(self) -> str:
        """The values that the key takes, in words, for messages."""
        return f"a value like {shown(self.default)}"

    def settle(self, value: Any, default: Any = None) -> Any:
        """In the type of the default."""
        rule = _rule_like(self.default)
        return value if rule is None else rule.settle(value, self.default)


@dataclass(frozen=True)
class Plain:
    """Numbers, text and lists of them."""

    words = "a number, text, or a list of them"
    kinds = "int, float, str, bool or list"

    def settle(self, value: Any, default: Any = None) -> Any:
        if isinstance(value, (list, tuple)):
            return Items(self).settle(value, value)
        if isinstance(value, dict) or not isinstance(value, (bool, int, float, str)):
            raise Misfit
        return Text().settle(value) if isinstance(value, str) else value


def _rule_like(default: Any) -> Any:
    kinds = {bool: Flag(), int: Number(-HUGE, HUGE, whole=True), float: Number(), str: Text()}
    if type(default) in kinds:
        return kinds[type(default)]
    if isinstance(default, (list, tuple)):
        alike = {type(item) for item in default}
        inner = kinds.get(alike.pop(), Plain()) if len(alike) == 1 else Plain()
        return Items(Either((inner, Number())) if inner == kinds[int] else inner)
    return Either((Plain(),), nothing=True) if default is None else None


def whole(low: int = 0, high: int = HUGE) -> Number:
    """A whole number."""
    return Number(low, high, whole=True)


def real(low: float = 0.0, high: float = math.inf, **options: bool) -> Number:
    """A finite number."""
    return Number(low, high, **options)


def share(**options: bool) -> Number:
    """A number from 0 to 1."""
    return Number(0, 1, **options)


def choice(*choices: Any) -> Choice:
    """One of some values."""
    return Choice(choices)
