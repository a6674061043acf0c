#!/usr/bin/env python
"""Say what the quick start has made, whether it went well, and where to go on."""

import json
import os
import sys
from pathlib import Path

# Keypoint AP of the training on two processes and on one, as docs/getting_started.md has it.
USUAL = (35.0, 38.0)


def summary(folder: Path) -> str:
    """The lines that ``make quickstart`` ends with.

    Args:
        folder: ``output/quickstart``, with the ``metrics.json`` of the training.
    """
    ap = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["keypoints"]["AP"]
    low, high = USUAL
    verdict = "as it should be" if low <= ap <= high else f"which is unusual: {low:g} to {high:g} was expected"
    return f"""
The quick start is done. It ends at {ap:.1f} AP on unseen synthetic images, {verdict}.

  {folder}/people               people in photographs and in a clip, found by the weights that come along
  {folder}/pictures, video.mp4  people in synthetic images and in a clip, found by the model that was trained here
  {folder}/model_final.pth      the weights of that model, with config.yaml; metrics.json has all metrics

Your own images:  {os.path.relpath(sys.prefix)}/bin/rle-onestage demo --input a.jpg --output out
Your own joints:  docs/own_joints.md; all pages: README.md
"""


if __name__ == "__main__":
    print(summary(Path(sys.argv[1])))
