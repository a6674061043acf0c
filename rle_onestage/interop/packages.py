"""Packages that are extras: imported when they are needed."""

import importlib
from typing import Any

from ..errors import MissingPackageError


def optional_package(name: str, remedy: str) -> Any:
    """Import a package that may not be installed.

    Args:
        name: of the module.
        remedy: the command that installs it.

    Returns:
        the module.

    Raises:
        MissingPackageError: it is not installed, or something that it needs is not.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package, missing = name.split(".")[0], error.name or ""
        if missing == package:
            raise MissingPackageError(f"{package} is not installed; run {remedy}") from None
        if missing.split(".")[0] == package:
            raise MissingPackageError(f"this version of {package} has no {missing}; upgrade it ({remedy})") from error
        what = f"needs {missing}, which is not installed" if missing else f"cannot be imported ({error})"
        raise MissingPackageError(f"{package} {what}; run {remedy}") from error
