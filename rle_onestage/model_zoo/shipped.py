"""Weights that come with the package, at addresses like ``rle-onestage://people.pth``."""

from pathlib import Path

from detectron2.utils.file_io import PathHandler, PathManager

PREFIX = "rle-onestage://"
FOLDER = Path(__file__).resolve().parents[1] / "checkpoints"


class _Shipped(PathHandler):
    def _get_supported_prefixes(self):
        return [PREFIX]

    def _get_local_path(self, path, force=False, **kwargs):
        file = FOLDER / path.removeprefix(PREFIX)
        if not file.is_file():
            there = ", ".join(sorted(each.name for each in FOLDER.glob("*.pth")))
            raise FileNotFoundError(f"this package comes with {there or 'none'}")
        return str(file)

    def _isfile(self, path, **kwargs):
        return (FOLDER / path.removeprefix(PREFIX)).is_file()

    _exists = _isfile

    def _open(self, path, mode="r", buffering=-1, **kwargs):
        return open(self._get_local_path(path), mode, buffering)


def register_shipped_weights():
    """Let Detectron2's ``PathManager``, and so every ``MODEL.WEIGHTS``, know the addresses."""
    PathManager.register_handler(_Shipped(), allow_override=True)
