"""Registries of what a config may name: one decorator makes a class known to configs, messages and ``--help``."""

import difflib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fvcore.common.registry import Registry as FvcoreRegistry

from rle_onestage.errors import ConfigError, shown

# An entry of a config that names a part: its name, or [name, {option: value}].
Entry = str | Sequence[Any]


class Registry(FvcoreRegistry):
    """fvcore's registry, with names of one's own choice, and with sentences for what is not in it.

    Example::

        @HOOK_REGISTRY.register()
        class Stopwatch(HookBase): ...

        @DENSITY_REGISTRY.register(name="student")
        class StudentDensity(Density): ...

    Args:
        name: what is in it, in the singular, for messages.
        base: class of all that is in it; classes derived from it can also be named by module and name, such as
            ``detectron2.evaluation.COCOEvaluator``. None: only what is registered can be named.
    """

    def __init__(self, name: str, base: type | None = None):
        super().__init__(name)
        self.base = base

    def register(self, obj: Any = None, *, name: str | None = None) -> Any:
        """Make a class or function known; a decorator where it is called without one.

        Args:
            obj: what to register.
            name: what configs call it; None takes its own name.

        Raises:
            ConfigError: another one has that name.
        """
        if obj is None:
            return lambda made: self.register(made, name=name)
        key = name or obj.__name__
        if key in self:
            raise ConfigError(f"there are two of the {self._name} name {key!r}; register one under another name")
        self._do_register(key, obj)
        return obj

    def names(self) -> list[str]:
        """All names, in the order in which they were registered."""
        return [name for name, _ in self]

    def get(self, name: str) -> Any:
        """What is registered under a name, or what a dotted name means, see ``base``.

        A dotted name imports nothing: its module must have been imported, by this package or because ``IMPORTS`` of the
        config names it.

        Raises:
            ConfigError: there is none; names those that there are.
        """
        if name in self:
            return super().get(name)
        module, _, attribute = name.rpartition(".")
        if self.base is None or not module:
            near = difflib.get_close_matches(name, self.names(), n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.names()) or 'none'}"
            raise ConfigError(
                f"no {self._name} of the name {shown(name)} is registered; {hint} (IMPORTS names the modules that "
                "register more)"
            )
        found = getattr(sys.modules.get(module), attribute, None)
        if not (inspect.isclass(found) and issubclass(found, self.base)):
            why = f"is no class derived from {self.base.__name__}" if module in sys.modules else "was not imported"
            raise ConfigError(f"{shown(name)} names no {self._name}: it {why}; name its module by IMPORTS")
        return found

    def build(self, entry: Entry, from_config: Sequence[Any], positional: Sequence[Any] = ()) -> Any:
        """Make what an entry of a config names.

        Args:
            entry: a name, or ``[name, {option: value}]``.
            from_config: arguments of the class method ``from_config`` of a class that has one.
            positional: arguments of a class without it. The options follow as keywords in both cases.

        Raises:
            ConfigError: the name is not known, or it does not take these options.
        """
        name, options = parse_entry(entry)
        made: Callable[..., Any] = self.get(name)
        arguments = positional
        if hasattr(made, "from_config"):
            made, arguments = made.from_config, from_config
        try:
            inspect.signature(made).bind(*arguments, **options)
        except TypeError as error:
            raise ConfigError(f"the {self._name} {name} does not take {shown(options)} ({error})") from error
        return made(*arguments, **options)


def parse_entry(entry: Entry) -> tuple[str, Mapping[str, Any]]:
    """(name, options) of an entry of a config.

    Raises:
        ConfigError: it is neither a name nor ``[name, {option: value}]``.
    """
    if isinstance(entry, str) and entry:
        return entry, {}
    if isinstance(entry, (list, tuple)) and len(entry) == 2 and isinstance(entry[0], str) and entry[0]:
        options = entry[1]
        if isinstance(options, Mapping) and all(isinstance(key, str) and key.isidentifier() for key in options):
            return entry[0], options
    raise ConfigError(f"an entry is {shown(entry)}; give a name, or [name, {{option: value}}]")
