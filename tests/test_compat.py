"""Bridges to Detectron2 and torch."""

import subprocess
import sys


def test_torch_says_nothing_of_the_anchors_of_detectron2():
    code = "import torch; from rle_onestage.compat import hush_meshgrid; {}torch.meshgrid(torch.ones(2), torch.ones(3))"
    for call, said in (("", True), ("hush_meshgrid(); ", False)):
        run = subprocess.run([sys.executable, "-c", code.format(call)], capture_output=True, text=True, timeout=120)
        assert run.returncode == 0 and ("indexing" in run.stderr) == said
