"""What importing the package does beside giving its names."""

import subprocess
import sys

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
