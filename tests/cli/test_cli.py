"""The command: what is there, how soon it answers, and how it complains."""

import argparse
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import rle_onestage
from rle_onestage import cli, compat
from rle_onestage.cli import options, worst_images
from rle_onestage.predictor import PRECISIONS
from rle_onestage.utils import arguments
from rle_onestage.visualization.results_page import ORDERS

ROOT = Path(__file__).resolve().parents[2]
QUICK = [[], ["--help"], ["--version"], ["demo", "--help"], ["slim", "--help"], ["install-detectron2", "--help"]]


def answer(*words):
    """What a process of the command says, and the heavy modules that it imported."""
    code = (
        "import sys; sys.argv[0] = 'rle-onestage'\n"
        "from rle_onestage.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print('imported', *{'torch', 'numpy', 'cv2', 'detectron2'} & set(sys.modules), file=sys.stderr)"
    )
    return subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True)


def test_without_a_command_they_are_listed(capsys):
    assert cli.main([]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n  {name} " in listed for name in cli.COMMANDS) and "example" in listed
    assert cli.main(["--version"]) == 0 and rle_onestage.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_help_imports_nothing_that_takes_seconds(words):
    done = answer(*words)
    assert done.returncode == 0 and done.stdout and done.stderr.split() == ["imported"]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_shows_an_example(name, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0 and text.startswith(f"usage: rle-onestage {name} ") and f"\nrle-onestage {name}" in text


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["trian"], "there is no command 'trian'; did you mean train?"),
        (["demo", "--input", "a.jpg", "--batch", "0"], "--batch: '0' is not a whole number above 0"),
        (["demo", "--webcam", "--fps", "nan"], "--fps: 'nan' is not a number above 0"),
        (["demo", "--webcam", "--lag", "-1", "--smooth"], "--lag: '-1' is not a whole number of 0 or more"),
        (["demo", "--webcam", "--lag", "3"], "--lag 3 needs --smooth"),
        (["demo", "--input", "a.jpg", "--track", "--smooth"], "--track is for videos, and --input takes single images"),
        (["demo", "--input", "a.jpg", "--lag", "0"], "--lag is for videos"),
        (["demo", "--input", "a.jpg", "--fps", "9"], "--fps is for videos"),
        (["demo", "--input", "a.jpg", "--legend"], "--legend is for videos"),
        (["demo", "--webcam", "--confidence-threshold", "30"], "0.3 for 30 percent"),
        (["demo"], "--input --video-input --webcam"),
        (["train", "--num-gpus", "two"], "--num-gpus: 'two' is not a whole number of 0 or more"),
        (["evaluate", "--num-machines", "0"], "--num-machines: '0' is not a whole number above 0"),
        (["calibrate", "--config-file", "C", "--fit-share", "1"], "--fit-share: '1' is not a number between 0 and 1"),
        (["calibrate", "--config-file", "C", "--resamples", "1.5"], "--resamples: '1.5' is not a whole number"),
        (["label-images", "--input", "a", "--sizes", "320", "inf"], "--sizes: 'inf' is not a whole number above 0"),
        (["label-errors", "--config-file", "C", "--number", "-2"], "--number: '-2' is not a whole number above 0"),
        (["visualize-data", "--number", "x"], "--number/--num: 'x' is not a whole number above 0"),
        (["score-results", "--annotations", "a", "--sigmas", "0.1", "inf"], "'inf' is not a number above 0"),
        (["worst-images", "--config-file", "C", "--output", "o", "--columns", "0"], "--columns: '0' is not a whole"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_complaints_are_one_sentence(words, sentence, capsys):
    try:
        code = cli.main(words)
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert code == 2 and sentence in error and error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize("kind", [arguments.positive_int, arguments.natural_int])
def test_whole_numbers_have_an_end(kind):
    with pytest.raises(argparse.ArgumentTypeError, match="^'10+[.]{3}' is too large$"):
        kind(f"1{'0' * 99}")


def test_tools_of_the_checkout_import_nothing_that_takes_seconds():
    """So that their help comes at once, and Ctrl-C while the rest is imported is a word."""
    tool = str(ROOT / "tools" / "train_net.py")
    code = f"import sys; sys.argv[0] = {tool!r}; import runpy; runpy.run_path({tool!r}); "
    code += "print({'torch', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


@pytest.fixture
def small(tmp_path):
    """A checkpoint of three joints."""
    path = tmp_path / "m.pth"
    torch.save({"model": {"head.presence.bias": torch.zeros(3)}, "iteration": 1, "optimizer": {}}, path)
    return path


@pytest.mark.parametrize(
    "output, sentence",
    [
        (".", "it is a folder); give a file with --output"),
        ("", "it is no name of a file; name a file with --output"),
        ("/dev/null", "it is a device); give a file with --output"),
    ],
)
@pytest.mark.parametrize("command", ["slim", "worst-images"])
def test_outputs_that_cannot_be_written_are_found_before_the_work(
    command, output, sentence, small, monkeypatch, capsys
):
    monkeypatch.chdir(small.parent)
    words = [str(small)] if command == "slim" else ["--config-file", "none.yaml"]
    with pytest.raises(SystemExit) as end:
        cli.main([command, *words, "--output", output])
    error = capsys.readouterr().err
    assert end.value.code == 2 and sentence in error and error.count("\n") == 1


def test_slim_makes_no_folder(small, capsys):
    with pytest.raises(SystemExit):
        cli.main(["slim", str(small), "--output", str(small.parent / "gone" / "x.pth")])
    assert f"there is no folder {small.parent / 'gone'}; make it, or change --output" in capsys.readouterr().err


@pytest.mark.parametrize(
    "names, sentence",
    [
        ("a", "--joints has 1 names, but "),
        ("a,b,a", "'a' is there twice"),
        ("a,,b", "'' is no name"),
        ("", "'' is no name"),
        (f"a,b,{'c' * 10_000}", "...' is no name"),
    ],
)
def test_names_of_joints_that_do_not_fit(names, sentence, small, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["slim", str(small), "--output", str(tmp_path / "s.pth"), "--joints", names])
    error = capsys.readouterr().err
    assert end.value.code == 2 and len(error) < 500 and not (tmp_path / "s.pth").exists()
    assert sentence in error or "is no name; give a name of up to 100 letters" in error and len(names) > 1000


def test_choices_are_those_of_the_package():
    """They stand in the command line too, because the package takes seconds to import."""
    assert options.PRECISIONS == tuple(PRECISIONS) and worst_images.ORDERS == ORDERS


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "", "x", "1_0x"])
def test_no_kind_of_number_takes_what_is_none(text):
    kinds = ("positive_int", "natural_int", "positive_float", "natural_float", "share", "number")
    for kind in kinds:
        with pytest.raises(arguments.argparse.ArgumentTypeError, match="is not a"):
            getattr(arguments, kind)(text)


@pytest.mark.parametrize("name", ["train_net", "demo", "score_results", "slim_checkpoint"])
def test_the_old_tools_are_the_commands(name):
    tool = runpy.run_path(str(ROOT / "tools" / f"{name}.py"))
    assert tool["main"].__module__.startswith("rle_onestage.cli.")


def test_a_set_up_without_detectron2_is_one_sentence(small, monkeypatch, capsys):
    def missing():
        raise ImportError(compat.HOW_TO_INSTALL)

    monkeypatch.setattr(options, "load", missing)
    with pytest.raises(SystemExit) as end:
        cli.main(["slim", str(small), "--output", "b.pth"])
    error = capsys.readouterr().err
    assert end.value.code == 2 and "rle-onestage install-detectron2" in error and error.count("\n") == 1
