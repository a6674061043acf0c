"""Captions in scripts that the usual font lacks: another font, or a warning, never silent boxes."""

import logging

import numpy as np
import pytest
from matplotlib import font_manager

from rle_onestage.utils import fonts
from rle_onestage.visualization import draw_text, strokes


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    monkeypatch.setattr(fonts, "_told", set())
    fonts._files.cache_clear()
    strokes._text_mask.cache_clear()
    yield
    fonts._files.cache_clear()
    strokes._text_mask.cache_clear()


def other_letter():
    """A letter that DejaVu Sans lacks and another font of matplotlib's has, and that font."""
    usual = fonts._letters_of(fonts.file_for(""))
    for file in fonts._files():
        for code in sorted(fonts._letters_of(file) - usual):
            if fonts._letters(chr(code)) and chr(code).isprintable():
                return chr(code), file
    pytest.skip("no other font on this machine")


def test_another_font_is_taken_where_the_usual_one_lacks_a_letter(caplog):
    letter, file = other_letter()
    assert ord(letter) in fonts._letters_of(fonts.file_for(letter)) and fonts.file_for("left eye") != file
    assert fonts.families_for(["left", letter])[0] == "DejaVu Sans" and len(fonts.families_for([letter])) == 2
    assert not caplog.records


def test_letters_that_no_font_has_are_said_once(caplog, monkeypatch):
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    canvas = np.zeros((40, 200, 3), np.uint8)
    with caplog.at_level(logging.WARNING):
        draw_text(canvas, "\u5de6\u773c 0.9", (2, 2), 16)
        draw_text(canvas, "\u5de6 0.8", (2, 2), 16)
        fonts.families_for(["\u773c"])
    (record,) = caplog.records
    assert "2 letters" in record.getMessage() and "\\u5de6\\u773c" in record.getMessage() and canvas.any()


def test_all_scripts_that_the_usual_font_has_stay_with_it(caplog):
    usual = fonts.file_for("")
    for text in ("left_eye", "\u0433\u043b\u0430\u0437", "\u03bc\u03ac\u03c4\u03b9", "o\u0301\u200d\ufe0f\n"):
        assert fonts.file_for(text) == usual
    assert not caplog.records


def test_text_stays_where_it_was_on_its_base_line():
    low, high = (strokes._text_mask(text, 20) for text in ("x", "X"))
    assert low.shape[0] == high.shape[0]
    assert np.flatnonzero(low.max(1) > 0.5)[-1] == np.flatnonzero(high.max(1) > 0.5)[-1]
