"""pyarrow, which only the functions that read and write Parquet need: imported when it is asked for."""

from typing import Any

from ..errors import MissingPackageError

HOW_TO_INSTALL = "pip install 'rle-onestage[parquet]'"


def arrow() -> Any:
    """The module ``pyarrow``, with ``pyarrow.parquet`` loaded.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"pyarrow is not installed; run {HOW_TO_INSTALL}") from error
    return pyarrow
