"""The command: what is there, how soon it answers, and how it complains."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import rle_onestage
from rle_onestage import cli
from rle_onestage.cli import options, worst_images
from rle_onestage.predictor import PRECISIONS
from rle_onestage.utils import arguments
from rle_onestage.visualization.report import ORDERS

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
        (["demo", "--webcam", "--confidence-threshold", "30"], "0.3 for 30 percent"),
        (["demo"], "--input --video-input --webcam"),
        (["train", "--num-gpus", "two"], "--num-gpus: 'two' is not a whole number of 0 or more"),
        (["evaluate", "--num-machines", "0"], "--num-machines: '0' is not a whole number above 0"),
        (["calibrate", "--config-file", "C", "--fit-share", "1"], "--fit-share: '1' is not a number between 0 and 1"),
        (["calibrate", "--config-file", "C", "--resamples", "1.5"], "--resamples: '1.5' is not a whole number"),
        (["label-images", "--input", "a", "--sizes", "320", "inf"], "--sizes: 'inf' is not a whole number above 0"),
        (["label-errors", "--config-file", "C", "--number", "-2"], "--number: '-2' is not a whole number above 0"),
        (["visualize-data", "--num", "x"], "--num: 'x' is not a whole number above 0"),
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


def test_a_set_up_without_detectron2_is_one_sentence(monkeypatch, capsys):
    def missing():
        raise ImportError(options.HOW_TO_INSTALL)

    monkeypatch.setattr(options, "load", missing)
    with pytest.raises(SystemExit) as end:
        cli.main(["slim", "a.pth", "--output", "b.pth"])
    error = capsys.readouterr().err
    assert end.value.code == 2 and "rle-onestage install-detectron2" in error and error.count("\n") == 1
