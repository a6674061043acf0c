"""Tables as text: one layout for all that evaluation and calibration print."""

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate


def table_text(rows: Sequence[Sequence[Any]], headers: Sequence[str]) -> str:
    """A table for logs and terminals, which Markdown shows as one too.

    Args:
        rows: of text, whole numbers, fractions (two decimals) and None (an empty cell).
        headers: names of the columns.

    Returns:
        Its lines.
    """
    return tabulate(rows, headers=headers, tablefmt="pipe", floatfmt=".2f", numalign="right")
