"""Images of more than 8 bits, and images that declare a huge size."""

import logging

import cv2
import numpy as np
import pytest
from image_toys import png_of

from rle_onestage.utils import bit_depth as depth
from rle_onestage.utils.images import UnreadableImage, read_image


def ramp(bits):
    """An image that goes from black to white in so many bits."""
    row = np.linspace(0, 2**bits - 1, 256).round().astype(np.uint16)
    return np.repeat(row[None, :, None], 40, 0).repeat(3, 2)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_the_depth_of_the_data_decides_not_that_of_the_file(tmp_path, bits, ending):
    path = str(tmp_path / f"a{ending}")
    cv2.imwrite(path, ramp(bits))
    image = read_image(path)
    assert image.dtype == np.uint8 and np.abs(image[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_grey_twelve_bits_with_a_stuck_pixel_are_not_black(tmp_path):
    grey = ramp(12)[:, :, 0]
    grey[3, 3] = 65535
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, grey)
    image = read_image(path)
    assert image.shape == (40, 256, 3) and image[0, -1].tolist() == [255] * 3 and image[3, 3].tolist() == [255] * 3


def test_how_it_was_decided_is_said_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(depth, "_told", set())
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), ramp(12))
    with caplog.at_level(logging.WARNING):
        for name in ("a.png", "b.png"):
            read_image(str(tmp_path / name))
    (record,) = caplog.records
    assert "a.png has 16 bits a sample" in record.getMessage() and "read as 12-bit data" in record.getMessage()
    assert "at most 4095" in record.getMessage()


def test_fractions_and_black():
    values = np.array([[[0.0, 0.5, 1.0], [np.nan, -1.0, np.inf]]], np.float32)
    assert depth.as_eight_bits(values).tolist() == [[[0, 128, 255], [0, 0, 0]]]
    assert depth.as_eight_bits(np.array([[[0.0, 510.0, 1023.0]]], np.float32)).tolist() == [[[0, 127, 255]]]
    assert not depth.as_eight_bits(np.zeros((2, 2, 3), np.uint16)).any()


@pytest.mark.parametrize("side, end", [(100_000, True), (100_000, False), (20_000, True), (20_000, False)])
def test_a_huge_declared_size_is_one_sentence(tmp_path, side, end):
    path = tmp_path / "a.png"
    path.write_bytes(png_of(side, end))
    with pytest.raises(UnreadableImage, match=f"declares {side * side // 10**6} million pixels"):
        read_image(str(path))


def test_a_truncated_image_below_the_limit_is_one_sentence(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_of(14_000, end=False))  # Pillow alone calls this a bomb
    with pytest.raises(UnreadableImage, match="truncated"):
        read_image(str(path))


def test_all_channels_of_a_large_image_are_looked_at(monkeypatch):
    """A choice of every third value would be of one channel alone."""
    image = np.zeros((40, 60, 3), np.uint16) + np.array([900, 2500, 4000], np.uint16)
    monkeypatch.setattr(depth, "_MOST_SORTED", image.size // 3)
    assert depth.as_eight_bits(image)[0, 0].tolist() == [round(value * 255 / 4095) for value in (900, 2500, 4000)]


def test_bmp_and_tiff_with_damaged_headers_are_one_sentence(tmp_path):
    for ending in (".bmp", ".tiff", ".jpg"):
        data = bytearray(cv2.imencode(ending, np.zeros((20, 30, 3), np.uint8))[1].tobytes())
        rng = np.random.default_rng(0)
        for trial in range(30):
            broken = bytearray(data)
            for place in rng.integers(2, min(len(data), 200), 6):
                broken[place] = rng.integers(256)
            path = tmp_path / f"a{trial}{ending}"
            path.write_bytes(bytes(broken))
            try:
                assert read_image(str(path)).dtype == np.uint8
            except UnreadableImage as error:
                assert "\n" not in error.reason
