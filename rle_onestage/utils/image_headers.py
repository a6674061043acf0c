"""What a file is by its first bytes, and how many pixels the header of an image declares."""

import contextlib
import io
import re
import struct
import threading
from typing import BinaryIO

from PIL import Image

from ..console import QuietWarnings

# What Pillow may open: formats of single images. Others that it knows run programs (EPS) or are no images.
PILLOW_FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "AVIF", "JPEG2000", "PPM", "SUN", "TGA", "PCX", "ICO",
    "SGI", "QOI", "PSD", "HEIF",
)  # fmt: skip
_MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "BMP": (b"BM",),
    "JPEG 2000": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    "HDR": (b"#?RADIANCE", b"#?RGBE"),
    "PAM": (b"P7\n",),
    "JPEG XL": (b"\0\0\0\x0cJXL ", b"\xff\x0a"),
    "a PDF document": (b"%PDF",),
    "PostScript": (b"%!PS",),
    "a ZIP archive": (b"PK\x03\x04",),
    "a gzip archive": (b"\x1f\x8b",),
    "a pointer of Git LFS": (b"version https://git-lfs",),
    "a video (Matroska or WebM)": (b"\x1a\x45\xdf\xa3",),
    "a video (MPEG)": (b"\0\0\1\xba", b"\0\0\1\xb3"),
    "a video (FLV)": (b"FLV\1",),
    "a video (Windows Media)": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",),
    "a video (Ogg)": (b"OggS",),
}
KINDS_OF_IMAGES = (
    "JPEG", "PNG", "GIF", "TIFF", "BMP", "WebP", "AVIF", "HEIC", "JPEG 2000", "JPEG XL", "HDR", "PAM", "SVG",
    "Canon's raw format",
)  # fmt: skip
_REMEDIES = {
    "HEIC": "it is HEIC, which needs another package: pip install pillow-heif",
    "AVIF": "it is AVIF, which this Pillow does not know: pip install 'pillow>=11.3'",
    "JPEG XL": "it is JPEG XL, which is not read; save it as JPEG or PNG",
    "SVG": "it is SVG, a drawing without pixels; save it as PNG",
    "a pointer of Git LFS": "it is a pointer of Git LFS, not the image; run 'git lfs pull'",
    "a web page": "it is a web page, not an image; a download went wrong",
}
_PLUGINS = {"HEIC": "HEIF", "AVIF": "AVIF"}  # Pillow's names
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_HEAD = 4096
# What it would say of damaged headers is said in a sentence of ours, or harmless.
_QUIET = QuietWarnings(module=r"PIL\.")
_PILLOW_LOCK = threading.Lock()


def kind_of_data(data: bytes) -> str:
    """What some bytes are: JPEG, PNG, WebP, AVIF, HEIC, ..., "a video (MP4)", "a web page"; empty if unknown."""
    for kind, starts in _MAGIC.items():
        if data.startswith(starts):
            return kind
    if data[:4] == b"RIFF":
        return {b"WEBP": "WebP", b"AVI ": "a video (AVI)"}.get(data[8:12], "")
    if data[4:8] == b"ftyp":
        return _kind_of_brands(data)
    if data[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "a video (QuickTime)"
    if len(data) >= 188 * 4 and all(data[188 * i] == 0x47 for i in range(4)):
        return "a video (MPEG transport stream)"
    start = data[:_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    return "SVG" if start.startswith((b"<svg", b"<?xml")) and b"<svg" in start else ""


def _kind_of_brands(data):
    """The kind of a file of ISO boxes, by its main brand and those that it also keeps to."""
    length = min(struct.unpack(">I", data[:4])[0], 256)
    brands = [data[8:12]] + [data[i : i + 4] for i in range(16, length, 4)]
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    if brands[0] in _HEIC_BRANDS:
        return "HEIC"
    return "Canon's raw format" if brands[0] == b"crx " else "a video (MP4)"


def why_not_read(kind: str) -> str:
    """A clause about a file of a kind that could not be decoded, with what to do."""
    if kind.startswith("a video"):
        return f"it is {kind}, not an image; the demo takes it with --video-input"
    if kind in _REMEDIES and _PLUGINS.get(kind) not in Image.OPEN:
        return _REMEDIES[kind]
    if kind.startswith(("a ", "Canon", "PostScript")):
        return f"it is {kind}, not an image that can be read"
    return f"it is damaged ({kind})" if kind else "it is damaged or not an image"


@contextlib.contextmanager
def opened_by_pillow(source: bytes | BinaryIO):
    """An image opened by Pillow, without a limit to its size: whoever decodes it has looked at that before.

    Args:
        source: the bytes, or the open file.

    Raises:
        Exception: whatever Pillow raises on damaged headers.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with _QUIET, _PILLOW_LOCK:  # the limit belongs to the whole process
        Image.init()  # all formats that there are; once
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file, formats=[f for f in PILLOW_FORMATS if f in Image.OPEN])
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image, _QUIET:
        yield image


def declared_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """Width and height as the header says, None where no header is understood.

    Where a file says them in two places, it is the larger one: decoders reserve memory by either.

    Args:
        data: the file. kind: of :func:`kind_of_data`.
    """
    sizes = []
    with contextlib.suppress(Exception), opened_by_pillow(data) as image:
        sizes.append(image.size)
    with contextlib.suppress(struct.error, IndexError):
        sizes += [size for size in _READERS.get(kind, lambda data: [])(data)]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _of_jpeg2000(data):
    """The size of the code stream; Pillow looks at the box around it."""
    place = data.find(b"\xff\x4f\xff\x51")
    if place >= 0:
        right, low, left, top = struct.unpack(">4I", data[place + 8 : place + 24])
        yield max(right - left, 0), max(low - top, 0)


def _of_tiff(data):
    """The size of the first directory; Pillow opens no TIFF of unusual samples."""
    order, big = ("<" if data[:2] == b"II" else ">"), data[2:4] in (b"+\0", b"\0+")
    place = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    number = struct.unpack_from(order + ("Q" if big else "H"), data, place)[0]
    first, step = place + (8 if big else 2), 20 if big else 12
    sides = {256: [0], 257: [0]}
    for entry in range(first, first + step * min(number, 4096), step):
        tag, form = struct.unpack_from(order + "HH", data, entry)
        if tag in sides:
            code = {3: "H", 4: "I", 16: "Q"}.get(form, "I")
            sides[tag].append(struct.unpack_from(order + code, data, entry + (12 if big else 8))[0])
    yield max(sides[256]), max(sides[257])


def _of_png(data):
    yield struct.unpack(">2I", data[16:24])


def _of_hdr(data):
    found = re.search(rb"[-+]([XY]) +(\d{1,9}) +[-+][XY] +(\d{1,9})\s", data[:_HEAD])
    if found:
        a, b = int(found.group(2)), int(found.group(3))
        yield (a, b) if found.group(1) == b"X" else (b, a)


def _of_pam(data):
    sides = [re.search(rb"%s +(\d{1,9})\s" % side, data[:_HEAD]) for side in (b"WIDTH", b"HEIGHT")]
    if all(sides):
        yield tuple(int(side.group(1)) for side in sides)


_READERS = {"JPEG 2000": _of_jpeg2000, "TIFF": _of_tiff, "PNG": _of_png, "HDR": _of_hdr, "PAM": _of_pam}
