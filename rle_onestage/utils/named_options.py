"""Options that a config gives to a class by name: does the class take them, and has it all that it needs?"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ConfigError, shown
from .near import did_you_mean


def check_options(key: str, name: str, parameters: Iterable[inspect.Parameter], options: Mapping[str, Any]) -> None:
    """Check the names of options; their values are the class's own business.

    Args:
        key: of the config, for messages.
        name: of the class.
        parameters: what it is made with, without what comes by place.
        options: {name: value}.

    Raises:
        ConfigError: an option is not known, or one that is needed is not there.
    """
    taken = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.POSITIONAL_ONLY)]
    names = [each.name for each in taken if each.kind != each.VAR_KEYWORD]
    unknown = [option for option in options if option not in names] if len(names) == len(taken) else []
    needed = [each.name for each in taken if each.name in names and each.default is each.empty]
    needed = [each for each in needed if each not in options]
    allowed = f"its options are {', '.join(names)}" if names else "it has no options"
    if unknown:
        hint = did_you_mean(unknown[0], names)
        raise ConfigError(f"{key}: {name} has no option {shown(unknown[0])}; {hint}{' ' * bool(hint)}{allowed}")
    if needed:
        raise ConfigError(
            f"{key}: {name} needs the option{'s' * (len(needed) > 1)} {', '.join(needed)}; give "
            f"[{name}, {{{', '.join(f'{each}: ...' for each in needed)}}}] ({allowed})"
        )
