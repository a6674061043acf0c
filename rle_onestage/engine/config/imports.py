"""Modules of the user's own, which a config names by ``IMPORTS`` or a command line by ``--import``.

A config is data and may come with a checkpoint of somebody else: it names modules that this Python can import, never
paths or expressions, and each import is said in the log.
"""

import importlib
import logging
import sys
import traceback
from collections.abc import Iterable

from rle_onestage.errors import ConfigError, shown

logger = logging.getLogger("rle_onestage")

KEY = "IMPORTS"


def import_modules(names: Iterable[str]) -> None:
    """Import modules, so that what they register is known.

    Args:
        names: dotted; those that were imported before are left alone.

    Raises:
        ConfigError: one cannot be found, or fails; says where.
    """
    for name in names:
        if name in sys.modules:
            continue
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{name}.".startswith(f"{error.name}."):
                raise ConfigError(
                    f"{KEY} names the module {name}, which cannot be found (there is no {error.name}); install it, or "
                    "add its folder to PYTHONPATH"
                ) from error
            raise _failed(name, error) from error
        except (Exception, SystemExit) as error:
            raise _failed(name, error) from error
        logger.info("Imported the module %s (%s), which %s names", name, where(name), KEY)


def where(name: str) -> str:
    """The file of an imported module, for the log."""
    return getattr(sys.modules.get(name), "__file__", None) or "built in"


def _failed(name: str, error: BaseException) -> ConfigError:
    """A sentence with the place in the user's code: the last one that is no machinery of imports."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    line = getattr(error, "lineno", None)  # of a SyntaxError, whose file was never run
    place = f"{getattr(error, 'filename', name)}, line {line}" if line else ""
    if not place and len(frames) > 1:
        place = f"{frames[-1].filename}, line {frames[-1].lineno}"
    what = f"{type(error).__name__}: {shown(str(error), 200)[1:-1]}"
    return ConfigError(f"the module {name}, which {KEY} names, cannot be imported ({what}; {place or name}); mend it")
