#!/usr/bin/env python3
"""Train or evaluate as tools/train_net.py does, the two-stage baseline too.

python projects/loss_comparison/train_net.py --config-file projects/loss_comparison/configs/keypoint_rcnn_synthetic.yaml
"""

import runpy
from pathlib import Path

import loss_comparison  # noqa: F401 -- registers Float32ROIHeads

TOOL = Path(__file__).resolve().parents[2] / "tools" / "train_net.py"

if __name__ == "__main__":
    runpy.run_path(str(TOOL), run_name="__main__")
