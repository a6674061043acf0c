"""The README is short; what it shows runs (``tests/docs``)."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_readme_is_short_and_says_how_to_start():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert len(re.findall(r"!\[|<img", text)) == 1
    for heading in ("Install", "Two commands in a checkout", "Use it in Python", "Train", "Model zoo", "Read on"):
        assert f"\n## {heading}\n" in text
