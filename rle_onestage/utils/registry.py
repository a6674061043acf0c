"""Classes by the name that a config gives them."""

from collections.abc import Callable
from typing import Any

from fvcore.common.registry import Registry

from ..errors import ConfigError


class NamedRegistry(Registry):
    """fvcore's registry, with names for the config, and a sentence for a name that is not there.

        >>> @DENSITY_REGISTRY.register()  # or register(name="student_t")
        ... class StudentT(Density): ...

    Args:
        name: of the registry.
        key: the config key whose value is the name of a class, for messages.
    """

    def __init__(self, name: str, key: str):
        super().__init__(name)
        self.key = key

    def register(self, obj: Any = None, *, name: str | None = None) -> Any:
        """Make a class known, as a decorator or by a call.

        Args:
            obj: the class; None makes a decorator.
            name: in the config; None for the class's own name.
        """

        def known(obj: Any) -> Any:
            self._do_register(name or obj.__name__, obj)
            return obj

        decorator: Callable[[Any], Any] = known
        return decorator if obj is None else known(obj)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are known now."""
        return tuple(name for name, _ in self)

    def get(self, name: str) -> Any:
        """The class of a name.

        Raises:
            ConfigError: there is none; the known names are told.
        """
        if name not in self:
            raise ConfigError(f"{self.key} is {name!r}; choose one of {', '.join(self.names)}, or register a class")
        return super().get(name)
