"""Whatever the bytes of a shard are: its images and labels are read, or refused in one sentence, in bounded time."""

import importlib.util
import json

import pytest
from data_toys import toy_content, write_set
from fuzz_answers import bounded
from hypothesis import event, given
from hypothesis import strategies as st

from rle_onestage.data.coco.json_files import read_json
from rle_onestage.data.shards.writing import ShardSplit, write_shards
from rle_onestage.errors import PoseError
from rle_onestage.utils.images import read_image
from rle_onestage.utils.shards import index, parquet

NUMBERS = [b"\0", b"0", b"7", b"9", b"\xff", b"x", b"L", b"1", b"/", b" ", b"=", b"."]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A shard of each kind, as bytes, and the names of its images."""
    root = tmp_path_factory.mktemp("sound")
    content = toy_content(3)
    path, folder = write_set(str(root), content)
    made = {}
    for kind in ("tar", "parquet") if importlib.util.find_spec("pyarrow") else ("tar",):
        write_shards([ShardSplit("x", path, folder)], str(root / kind), kind=kind)
        names = [image["file_name"] for image in json.loads((root / kind / "x.json").read_text())["images"]]
        made[kind] = ((root / kind / f"x-00000.{kind}").read_bytes(), names)
    return made


@st.composite
def damage(draw):
    """Changes of bytes: (share of the file, or a place in its head or tail; what happens; with what)."""
    place = st.one_of(st.floats(0, 1), st.integers(0, 600), st.integers(-900, -1))
    what = st.sampled_from(["byte"] * 6 + ["cut", "insert", "remove"])
    return draw(st.lists(st.tuples(place, what, st.sampled_from(NUMBERS)), min_size=1, max_size=3))


def damaged(data, changes):
    data = bytearray(data)
    for place, what, byte in changes:
        at = round(place * len(data)) if isinstance(place, float) else place % max(1, len(data))
        if what == "byte":
            data[at : at + 1] = byte
        elif what == "cut":
            del data[at:]
        elif what == "insert":
            data[at:at] = byte * 40
        else:
            del data[at : at + 40]
    return bytes(data)


def one_sentence(read):
    """Call it; whether it was refused."""
    try:
        read()
    except PoseError as error:
        text = str(error)
        assert "x-00000" in text and len(text) < 1500 and "\n" not in text, text
        return True
    return False


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_damaged_shards(sound, tmp_path_factory, kind):
    if kind not in sound:
        pytest.skip("pyarrow is not installed")
    data, names = sound[kind]
    folder = tmp_path_factory.mktemp("damaged")

    @given(changes=damage())
    def try_one(changes):
        index._indexes.clear()
        parquet._opened.clear()
        parquet._groups.clear()
        shard = folder / f"x-00000.{kind}"
        shard.write_bytes(damaged(data, changes))
        with bounded():
            event("labels refused" if one_sentence(lambda: read_json(str(shard))) else "labels read")
            for name in names:
                one_sentence(lambda name=name: read_image(str(folder / name)))

    try_one()
