"""Weights that come with the package, at addresses like ``rle-onestage://people.pth``."""

from typing import IO, Any

from detectron2.utils.file_io import PathHandler, PathManager

from rle_onestage.utils.near import did_you_mean
from rle_onestage.utils.packaged_files import CHECKPOINTS
from rle_onestage.utils.packaged_files import SHIPPED as PREFIX


class _Shipped(PathHandler):
    def _get_supported_prefixes(self) -> list[str]:
        return [PREFIX]

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        file = CHECKPOINTS / path.removeprefix(PREFIX)
        if not file.is_file():
            there = sorted(each.name for each in CHECKPOINTS.glob("*.pth"))
            hint = did_you_mean(file.name, there)
            raise FileNotFoundError(f"{hint}{' ' * bool(hint)}this package comes with {', '.join(there) or 'none'}")
        return str(file)

    def _isfile(self, path: str, **kwargs: Any) -> bool:
        return (CHECKPOINTS / path.removeprefix(PREFIX)).is_file()

    _exists = _isfile

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs: Any) -> IO[Any]:
        return open(self._get_local_path(path), mode, buffering)


def register_shipped_weights() -> None:
    """Let Detectron2's ``PathManager``, and so every ``MODEL.WEIGHTS``, know the addresses."""
    PathManager.register_handler(_Shipped(), allow_override=True)
