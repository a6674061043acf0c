"""A file system for fsspec that fails or hangs where it is told to: a folder of this disk under the address flaky://.

What fails is told by a file beside the folder, so that other processes know too, see :func:`failing`.
"""

import asyncio
import contextlib
import datetime
import errno
import json
import os
import time

import fsspec
from fsspec.spec import AbstractFileSystem

ROOT = "FLAKY_ROOT"  # the environment's name of the folder
EVERY = ("open", "list", "info", "read", "create", "write", "close", "rename", "remove", "make")


class ClientError(Exception):
    """As botocore has it: not an OSError, and pickle cannot make it anew."""

    def __init__(self, response, operation):
        super().__init__(f"An error occurred ({response['Code']}) when calling the {operation} operation")


class HttpError(Exception):
    """As gcsfs has it."""


class ClientPayloadError(Exception):
    """As aiohttp has it."""


def _of_arrow(name):
    import pyarrow

    return getattr(pyarrow.lib, name)("what the server says makes no sense")


ERRORS = {
    "ClientError": lambda: ClientError({"Code": "SlowDown"}, "GetObject"),
    "HttpError": lambda: HttpError("503: backend error"),
    "ClientPayloadError": lambda: ClientPayloadError("Response payload is not completed"),
    "asyncio.TimeoutError": asyncio.TimeoutError,
    "ArrowInvalid": lambda: _of_arrow("ArrowInvalid"),
    "ArrowNotImplementedError": lambda: _of_arrow("ArrowNotImplementedError"),
    "KeyError": lambda: KeyError("ETag"),
    "EIO": lambda: OSError(errno.EIO, "Input/output error"),
}


class Flaky(AbstractFileSystem):
    """See the module."""

    protocol, cachable = "flaky", False

    @classmethod
    def _strip_protocol(cls, path):
        return path.removeprefix("flaky://").strip("/")

    def _place(self, path):
        return os.path.join(os.environ[ROOT], self._strip_protocol(path))

    def ls(self, path, detail=True, **kwargs):
        tell("list", path)
        if os.path.isfile(self._place(path)):
            found = [self._strip_protocol(path)]
        else:
            found = [f"{self._strip_protocol(path)}/{name}" for name in sorted(os.listdir(self._place(path)))]
        return [self._info(each) for each in found] if detail else found

    def info(self, path, **kwargs):
        tell("info", path)
        return self._info(path)

    def _info(self, path):
        status = os.stat(self._place(path))
        kind = "directory" if os.path.isdir(self._place(path)) else "file"
        return {
            "name": self._strip_protocol(path), "size": status.st_size, "type": kind, "mtime": status.st_mtime_ns,
        }  # fmt: skip

    def modified(self, path):
        return datetime.datetime.fromtimestamp(os.stat(self._place(path)).st_mtime)

    def open(self, path, mode="rb", **kwargs):
        tell("open" if "r" in mode else "create", path)
        return FlakyFile(self._place(path), mode)

    def cat_file(self, path, **kwargs):
        with self.open(path) as file:
            return file.read()

    def makedirs(self, path, exist_ok=False):
        tell("make", path)
        os.makedirs(self._place(path), exist_ok=exist_ok)

    def mv(self, path1, path2, **kwargs):
        tell("rename", path2)
        os.rename(self._place(path1), self._place(path2))

    def rmdir(self, path):
        tell("remove", path)
        os.rmdir(self._place(path))

    def rm_file(self, path):
        tell("remove", path)
        os.remove(self._place(path))


class FlakyFile:
    """A file that is asked how it feels before each step; buffered readers and FFmpeg know no more of a file."""

    def __init__(self, path, mode):
        self.path, self.mode = path, mode
        self._file = open(path, mode)

    def read(self, size=-1):
        here = self._file.tell()
        data = self._file.read(size)
        tell("read", self.path, (here, here + len(data)))
        return data

    def write(self, data):
        tell("write", self.path)
        return self._file.write(data)

    def close(self):
        if not self._file.closed:
            self._file.close()
            tell("close" if "w" in self.mode else "closed", self.path)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def tell(step, path, part=(0, 1)):
    """Raise, or wait, where a step of a file is to fail."""
    try:
        with open(f"{os.environ[ROOT]}.json", encoding="utf-8") as file:
            fault = json.load(file)
    except FileNotFoundError:
        return
    start, end = fault["part"] or part
    hit = part[0] < end and part[1] > start
    if step not in fault["steps"] or fault["name"] not in os.path.basename(path.rstrip("/")) or not hit:
        return
    time.sleep(fault["seconds"])
    if fault["error"]:
        raise ERRORS[fault["error"]]()


@contextlib.contextmanager
def failing(*steps, error="ClientError", name="", part=None, seconds=0.0):
    """Within the block some steps fail.

    Args:
        steps: of :data:`EVERY`.
        error: of :data:`ERRORS`; "": none.
        name: in the file's or folder's own name.
        part: bytes of the file from one number to another, which alone cannot be read.
        seconds: that the step hangs before.
    """
    fault = {"steps": steps, "error": error, "name": name, "part": part, "seconds": seconds}
    place = f"{os.environ[ROOT]}.json"
    with open(place, "w", encoding="utf-8") as file:
        json.dump(fault, file)
    try:
        yield
    finally:
        os.remove(place)


def use_flaky(monkeypatch, folder):
    """Let flaky://NAME be the file NAME of a folder."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv(ROOT, str(folder))
    fsspec.register_implementation("flaky", Flaky, clobber=True)
