"""What the site's own extensions make of the config's source and of links."""

import sys

import pytest
from detectron2.config.defaults import _C
from doc_pages import ROOT

from rle_onestage.config import add_rle_onestage_config

sys.path.insert(0, str(ROOT / "docs" / "_ext"))

from config_reference import as_markdown, read_comments, reference  # noqa: E402
from repository_links import find_stand_ins, rewrite  # noqa: E402

SOURCE = """
def add(cfg):
    # Of the whole group.
    m = cfg.MODEL.OURS = CN()
    _more(m)
    cfg.TEST.LAST = 1  # behind


def _more(m):
    # In
    # two lines.
    m.FIRST = 0
    m.DEEP = CN()

    m.DEEP.BARE = 2
"""


def test_comments_of_a_config():
    comments = read_comments(SOURCE, "add")
    assert comments.order == ["MODEL.OURS", "MODEL.OURS.FIRST", "MODEL.OURS.DEEP", "MODEL.OURS.DEEP.BARE", "TEST.LAST"]
    assert comments.texts == {
        "MODEL.OURS": "Of the whole group.",
        "MODEL.OURS.FIRST": "In two lines.",
        "TEST.LAST": "behind",
    }


def test_comments_are_no_markup():
    assert as_markdown('A **b** of REFINE.STEPS, "p3" [0]') == r'A \*\*b\*\* of `REFINE.STEPS`, `"p3"` \[0\]'


def test_every_key_is_in_the_reference():
    ours, text = _C.clone(), reference()
    add_rle_onestage_config(ours)
    entry = "(config-model-rle-onestage-density)=\n\n`MODEL.RLE_ONESTAGE.DENSITY`\n: Default: `'rle'`."
    assert '| <a id="config-solver-max-iter"></a>`SOLVER.MAX_ITER` |' in text
    assert entry in text and "\n## Keys outside of groups\n" in text and "\n## \n" not in text
    for group in ("MODEL.RLE_ONESTAGE", "INPUT.POSE", "SOLVER.EMA"):
        node = ours
        for part in group.split("."):
            node = node[part]
        missing = [key for key in node if f"{group}.{key}" not in text]
        assert not missing, f"{group}: {missing}"


def test_registries_take_more_names_than_they_have():
    text = reference()
    assert "Value: one of `PoseMapper`, `GivenBoxesMapper`, or what a module of IMPORTS registers." in text
    assert "`TEST.AUG.ENABLED` | `False` | False, which alone is supported here |" in text


LINKS = {"projects/a/README.md": "docs/benchmarks/a.md"}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("[x](../projects/a/README.md#y)", "[x](benchmarks/a.md#y)"),
        ("[x](b.md) and ![y](y.jpg)", "[x](b.md) and ![y](y.jpg)"),
        ("[x](../tools/z.py)", "x (`tools/z.py`)"),
        ("[`tools/z.py`](../tools/z.py)", "`tools/z.py`"),
        ("[x](https://a.b/c)", "[x](https://a.b/c)"),
        ("```\n[x](../tools/z.py)\n```", "```\n[x](../tools/z.py)\n```"),
    ],
)
def test_links_of_a_page(text, expected):
    assert rewrite(text, file="docs/index.md", page="docs/index.md", stand_ins=LINKS) == expected


def test_links_of_a_file_that_is_a_page():
    text = "[x](../b/README.md) ![y](y.jpg) [z](../../docs/index.md)"
    shown = rewrite(text, file="projects/a/README.md", page="docs/benchmarks/a.md", stand_ins=LINKS, repository="H/")
    assert shown == "[x](H/projects/b/README.md) ![y](../../projects/a/y.jpg) [z](../index.md)"


def test_files_that_are_pages_exist():
    stand_ins = find_stand_ins(ROOT / "docs")
    assert "projects/speed/README.md" in stand_ins and all((ROOT / path).is_file() for path in stand_ins)
