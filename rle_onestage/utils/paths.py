"""Paths: one for all spellings of a file."""

import os


def absolute(path: str) -> str:
    """The path that names the same file from every folder, one for all spellings (``a/b``, ``./a/b``, ``c/../a/b``).

    A file that is a link keeps its name, whose ending may say what it is.

    Args:
        path: of a file or folder, or a pattern; ``~`` is expanded.
    """
    path = os.path.expanduser(path)
    if os.pardir in path.split(os.sep):  # above a folder that is a link is not where its name says
        folder, name = os.path.split(path.rstrip(os.sep))
        path = os.path.realpath(path) if name == os.pardir else os.path.join(os.path.realpath(folder), name)
    return os.path.abspath(path)
