"""Image files of every kind: what is read, and the sentence about what is not."""

import os
import struct
import sys
import threading
import types

import cv2
import numpy as np
import pytest
from image_toys import encoded, png_of, saved, scene, turned
from PIL import Image

from rle_onestage.utils import bit_depth as depth
from rle_onestage.utils import image_decoding as decode
from rle_onestage.utils.decoded_arrays import as_colour_image
from rle_onestage.utils.images import UnreadableImage, image_size, read_image

HEIC = struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(400)


def written(tmp_path, data, name="a.jpg"):
    (tmp_path / name).write_bytes(data)
    return str(tmp_path / name)


@pytest.mark.parametrize(
    "data, sentence",
    [
        (HEIC, "it is HEIC, which needs another package: pip install pillow-heif"),
        (b"\0\0\0\x20ftypisom" + bytes(300), "it is a video (MP4), not an image; the demo takes it with --video-input"),
        (b"RIFF\0\0\0\0AVI LIST" + bytes(99), "it is a video (AVI)"),
        (b"\x1a\x45\xdf\xa3" + bytes(99), "it is a video (Matroska or WebM)"),
        ((b"\x47" + bytes(187)) * 5, "it is a video (MPEG transport stream)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "run 'git lfs pull'"),
        (b"\n<!DOCTYPE html><html>404</html>", "it is a web page"),
        (b'<?xml version="1.0"?><svg></svg>', "it is SVG"),
        (b"%PDF-1.4", "it is a PDF document, not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is PostScript, not an image"),
        (b"\xff\x0a" + bytes(50), "it is JPEG XL"),
        (b"no image at all", "it is damaged or not an image"),
        (b"", "the file is empty"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, data, sentence):
    with pytest.raises(UnreadableImage) as caught:
        read_image(written(tmp_path, data))
    assert sentence in str(caught.value)


def test_heic_is_read_where_its_package_is(tmp_path, monkeypatch):
    def register():
        Image.register_open("HEIF", lambda file, name: Image.new("RGB", (40, 30), (255, 0, 0)), lambda head: True)

    monkeypatch.setitem(sys.modules, "pillow_heif", types.SimpleNamespace(register_heif_opener=register))
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    image = read_image(written(tmp_path, HEIC))
    assert image.shape == (30, 40, 3) and image[5, 5].tolist() == [0, 0, 255]


def test_what_opencv_does_not_know_pillow_reads_and_turns_upright(tmp_path, monkeypatch):
    path = written(tmp_path, turned())
    expected = read_image(path)
    monkeypatch.setattr(decode, "_by_opencv", lambda data, colours: None)
    assert expected.shape == (48, 36, 3)
    assert np.abs(read_image(path).astype(int) - expected).mean() < 1
    sixteen = written(tmp_path, cv2.imencode(".png", scene()[..., 0].astype(np.uint16) * 257)[1].tobytes())
    assert np.abs(read_image(sixteen)[..., 1].astype(int) - scene()[..., 0]).max() <= 1


def pam(kind, channels):
    pixels = np.arange(4 * channels, dtype=np.uint8).reshape(2, 2, channels)
    return b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH %d\nMAXVAL 255\nTUPLTYPE %s\nENDHDR\n" % (channels, kind) + pixels.tobytes()


@pytest.mark.parametrize(
    "data, pixel",
    [
        (b"Pf\n2 2\n-1.0\n" + np.full(4, 0.2, "<f4").tobytes(), [51, 51, 51]),
        (b"PF\n2 2\n-1.0\n" + np.tile([0.2, 0.4, 0.6], 4).astype("<f4").tobytes(), [153, 102, 51]),
        (encoded(".tiff", np.full((2, 2), 0.2)), [51, 51, 51]),
        (encoded(".tiff", np.full((2, 2, 3), 0.2)), [51, 51, 51]),
        (pam(b"RGB", 3), [11, 10, 9]),
        (pam(b"RGB_ALPHA", 4), [14, 13, 12]),
        (pam(b"GRAYSCALE", 1), [3, 3, 3]),
        (pam(b"GRAYSCALE_ALPHA", 2), [6, 6, 6]),
    ],
    ids=["grey pfm", "pfm", "f64", "f64 colour", "pam", "pam opacity", "pam grey", "pam grey opacity"],
)
def test_every_kind_of_samples_becomes_a_colour_image(tmp_path, data, pixel):
    image = read_image(written(tmp_path, data))
    assert image.shape == (2, 2, 3) and image.dtype == np.uint8 and image[1, 1].tolist() == pixel


@pytest.mark.parametrize(
    "decoded, clause",
    [
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.zeros((2, 3, 4, 3), np.uint8), "no pixels"),
        (np.zeros((4, 4, 5), np.uint8), "5 channels"),
        (np.zeros((4, 4), np.complex64), "samples are of a kind"),
        (np.full((4, 4), np.nan, np.float32), "none of its samples is a finite number"),
        (np.full((4, 4, 3), np.inf), "none of its samples is a finite number"),
    ],
)
def test_what_is_no_colour_image_is_said(decoded, clause):
    with pytest.raises(ValueError, match=clause):
        as_colour_image(decoded)


def with_size(data, place, *size):
    """A file whose header declares another size than its pixels have."""
    return data[:place] + struct.pack(">HH", *size) + data[place + 4 :]


def test_a_header_that_the_data_cannot_bear_out_is_refused(tmp_path):
    """Decoders take a gigabyte for it, and fill it with grey."""
    small = saved("JPEG")
    for data in (
        with_size(small, small.index(b"\xff\xc0") + 5, 16000, 16000),
        png_of(16000),
    ):
        with pytest.raises(UnreadableImage, match="too few for the 16000 x 16000 pixels"):
            read_image(written(tmp_path, data))
    flat = np.full((3000, 3000, 3), 90, np.uint8)  # of few bytes, and whole
    for name, options in (("JPEG", {"quality": 5}), ("JPEG", {"progressive": True}), ("PNG", {"compress_level": 9})):
        assert read_image(written(tmp_path, saved(name, flat, **options))).shape == (3000, 3000, 3)


def test_sizes_that_no_image_has_are_said(tmp_path):
    with pytest.raises(UnreadableImage, match="a side of more than 1048576"):
        read_image(written(tmp_path, png_of(2**27, height=1)))
    with pytest.raises(UnreadableImage, match="declares 0 x 7 pixels"):
        read_image(written(tmp_path, png_of(0, height=7)))


def test_whatever_a_decoder_raises_is_said_of_the_image(tmp_path, monkeypatch):
    def broken(data, colours):
        raise IndexError("its table")

    monkeypatch.setattr(decode, "_by_opencv", broken)
    with pytest.raises(UnreadableImage, match="a.jpg cannot be used: it cannot be decoded .IndexError: its table."):
        read_image(written(tmp_path, saved("JPEG")))


def test_a_palette_that_is_missing_is_damage(tmp_path):
    data = saved("PNG", mode="P")
    place = data.index(b"PLTE") - 4
    end = place + 12 + struct.unpack_from(">I", data, place)[0]
    with pytest.raises(UnreadableImage, match="truncated or damaged"):
        read_image(written(tmp_path, data[:place] + data[end:]))


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_truncated_files_are_not_filled_with_something(tmp_path, name, part):
    data = saved(name)
    with pytest.raises(UnreadableImage, match="damaged"):
        read_image(written(tmp_path, data[: int(part * len(data))]))


@pytest.mark.parametrize("name, options", [("PNG", {}), ("TIFF", {"compression": "tiff_deflate"})])
def test_damage_that_a_checksum_tells(tmp_path, name, options):
    data = bytearray(saved(name, **options))
    for place in range(len(data) // 2, len(data) // 2 + 8):
        data[place] ^= 0x5A
    with pytest.raises(UnreadableImage, match="truncated or damaged"):
        read_image(written(tmp_path, bytes(data)))


def test_data_behind_the_end_of_a_jpeg_are_not_looked_at(tmp_path):
    """Telephones keep a clip there, cameras their raw data: any bytes, also those of markers."""
    data = saved("JPEG", scene(), quality=90, progressive=True)
    behind = b"\xff\xda\x00\x0c" * 1000 + saved("JPEG", scene(seed=1)) + b"\xff\xd9"
    assert np.array_equal(
        read_image(written(tmp_path, data + behind)), read_image(written(tmp_path, data, name="b.jpg"))
    )


def test_what_looks_like_scans_in_a_comment_is_none(tmp_path):
    data = saved("JPEG", scene())
    comment = b"\xff\xda" * 1000
    data = data[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + data[2:]
    assert read_image(written(tmp_path, data)).shape == (36, 48, 3)


def test_a_folder_is_named_and_its_descriptor_closed(tmp_path):
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for _ in range(3):
        with pytest.raises(UnreadableImage, match="it is a folder, not a file"):
            read_image(str(tmp_path))
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_a_small_file_of_a_thousand_scans_is_refused(tmp_path):
    data = saved("JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    scan = data[first : data.index(b"\xff", first + 2)]
    with pytest.raises(UnreadableImage, match="scans"):
        read_image(written(tmp_path, data[:first] + scan * 1000 + data[first:]))


@pytest.mark.parametrize(
    "data",
    [
        b"P7\nWIDTH 90000\nHEIGHT 90000\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n",
        b"P6 90000 90000 255\n",
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 90000 +X 90000\n",
        b"II*\0\x08\0\0\0\2\0"
        + struct.pack("<HHII", 256, 4, 1, 90000)
        + struct.pack("<HHII", 257, 4, 1, 90000)
        + bytes(9),
        saved("JPEG2000", no_jp2=True)[:8] + struct.pack(">2I", 90000, 90000) + saved("JPEG2000", no_jp2=True)[16:],
    ],
    ids=["pam", "ppm", "hdr", "tiff", "jpeg2000"],
)
def test_a_huge_size_is_refused_whatever_the_format(tmp_path, data):
    with pytest.raises(UnreadableImage, match="8100 million pixels|damaged"):
        read_image(written(tmp_path, data))
    assert "8100 million" in str(pytest.raises(decode.Undecodable, decode.decode_image, data, "a").value)


def test_the_size_of_the_code_stream_counts_not_that_of_the_box(tmp_path):
    data = saved("JPEG2000")
    place = data.index(b"\xff\x4f\xff\x51")
    with pytest.raises(UnreadableImage, match="8100 million pixels"):
        read_image(written(tmp_path, data[: place + 8] + struct.pack(">2I", 90000, 90000) + data[place + 16 :]))


def test_a_size_as_stored_names_exif(tmp_path):
    path = written(tmp_path, turned())
    assert read_image(path, 36, 48).shape == (48, 36, 3) and image_size(path) == (48, 36)
    with pytest.raises(UnreadableImage, match="EXIF orientation turns it to 36 x 48 .* says 48 x 36"):
        read_image(path, 48, 36)
    with pytest.raises(UnreadableImage, match="its size is 48 x 36 but the annotation file says 36 x 48"):
        read_image(written(tmp_path, saved("JPEG")), 36, 48)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_images_are_upright_in_every_format(tmp_path, name, orientation):
    expected = np.rot90(scene(), {3: 2, 6: -1, 8: 1}[orientation])
    path = written(tmp_path, turned(name, orientation))
    assert image_size(path) == expected.shape[:2]
    assert np.abs(read_image(path).astype(int) - expected).mean() < 8


def test_the_size_without_decoding_is_that_of_the_image(tmp_path):
    for name in ("JPEG", "WEBP", "AVIF", "GIF"):
        assert image_size(written(tmp_path, saved(name))) == (36, 48)
    pam = cv2.imencode(".pam", scene())[1].tobytes()  # Pillow does not know it
    assert image_size(written(tmp_path, pam)) == (36, 48)
    with pytest.raises(UnreadableImage, match="HEIC"):
        image_size(written(tmp_path, HEIC))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(UnreadableImage, match="it is a pipe, not a file|it is a folder, not a file"):
        read_image(str(tmp_path / "a.jpg"))
    with pytest.raises(UnreadableImage, match="cannot be opened"):
        read_image("a\0b")


def test_pillows_limit_is_as_it_was_and_opencvs_log_too(tmp_path):
    log = getattr(cv2.utils, "logging", cv2)  # there from 5.0 on
    level, limit = log.getLogLevel(), Image.MAX_IMAGE_PIXELS
    path = written(tmp_path, saved("GIF")[:-30])

    def read():
        for _ in range(20):
            with pytest.raises(UnreadableImage):
                read_image(path)

    threads = [threading.Thread(target=read) for _ in range(4)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert (log.getLogLevel(), Image.MAX_IMAGE_PIXELS) == (level, limit)


def test_opencv_says_nothing_of_its_own(tmp_path, capfd):
    with pytest.raises(UnreadableImage):
        read_image(written(tmp_path, saved("AVIF")[:-300]))
    assert capfd.readouterr() == ("", "")


def test_strips_of_a_deep_image_are_scaled_alike(monkeypatch):
    image = np.random.default_rng(0).integers(0, 4096, (50, 40, 3)).astype(np.uint16)
    whole = depth.as_eight_bits(image)
    monkeypatch.setattr(depth, "_STRIP", 7 * 120)
    assert (depth.as_eight_bits(image) == whole).all() and whole.max() == 255
    monkeypatch.setattr(depth, "_MOST_SORTED", 1000)
    assert (depth.as_eight_bits(image) == whole).all()
