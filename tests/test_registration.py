"""What importing the package does beside giving its names."""

import subprocess
import sys


def test_torch_says_nothing_of_the_anchors_of_detectron2():
    code = "import torch; {}torch.meshgrid(torch.ones(2), torch.ones(3))"
    for start, said in (("", True), ("import rle_onestage; rle_onestage.load(); ", False)):
        run = subprocess.run([sys.executable, "-c", code.format(start)], capture_output=True, text=True, timeout=240)
        assert run.returncode == 0 and ("torch.meshgrid" in run.stderr) == said
