"""Modules of the user's own, which a config names by ``IMPORTS`` or a command line by ``--import``.

A config is data and may come with a checkpoint of somebody else: it names modules that this Python can import, never
paths or expressions, and each import is said in the log.
"""

import importlib
import logging
import os
import shlex
import sys
import traceback
from collections.abc import Iterable

from rle_onestage.errors import OWN_MODULES, ConfigError, shown
from rle_onestage.utils.near import near_file
from rle_onestage.utils.packaged_files import config_path

logger = logging.getLogger("rle_onestage")

KEY = "IMPORTS"


def import_modules(names: Iterable[str], config_file: str = "", *, missing_ok: bool = False) -> dict[str, str]:
    """Import modules, so that what they register is known.

    A module that lies beside the config file is found by ``PYTHONPATH`` alone, as any other: a folder that comes with
    weights of somebody else must not run code because its config is read.

    Args:
        names: dotted; those that were imported before are left alone.
        config_file: that names them, for messages.
        missing_ok: pass over modules that cannot be found.

    Returns:
        Of each module that was passed over, a sentence that says what is missing, and what to do.

    Raises:
        ConfigError: one cannot be found, or fails; says where.
    """
    missing = {}
    for name in names:
        OWN_MODULES.add(name)
        if name in sys.modules:
            continue
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{name}.".startswith(f"{error.name}."):
                missing[name] = (
                    f"{KEY} names the module {name}, which cannot be found (there is no {error.name}); "
                    f"{_remedy(name, config_file)}"
                )
                if not missing_ok:
                    raise ConfigError(missing[name]) from error
                continue
            raise _failed(name, error) from error
        except (Exception, SystemExit) as error:
            raise _failed(name, error) from error
        logger.info("Imported the module %s (%s), which %s names", name, where(name), KEY)
    return missing


def _remedy(name: str, config_file: str) -> str:
    """What makes a module known to Python: where it lies beside the config or in the working folder, the exact line."""
    place = name.replace(".", os.sep)
    folders = (os.path.dirname(config_path(config_file)) if config_file else ".", ".")
    for folder in folders:
        path = next((p for p in (f"{place}.py", place) if os.path.exists(os.path.join(folder, p))), None)
        if path:
            folder = os.path.abspath(folder)
            before = f"{os.pathsep}$PYTHONPATH" if os.environ.get("PYTHONPATH") else ""
            return (
                f"it is {os.path.join(folder, path)}: run export PYTHONPATH={shlex.quote(folder)}{before} first; "
                "trainings with this config need it too"
            )
    near = next(filter(None, (near_file(os.path.join(folder, f"{place}.py"), (".py",)) for folder in folders)), None)
    if near:
        return f"did you mean the module of {os.path.abspath(near)}?"
    return "install it, or add its folder to PYTHONPATH"


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
