"""Tables as text."""

import math

from rle_onestage.utils.tables import table_text


def test_cells_by_their_kind_in_one_layout():
    rows = [["a", 3, 2 / 3, "1 to 2"], ["longer", None, math.nan, ""]]
    head, line, first, second = table_text(rows, ["", "n", "x", "range"]).split("\n")
    cells = [[cell.strip() for cell in text.split("|")[1:-1]] for text in (head, first, second)]
    assert cells == [["", "n", "x", "range"], ["a", "3", "0.67", "1 to 2"], ["longer", "", "nan", ""]]
    assert len({len(text) for text in (head, line, first, second)}) == 1
    assert [part.endswith(":") for part in line.split("|")[1:-1]] == [False, True, True, True]
    assert table_text([], ["", "n"])


def test_several_columns_may_be_left():
    line = table_text([["a", "b", 1.5]], ["", "", "x"], left=2).split("\n")[1]
    assert [part.endswith(":") for part in line.split("|")[1:-1]] == [False, False, True]
