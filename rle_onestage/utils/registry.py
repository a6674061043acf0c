"""Classes by the name that a config gives them: one decorator makes one known to configs, messages and ``--help``."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fvcore.common.registry import Registry

from ..errors import ConfigError, called, naming_own_code, shown
from .named_options import check_options
from .near import did_you_mean

# An entry of a config that names a class: its name, or [name, {option: value}].
Entry = str | Sequence[Any]


class NamedRegistry(Registry):
    """fvcore's registry, with names for the config, and a sentence for a name that is not there.

        >>> @DENSITY_REGISTRY.register()  # or register(name="student_t")
        ... class StudentT(Density): ...

    Args:
        name: of the registry.
        key: the config key whose value is the name of a class, for messages.
        base: classes derived from it can be named by module and name too, such as
            ``detectron2.evaluation.COCOEvaluator``. None: only what is registered can be named.
        by_place: how many arguments come before the options, in ``from_config`` and in a class without it.
    """

    def __init__(self, name: str, key: str, base: type | None = None, *, by_place: tuple[int, int] = (1, 0)):
        super().__init__(name)
        self.key, self.base, self.by_place = key, base, by_place

    def register(self, obj: Any = None, *, name: str | None = None) -> Any:
        """Make a class known, as a decorator or by a call.

        Args:
            obj: the class; None makes a decorator.
            name: in the config; None for the class's own name.

        Raises:
            ConfigError: another one has that name.
        """

        def known(obj: Any) -> Any:
            called = name or obj.__name__
            if called in self:
                raise ConfigError(f"{self.key} has a {called!r} already; register yours under another name")
            self._do_register(called, obj)
            return obj

        decorator: Callable[[Any], Any] = known
        return decorator if obj is None else known(obj)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are known now."""
        return tuple(name for name, _ in self)

    def get(self, name: str) -> Any:
        """The class of a name, or of a dotted name, see ``base``.

        A dotted name imports nothing: its module must have been imported, by this package or because ``IMPORTS`` of the
        config names it.

        Raises:
            ConfigError: there is none; the known names are told.
        """
        if name in self:
            return super().get(name)
        module, _, attribute = name.rpartition(".")
        if self.base is None or not module:
            hint = did_you_mean(name, self.names)
            known = f"choose one of {', '.join(self.names)}, or" if self.names else "none is registered;"
            raise ConfigError(
                f"{self.key} is {shown(name)}; {hint}{' ' * bool(hint)}{known} register a class in a module of IMPORTS"
            )
        found = getattr(sys.modules.get(module), attribute, None)
        if not (inspect.isclass(found) and issubclass(found, self.base)):
            why = f"is no class derived from {self.base.__name__}" if module in sys.modules else "was not imported"
            raise ConfigError(f"{self.key} is {shown(name)}, which {why}; name its module by IMPORTS")
        return found

    def check_options(self, entry: Entry) -> None:
        """Check the names of the options of an entry of a config.

        Raises:
            ConfigError: the class does not take one, or needs another; see :func:`~.named_options.check_options`.
        """
        name, options = parse_entry(entry)
        made = self.get(name)
        from_config, positional = self.by_place
        made, skipped = (made.from_config, from_config) if hasattr(made, "from_config") else (made, positional)
        parameters = list(inspect.signature(made).parameters.values())
        check_options(self.key, name, parameters[skipped:], options)

    def build(self, entry: Entry, from_config: Sequence[Any], positional: Sequence[Any] = ()) -> Any:
        """Make what an entry of a config names.

        Args:
            entry: a name, or ``[name, {option: value}]``.
            from_config: arguments of the class method ``from_config`` of a class that has one.
            positional: arguments of a class without it. The options follow as keywords in both cases.

        Raises:
            ConfigError: the name is not known, or it does not take these options.
            OwnCodeError: it cannot be made with their values.
        """
        name, options = parse_entry(entry)
        made: Callable[..., Any] = self.get(name)
        arguments = positional
        if hasattr(made, "from_config"):
            made, arguments = made.from_config, from_config
        try:
            inspect.signature(made).bind(*arguments, **options)
        except TypeError as error:
            raise ConfigError(f"{self.key}: {name} does not take the options {shown(options)} ({error})") from error
        with naming_own_code(called(name, options, self.key)):
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
