"""What importing the package does beside giving its names."""

import importlib.util
import os
import subprocess
import sys

import pytest

# The copy warns, as torch alone does; a process warns once, so it is another one that imports the package.
CODE = """
import os, sys, torch
def ask():
    torch.meshgrid(torch.ones(2), torch.ones(3))
    print("|", file=sys.stderr, flush=True)
child = os.fork()
if child:
    os.waitpid(child, 0)
    import rle_onestage
    rle_onestage.load()
ask()
if not child:
    os._exit(0)
"""


def test_torch_says_nothing_of_the_anchors_of_detectron2():
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=240)
    alone, ours, _ = run.stderr.split("|")
    assert run.returncode == 0 and "torch.meshgrid" in alone and "torch.meshgrid" not in ours


@pytest.mark.parametrize("given, kept", [("module://matplotlib_inline.backend_inline", None), ("svg", "svg")])
def test_a_backend_of_the_notebook_that_started_the_process_is_not_needed(given, kept):
    # A module that is there can be a backend; matplotlib refuses the one of notebooks where that is not installed.
    code = "import os, rle_onestage, matplotlib; print(os.environ.get('MPLBACKEND'), matplotlib.rcParams['backend'])"
    environment = os.environ | {"MPLBACKEND": given}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    if kept or importlib.util.find_spec("matplotlib_inline") is None:
        assert run.stdout.split()[0] == str(kept)
