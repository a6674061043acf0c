"""Small image files of every kind that is read."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image


def scene(width=48, height=36, seed=0):
    """A smooth BGR image."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def saved(name, image=None, mode="RGB", **options):
    """Bytes of an image in a format of Pillow, converted to a mode first."""
    image = scene() if image is None else image
    out = io.BytesIO()
    Image.fromarray(image[..., ::-1].copy()).convert(mode).save(out, name, **options)
    return out.getvalue()


def encoded(ending, image, *options):
    """Bytes of an image in a format of OpenCV."""
    good, data = cv2.imencode(ending, image, list(options))
    assert good
    return data.tobytes()


def turned(name="JPEG", orientation=6):
    """Bytes of an image that EXIF turns."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(name, exif=exif)


def samples():
    """Files by name: each format, with the modes, depths and compressions that are met."""
    deep, fractions = scene().astype(np.uint16) * 16, scene().astype(np.float32) / 255
    moving = [Image.fromarray(scene(seed=seed)) for seed in range(3)]
    files = {
        "rgb.png": saved("PNG"), "grey.png": saved("PNG", mode="L"), "palette.png": saved("PNG", mode="P"),
        "bit.png": saved("PNG", mode="1"), "alpha.png": saved("PNG", mode="RGBA"), "deep.png": encoded(".png", deep),
        "grey_alpha.png": saved("PNG", mode="LA"),
        "moving.png": saved("PNG", save_all=True, append_images=moving), "turned.png": turned("PNG"),
        "base.jpg": saved("JPEG"), "progressive.jpg": saved("JPEG", progressive=True), "turned.jpg": turned(),
        "grey.jpg": saved("JPEG", mode="L"), "cmyk.jpg": saved("JPEG", mode="CMYK"),
        "a.webp": saved("WEBP"), "lossless.webp": saved("WEBP", lossless=True),
        "alpha.webp": saved("WEBP", mode="RGBA"),
        "moving.webp": saved("WEBP", save_all=True, append_images=moving),
        "a.gif": saved("GIF"), "moving.gif": saved("GIF", save_all=True, append_images=moving),
        "raw.tif": saved("TIFF"), "lzw.tif": saved("TIFF", compression="tiff_lzw"),
        "zip.tif": saved("TIFF", compression="tiff_deflate"), "jpeg.tif": saved("TIFF", compression="jpeg"),
        "deep.tif": encoded(".tiff", deep), "float.tif": encoded(".tiff", fractions),
        "fax.tif": saved("TIFF", mode="1", compression="group4"), "cmyk.tif": saved("TIFF", mode="CMYK"),
        "pages.tif": saved("TIFF", save_all=True, append_images=moving), "big.tif": saved("TIFF", big_tiff=True),
        "a.bmp": saved("BMP"), "palette.bmp": saved("BMP", mode="P"), "bit.bmp": saved("BMP", mode="1"),
        "a.avif": saved("AVIF"), "a.jp2": saved("JPEG2000"), "code.j2k": saved("JPEG2000", no_jp2=True),
        "a.ppm": saved("PPM"), "grey.pgm": saved("PPM", mode="L"), "bit.pbm": saved("PPM", mode="1"),
        "a.tga": saved("TGA", compression="tga_rle"), "a.pcx": saved("PCX"), "a.ico": saved("ICO", sizes=[(48, 36)]),
        "a.hdr": encoded(".hdr", fractions), "a.ras": encoded(".sr", scene()), "a.pam": encoded(".pam", scene()),
    }  # fmt: skip
    return files


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(side, end=True, height=None):
    """A PNG of a hundred bytes that declares a size."""
    head = struct.pack(">IIBBBBB", side, side if height is None else height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + (chunk(b"IEND", b"") if end else b"")
    return b"\x89PNG\r\n\x1a\n" + parts
