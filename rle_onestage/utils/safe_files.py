"""Weights that are written whole or not at all, and read without running code.

All files are written by :mod:`.output_files`, whose functions for files of text can also be imported from here.
"""

import os
import pickle
import socket
import struct
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, ClassVar

import torch
from detectron2.utils.file_io import PathManager

from rle_onestage.errors import CheckpointError, shown
from rle_onestage.utils.near import WEIGHT_FILES, remedy_for, what_is_wrong
from rle_onestage.utils.output_files import remove_unfinished, replaced_when_done, write_text
from rle_onestage.utils.pickled_arrays import STAND_INS, NumberArray, NumberType
from rle_onestage.utils.pretrained import first_line, read_pth

__all__ = [
    "CHECK_OUTPUT_DIR", "local_path", "read_pkl", "read_pth", "remove_unfinished", "replaced_when_done", "save_tensors",
    "write_text",
]  # fmt: skip

# The remedy for files of a training, whose folder is a config key.
CHECK_OUTPUT_DIR = "check OUTPUT_DIR and the space left"
DOWNLOAD_TIMEOUT = 30.0  # seconds without an answer


def save_tensors(path: str, content: Any) -> None:
    """Write tensors and primitives atomically, so that a crash leaves either the old file or the new one.

    Args:
        path: of the file.
        content: what ``torch.save`` takes.

    Raises:
        CheckpointError: it cannot be written, e.g. because the disk is full.
    """
    try:
        with replaced_when_done(path) as temporary, open(temporary, "wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise CheckpointError(
            f"checkpoint {path} cannot be written ({reason}); check that folder and the space left on the disk"
        ) from error


def local_path(address: str, check: str = "check MODEL.WEIGHTS") -> str:
    """The local file of a path or an address; what is not on this machine is downloaded.

    Args:
        address: a path, ``detectron2://``, ``https://`` or ``rle-onestage://``.
        check: what to look at where there is no such file.

    Returns:
        Its path on this machine.

    Raises:
        CheckpointError: there is no such file, or the address cannot be reached.
    """
    remote = "://" in address
    if not remote:
        if wrong := what_is_wrong(address):
            remedy = remedy_for(address, check, WEIGHT_FILES)
            raise CheckpointError(f"checkpoint {address} {wrong}; {remedy}")
        return address
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        path = PathManager.get_local_path(address)
        if not os.path.isfile(path):
            raise FileNotFoundError(f"there is no {path}, or nobody here knows such addresses")
        return path
    except (OSError, AssertionError, ValueError, HTTPException) as error:
        raise CheckpointError(
            f"weights {address} cannot be had ({first_line(error)}); without a network set MODEL.WEIGHTS to a file "
            'that you downloaded elsewhere, or, where nothing is frozen, to "" to start from random weights'
        ) from error
    finally:
        socket.setdefaulttimeout(before)


class _ArraysOnly(pickle._Unpickler):
    """An unpickler that knows how to make arrays, and nothing else beyond pickle's own primitives.

    Python's own, because the one in C gives a few bytes as much memory as they ask for (the number of a memo).
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    # Of the unpickler in Python, which typeshed does not list.
    read: Callable[[int], bytes]
    append: Callable[[Any], None]

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for, by the list of what is allowed."""
        allowed = {**STAND_INS, "collections.OrderedDict": dict, "_codecs.encode": _encode_latin1}
        if f"{module}.{name}" not in allowed:
            raise pickle.UnpicklingError(f"{shown(f'{module}.{name}')} is not allowed")
        return allowed[f"{module}.{name}"]

    def load_build(self) -> None:
        """Set the state of an object: never of the functions and classes that make arrays."""
        if not isinstance(self.stack[-2], (NumberArray, NumberType)):
            raise pickle.UnpicklingError("a state of something other than an array is not allowed")
        super().load_build()  # type: ignore[misc]  # a method that typeshed does not list

    dispatch[pickle.BUILD[0]] = load_build

    def load_bytearray8(self) -> None:
        """Bytes whose number stands before them: pickle's own takes memory for as many before it reads them."""
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def _encode_latin1(text: str, encoding: str) -> bytes:
    """How Python 3 pickles bytes at protocol 2; other codecs are refused."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding!r} is not allowed")
    return text.encode("latin1")


def read_pkl(path: str) -> Any:
    """Read a model-zoo ``.pkl`` of arrays, strings, numbers and containers, refusing everything else.

    Args:
        path: of the file.

    Returns:
        Its content, with :class:`~.pickled_arrays.NumberArray` for arrays.

    Raises:
        CheckpointError: the file is damaged or asks for another kind of object.
    """
    try:
        with open(path, "rb") as file:
            return _ArraysOnly(file, encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"checkpoint {path} is not loaded: {first_line(error)}; only arrays, text, numbers and containers are, "
            "because anything else could run code"
        ) from error
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({first_line(error)}); check it") from error
    except Exception as error:  # bytes that are no pickle make the reader fail in any way
        raise CheckpointError(
            f"checkpoint {path} is damaged or no pickle ({first_line(error)}); get it again"
        ) from error
