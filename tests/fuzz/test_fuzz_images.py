"""Whatever the bytes of an image are: it is read sensibly or refused in one sentence, in bounded time and memory.

How many mutations are tried: see ``conftest.py``.
"""

import functools
import re
import resource
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from image_toys import samples

from rle_onestage.utils.image_decoding import MOST_PIXELS
from rle_onestage.utils.images import UnreadableImage, read_image

SAMPLES = samples()
GROUPS = {
    "png": [".png"],
    "jpeg": [".jpg"],
    "webp": [".webp"],
    "gif": [".gif"],
    "tiff": [".tif"],
    "bmp": [".bmp"],
    "avif": [".avif"],
    "jpeg2000": [".jp2", ".j2k"],
    "others": [".ppm", ".pgm", ".pbm", ".tga", ".pcx", ".ico", ".hdr", ".ras", ".pam"],
}
SECONDS, MEGABYTES = 20, 1500
# Sizes, counts and offsets that go wrong: none, one, those about a limit of 16, 31 and 32 bits, and square roots.
NUMBERS = [0, 1, 2, 3, 7, 255, 256, 16384, 32767, 32768, 65535, 65536, 2**20, 2**28, 2**31 - 1, 2**31, 2**32 - 1]
HEAD = 256


def places(data):
    """A place in a file: most often in its head."""
    last = max(0, len(data) - 1)
    return st.one_of(st.integers(0, min(HEAD, last)), st.integers(0, min(HEAD, last)), st.integers(0, last))


@st.composite
def mutated(draw, names):
    """Bytes of a sample with one to four changes; the checksums of a PNG are often made right again."""
    data = bytearray(SAMPLES[draw(st.sampled_from(names))])
    for _ in range(draw(st.integers(1, 4))):
        change(draw, data)
    return remade(bytes(data)) if data[:4] == b"\x89PNG" and draw(st.integers(0, 3)) else bytes(data)


def change(draw, data):
    """Change some bytes in place."""
    place = draw(places(data))
    rare = ["cut", "insert", "remove", "copy", "other"]  # of these decoders see little
    how = draw(st.sampled_from(["byte"] * 6 + ["number"] * 6 + rare))
    if how == "byte":
        data[place : place + 1] = bytes([draw(st.integers(0, 255))])
    elif how == "number":
        form = draw(st.sampled_from([">H", "<H", ">I", "<I"]))
        size = struct.calcsize(form)
        data[place : place + size] = struct.pack(form, draw(st.sampled_from(NUMBERS)) % 256**size)
    elif how == "cut":
        del data[place:]
    elif how == "insert":
        data[place:place] = draw(st.binary(min_size=1, max_size=8))
    elif how == "remove":
        del data[place : place + draw(st.integers(1, 16))]
    elif how == "copy":  # a part again, such as a second header
        length = draw(st.integers(1, 64))
        data[place:place] = data[place : place + length]
    else:  # the beginning of one file, the end of another
        data[place:] = SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))][place:]


def remade(data):
    """A PNG with right checksums, so that what its chunks say is believed."""
    out, place = [data[:8]], 8
    while place + 12 <= len(data):
        length = struct.unpack_from(">I", data, place)[0]
        body = data[place + 4 : place + 8 + min(length, len(data))]
        out += [data[place : place + 4], body, struct.pack(">I", zlib.crc32(body))]
        place += 8 + length + 4
    return b"".join(out)


def peak():
    """The most megabytes that this process held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def check(path, data):
    path.write_bytes(data)
    begin, before = time.monotonic(), peak()
    try:
        image = read_image(str(path))
    except UnreadableImage as error:
        event("refused")
        sentence = str(error)
        assert "\n" not in sentence and 20 < len(sentence.replace(str(path), "")) < 300, sentence
        assert not re.search(r"0x[0-9a-f]{6}|Traceback|Error:|\(-\d+:", sentence), sentence
    else:
        event("read")
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.flags.c_contiguous
        assert 0 < image.shape[0] * image.shape[1] <= MOST_PIXELS
    assert time.monotonic() - begin < SECONDS and peak() - before < MEGABYTES


@functools.cache
def names_of(group):
    return tuple(name for name in sorted(SAMPLES) if name.endswith(tuple(GROUPS[group])))


@pytest.mark.parametrize("group", GROUPS)
def test_mutated_images(tmp_path, group):
    @given(mutated(names_of(group)))
    def mutations(data):
        check(tmp_path / "image", data)

    mutations()


@given(st.binary(max_size=512))
def test_any_bytes(tmp_path_factory, data):
    check(tmp_path_factory.getbasetemp() / "image", data)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_sample_is_read(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(SAMPLES[name])
    image = read_image(str(path))
    assert image.shape == ((48, 36, 3) if name.startswith("turned") else (36, 48, 3)) and image.std() > 15
