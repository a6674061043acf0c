"""Rules of config values that name something: parts of registries, modules, data sets."""

import keyword
from dataclasses import dataclass
from typing import Any

from rle_onestage.data.labels import SetOptions
from rle_onestage.engine.config.rules import Misfit, Plain, Text, chosen
from rle_onestage.errors import ConfigError, shown
from rle_onestage.utils.registry import NamedRegistry, parse_entry
from rle_onestage.utils.shards import shard_kind


@dataclass(frozen=True)
class Registered:
    """The name of a class in a registry, as it is when asked: users add their own. ``or_empty``: or no name."""

    registry: NamedRegistry
    or_empty: bool = False
    kinds = "str"

    @property
    def choices(self) -> tuple[str, ...]:
        """The names that are known now."""
        return self.registry.names + (("",) if self.or_empty else ())

    @property
    def words(self) -> str:
        """The values that the key takes, in words, for messages."""
        return f"one of {', '.join(map(repr, self.choices))}, or what a module of IMPORTS registers"

    def settle(self, value: Any, default: Any = None) -> Any:
        """The value as it is; raises Misfit where the rule does not allow it."""
        return chosen(value, self.choices, self.words)


@dataclass(frozen=True)
class Entries:
    """A list of what a registry has, each a name or ``[name, {option: value}]``."""

    registry: NamedRegistry
    kinds = "list"

    @property
    def words(self) -> str:
        """The values that the key takes, in words, for messages."""
        names = ", ".join((*self.registry.names, "or what a module of IMPORTS registers")).removeprefix("or ")
        return f"a list of names, or of [name, {{option: value}}]: {names}"

    def settle(self, value: Any, default: Any = ()) -> list:
        """The value as it is; raises Misfit where the rule does not allow it."""
        if not isinstance(value, (list, tuple)):
            raise Misfit
        if [type(part) for part in value] == [str, dict]:
            raise Misfit(f"put a part and its options into a list of their own, as in [{shown(value)}]")
        for entry in value:
            try:
                name, options = parse_entry(entry)
                self.registry.get(Text().settle(name))
            except ConfigError as error:
                reason = str(error).removeprefix(f"{self.registry.key} is ")
                for part in (entry, *entry[:1]) if len(value) == 1 and isinstance(entry, (str, list, tuple)) else ():
                    reason = reason.removeprefix(f"{shown(part)}; ")  # the whole value is told before
                raise Misfit(reason) from error
            for option in options.values():
                Plain().settle(option)
            self.registry.check_options(entry)
        return list(value)


@dataclass(frozen=True)
class ModuleName:
    """The name of a Python module, never a path or an expression."""

    kinds = "str"
    words = "the name of a Python module, such as my_package.my_module"

    def settle(self, value: Any, default: Any = None) -> str:
        """The value as it is; raises Misfit where the rule does not allow it."""
        parts = Text(some=True).settle(value).split(".")
        names = (part.isidentifier() and not keyword.iskeyword(part) for part in parts)
        if len(value) > 200 or parts[-1] == "py" or not all(names):
            raise Misfit(f"it must be {self.words}, not a path")
        return value


def keypoint_files(value: Any) -> list:
    """Entries of ``DATASETS.KEYPOINT_FILES``."""
    if not isinstance(value, (list, tuple)):
        raise Misfit
    for entry in value:
        if not isinstance(entry, (list, tuple)) or len(entry) not in (3, 4):
            raise Misfit(
                f"an entry is {shown(entry)}; give [name, annotations, images], [name, data.yaml, split] or [name, "
                "shards, ''], or those and {option: value}"
            )
        for part in entry[: 2 if entry[2] == "" and shard_kind(str(entry[1])) else 3]:
            try:
                Text(some=True).settle(part)
            except Misfit as misfit:
                raise Misfit(f"in the entry {shown(entry)}, {shown(part)} should be text") from misfit
        if len(entry) == 4:
            SetOptions.parse(entry[0], entry[3])
    return list(value)
