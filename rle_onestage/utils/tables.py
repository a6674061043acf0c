"""Tables as text: one layout for all that is printed and logged."""

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate


def table_text(rows: Sequence[Sequence[Any]], headers: Sequence[str], *, left: int = 1) -> str:
    """A table for logs and terminals, which Markdown shows as one too.

    Args:
        rows: of text, whole numbers, fractions (two decimals) and None (an empty cell).
        headers: names of the columns.
        left: so many columns are aligned left, the others right.

    Returns:
        Its lines.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    align = ("left",) * left + ("right",) * (len(headers) - left)
    return tabulate(cells, headers=headers, tablefmt="pipe", disable_numparse=True, colalign=align if cells else None)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)
