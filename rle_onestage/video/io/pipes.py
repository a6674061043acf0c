"""Waiting for a named pipe in bounded time: opening one for reading blocks until somebody writes to it."""

import contextlib
import os
import select
import stat
import time
from collections.abc import Iterator

from ...errors import MediaError
from ...utils import output_files

_NAP = 0.1  # seconds


@contextlib.contextmanager
def readable(path: str) -> Iterator[str]:
    """Yield what FFmpeg opens for a path: of a named pipe, once there are data in it, a descriptor.

    Args:
        path: of a source.

    Yields:
        The path, or the descriptor's address, which is good within the block. Opened by its name, a pipe whose writer
        is done would block although its data are there.

    Raises:
        MediaError: nobody writes to the pipe for :data:`~rle_onestage.utils.output_files.PATIENCE` seconds.
    """
    try:
        is_pipe = stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):  # whoever opens it says why
        is_pipe = False
    if not is_pipe or not hasattr(os, "O_NONBLOCK"):
        yield path
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        _wait_for_data(path, descriptor)
        os.set_blocking(descriptor, True)
        yield f"pipe:{descriptor}"
    finally:
        os.close(descriptor)


def _wait_for_data(path: str, descriptor: int) -> None:
    end = time.monotonic() + output_files.PATIENCE
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not any(event & select.POLLIN for _, event in poll.poll(1000 * _NAP)):
        if time.monotonic() > end:
            seconds = output_files.PATIENCE
            raise MediaError(f"{path} is a pipe that nobody writes to for {seconds:g} s; start what writes to it first")
        time.sleep(_NAP)  # one that hung up is told of at once
