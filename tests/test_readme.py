"""The README's Python runs as it stands."""

import re
from pathlib import Path

import numpy as np

from rle_onestage.video.io import VideoWriter

ROOT = Path(__file__).resolve().parent.parent


def test_the_loop_over_a_video_runs(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    (loop,) = [block for block in blocks if "PoseTracker" in block]
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    with VideoWriter("clip.mp4", 25.0) as video:
        for shade in range(4):
            video.write(np.full((120, 160, 3), 60 * shade, np.uint8))
    exec(compile(loop, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[1].startswith("0.04 ") and "[0, 17, 3]" in lines[1]
