"""Files that are written whole or not at all, and weights that are read without running code."""

import contextlib
import errno
import os
import pickle
import re
import socket
from http.client import HTTPException

import torch
from detectron2.utils.file_io import PathManager

from rle_onestage.errors import CheckpointError, ConfigError, shown
from rle_onestage.utils.output_files import kind_of, temporary_beside
from rle_onestage.utils.pickled_arrays import STAND_INS, NumberArray, NumberType
from rle_onestage.utils.pretrained import first_line, read_pth

__all__ = [
    "CHECK_OUTPUT_DIR", "local_path", "read_pkl", "read_pth", "remove_unfinished", "replaced_when_done", "save_tensors",
    "write_text",
]  # fmt: skip

UNFINISHED = ".unfinished"
# The process that made a temporary name stands in it, see temporary_beside().
_TEMPORARY = re.compile(rf"\.rle(\d+)[0-9a-f]{{8}}{re.escape(UNFINISHED)}")
# The remedy for files of a training, whose folder is a config key.
CHECK_OUTPUT_DIR = "check OUTPUT_DIR and the space left"
DOWNLOAD_TIMEOUT = 30  # seconds without an answer


@contextlib.contextmanager
def replaced_when_done(path):
    """Yield a temporary name beside ``path``, which nobody else has; it becomes ``path`` when the block ends well.

    What was written is on the disk before it has its name, so that a power loss leaves the old file or the new one.

    Raises:
        OSError: there is something that is no file, such as a device, which must not be replaced.
    """
    if kind := kind_of(path):
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", path)
    temporary = temporary_beside(path, UNFINISHED)
    try:
        yield temporary
        _settle(temporary)
        os.replace(temporary, os.path.realpath(path))
        with contextlib.suppress(OSError):  # a folder cannot be opened everywhere
            _settle(os.path.dirname(os.path.realpath(path)))
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise


def _settle(path):
    """Have a file or a folder on the disk."""
    if not os.path.exists(path):  # nothing was written to the temporary name: the rename says so
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(folder):
    """Delete the temporary files that processes left in a folder which are gone, also those of earlier versions."""
    for name in os.listdir(folder):
        found = _TEMPORARY.fullmatch(name)
        if name.endswith(".pth.tmp") or (found and not _is_running(int(found[1]))):
            with contextlib.suppress(OSError):
                os.remove(os.path.join(folder, name))


def _is_running(process):
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            state = file.read().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):  # no Linux
        return True
    return state not in (b"Z", b"X")  # killed, and nobody has asked for its exit code, as in many containers


def write_text(path: str, text: str, *, remedy: str = "check that folder and the space left") -> None:
    """Write a text file atomically.

    Args:
        path: of the file.
        text: its content.
        remedy: what the message says to do where it cannot be written.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        with replaced_when_done(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); {remedy}") from error


def save_tensors(path, content):
    """Write tensors and primitives atomically, so that a crash leaves either the old file or the new one.

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


def local_path(address):
    """The local file of a path or an address (``detectron2://``, ``https://``, ``rle-onestage://``).

    Raises:
        CheckpointError: there is no such file, or the address cannot be reached.
    """
    remote = "://" in address
    if not remote:
        if not os.path.isfile(address):
            wrong = "is no file" if os.path.exists(address) else "does not exist"
            raise CheckpointError(f"checkpoint {address} {wrong}; check MODEL.WEIGHTS")
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
            'that you downloaded elsewhere, or to "" to start from random weights'
        ) from error
    finally:
        socket.setdefaulttimeout(before)


class _ArraysOnly(pickle._Unpickler):
    """An unpickler that knows how to make arrays, and nothing else beyond pickle's own primitives.

    Python's own, because the one in C gives a few bytes as much memory as they ask for (the number of a memo).
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module, name):
        allowed = {**STAND_INS, "collections.OrderedDict": dict, "_codecs.encode": _encode_latin1}
        if f"{module}.{name}" not in allowed:
            raise pickle.UnpicklingError(f"{shown(f'{module}.{name}')} is not allowed")
        return allowed[f"{module}.{name}"]

    def load_build(self):
        # Never of the functions and classes that make arrays.
        if not isinstance(self.stack[-2], (NumberArray, NumberType)):
            raise pickle.UnpicklingError("a state of something other than an array is not allowed")
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def _encode_latin1(text, encoding):
    """How Python 3 pickles bytes at protocol 2; other codecs are refused."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding!r} is not allowed")
    return text.encode("latin1")


def read_pkl(path):
    """Read a model-zoo ``.pkl`` of arrays, strings, numbers and containers, refusing everything else.

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
