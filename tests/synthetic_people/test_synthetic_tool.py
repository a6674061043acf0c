"""The command line of the synthetic people."""

import importlib.util
import os
import sys

import cv2
import pytest

TOOL = os.path.join(os.path.dirname(__file__), "..", "..", "datasets", "make_synthetic.py")


def run(monkeypatch, *arguments):
    spec = importlib.util.spec_from_file_location("make_synthetic", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [TOOL, *map(str, arguments)])
    module.main()


def test_it_makes_a_set_and_a_page(monkeypatch, tmp_path, capsys):
    small = ("--train", 1, "--val", 1, "--videos", 0, "--size", 96, 64, "--workers", 1)
    page = tmp_path / "page.png"
    run(monkeypatch, "--output", tmp_path / "set", *small, "--people", 1, 2, "--contact-sheet", page)
    assert "made 2 images and 0 videos" in capsys.readouterr().out
    assert cv2.imread(str(page)).shape[1] > 1000
    assert cv2.imread(str(tmp_path / "set" / "val" / "000000000001.jpg")).shape == (64, 96, 3)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--preset", "huge"), "quickstart"),
        (("--preset", "quickstar"), "mean quickstart?"),
        (("--workers", 0), "--workers"),
        (("--people", 5, 2), "MIN and MAX"),
    ],
)
def test_bad_arguments_are_one_sentence(monkeypatch, tmp_path, capsys, arguments, words):
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, "--output", tmp_path / "set", *arguments)
    lines = capsys.readouterr().err.strip().splitlines()
    assert caught.value.code == 2 and len(lines) == 1 and words in lines[0]
    assert not (tmp_path / "set").exists()


def test_a_page_of_an_unknown_kind_is_explained_before_the_work(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "--output", tmp_path / "set", "--contact-sheet", tmp_path / "page.xyz")
    assert ".jpg or .png" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
