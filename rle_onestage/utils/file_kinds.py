"""What a file is by its first bytes, where somebody took it for a checkpoint. Imports nothing that takes seconds."""

import zipfile

from ..errors import CheckpointError

_STARTS = (
    (b"\xff\xd8\xff", "an image"),
    (b"\x89PNG\r\n", "an image"),
    (b"GIF8", "an image"),
    (b"BM", "an image"),
    (b"II*\x00", "an image"),
    (b"MM\x00*", "an image"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"%PDF", "a PDF file"),
    (b"\x1f\x8b", "a packed file, to be unpacked first"),
)
_OF_RIFF = {b"WEBP": "an image", b"AVI ": "a video"}


def foreign_kind(path: str) -> str:
    """What a file is that is no checkpoint, in words; "" where its beginning does not say.

    Args:
        path: of a readable file.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        start = file.read(4096)
    if not start:
        return "an empty file"
    if start[:4] == b"RIFF" and start[8:12] in _OF_RIFF:
        return _OF_RIFF[start[8:12]]
    if start[4:8] == b"ftyp":
        return "an image" if start[8:12] in (b"avif", b"heic", b"mif1") else "a video"
    if start[:4] == b"PK\x03\x04":
        return "" if _is_of_torch(path) else "an archive without weights in it"
    if kind := next((kind for begin, kind in _STARTS if start.startswith(begin)), ""):
        return kind
    text = start.decode("utf-8", "ignore")
    if len(text.encode()) < len(start) - 3 or not all(letter.isprintable() or letter in "\r\n\t" for letter in text):
        return ""
    return "a JSON file" if text.lstrip()[:1] in ("{", "[") else "a text file"


def refuse_foreign_kind(path: str) -> None:
    """Raises CheckpointError for a file that :func:`foreign_kind` knows."""
    if kind := foreign_kind(path):
        raise CheckpointError(f"checkpoint {path} is {kind}; name a file of weights, such as model_final.pth")


def _is_of_torch(path: str) -> bool:
    """Whether an archive has what ``torch.save`` writes; a damaged one may have had."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return True
