"""Every command of the documentation is one that the real parsers take, with configs that load."""

import argparse
import importlib.util
import re
import runpy
import sys

import pytest
from doc_pages import ROOT, blocks, commands, pages

from rle_onestage import __version__, load_config
from rle_onestage.cli import main as rle_onestage

# What belongs to the shell or to others, and has nothing of ours in it.
FOREIGN = {
    "export",
    "source",
    "peer/bin/yolo",
    "cd",
    "cp",
    "mkdir",
    "npm",
    "tar",
    "git",
    "sbatch",
    "kubectl",
    "tritonserver",
    "ovms",
}
COMMANDS = [
    pytest.param(command, id=f"{page.relative_to(ROOT)}: {' '.join(command)[:90]}")
    for page in pages()
    for block in blocks(page, "sh")
    for command in commands(block)
]


class Parsed(BaseException):
    """A command line was read; what it asks for is not done."""

    def __init__(self, arguments):
        super().__init__()
        self.arguments = arguments


@pytest.fixture
def parsers_stop(monkeypatch):
    """Make every parser stop the program when it has read the command line."""
    for name in ("parse_args", "parse_intermixed_args"):
        original = getattr(argparse.ArgumentParser, name)

        def read(self, *args, _original=original, **kwargs):
            raise Parsed(_original(self, *args, **kwargs))

        monkeypatch.setattr(argparse.ArgumentParser, name, read)
    # What train and evaluate look at before they have a parser: the pages name files that a reader would have.
    monkeypatch.setattr("rle_onestage.cli.train.check_words", lambda words: None)


def read_by_script(words, monkeypatch):
    """Give the words behind a script's path to the script, and its parsed command line."""
    script = ROOT / words[0]
    if "import supervision" in script.read_text(encoding="utf-8"):
        pytest.importorskip("supervision", reason="the extra supervision is not installed")
    monkeypatch.setattr(sys, "argv", [str(script), *words[1:]])
    monkeypatch.syspath_prepend(str(script.parent))
    with pytest.raises(Parsed) as stopped:
        runpy.run_path(str(script), run_name="__main__")
    return stopped.value.arguments


def check_config(arguments):
    """The config of a command line loads with its options. The quick start's takes the place of a run's, and of C."""
    options = [*(getattr(arguments, "opts", None) or []), *(getattr(arguments, "options", None) or [])]
    if not hasattr(arguments, "config_file") or options[:1] == ["OPTIONS"]:
        return
    file = arguments.config_file
    if file and not re.fullmatch(r"[A-Z]|output/.*|[a-z_]+\.yaml", file):
        load_config(file, options)
    else:
        load_config("configs/quickstart.yaml", options)


def check_make(words):
    """The targets that ``make`` is asked for exist."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        assert "=" in word or re.search(rf"^{word}:", makefile, re.M), f"no target {word}"


def check_pip(words):
    """Extras of this package that are asked for exist, and a wheel is of this version."""
    metadata = (ROOT / "pyproject.toml").read_text()
    assert set(re.findall(r"rle_onestage-([\d.]+)-py3", " ".join(words))) <= {__version__}
    for extra in re.findall(r"rle.onestage[^\[\s]*\[([\w-]+)\]", " ".join(words)):
        assert re.search(rf"^\s*\"?{extra}\"?\s*[:=]", metadata, re.M), f"no extra {extra}"


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, parsers_stop, monkeypatch):
    monkeypatch.chdir(ROOT)
    program, words = command[0], command[1:]
    if program == "rle-onestage":
        if words in (["--help"], ["--version"]):
            return
        with pytest.raises(Parsed) as stopped:
            rle_onestage(words)
        check_config(stopped.value.arguments)
    elif program == "torchrun":
        script = next(place for place, word in enumerate(words) if word.endswith(".py"))
        check_config(read_by_script(words[script:], monkeypatch))
    elif program.rpartition("/")[2] == "python" and words[0] == "-m":
        assert importlib.util.find_spec(words[1]) or words[1] == "sphinx", f"no module {words[1]}"
    elif program.rpartition("/")[2] == "python":
        check_config(read_by_script(words, monkeypatch))
    elif program == "make":
        check_make(words)
    elif program.rpartition("/")[2] == "pip":
        check_pip(words)
    else:
        assert program in FOREIGN, f"say in this test how {program} is checked"


def test_a_wrong_command_is_seen(parsers_stop, monkeypatch):
    with pytest.raises(SystemExit):
        rle_onestage(["demo", "--inputs", "a.jpg", "--no-such-flag"])
    with pytest.raises(AssertionError, match="no target"):
        check_make(["no-such-target"])
    with pytest.raises(AssertionError, match="no extra"):
        check_pip(["install", "rle-onestage[no-such-extra]"])


@pytest.mark.parametrize(
    "block, expected",
    [
        ("A=1 python x.py  # why\nmake test VENV=", [["python", "x.py"], ["make", "test", "VENV="]]),
        ("for n in a b; do\n    x \\\n        '(1, 2)'\ndone", [["x", "(1, 2)"]]),
        ("(cd a && b > c)", [["cd", "a"], ["b"]]),
        ('A="--b 1\n  --c 2"\nx $A', [["x", "--b", "1", "--c", "2"]]),
    ],
)
def test_how_commands_are_read(block, expected):
    assert list(commands(block)) == expected
