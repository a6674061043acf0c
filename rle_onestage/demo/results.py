"""COCO results of images, on the disk while the run goes on."""

import json
import logging
import os
import time

from ..errors import MediaError
from ..evaluation.results import without_nan
from ..utils.output_files import OutputFile, kind_of, write_bytes

logger = logging.getLogger(__name__)

# The file is renewed after so many seconds, and after so many times what renewing took: a long file is written rarely.
_EVERY, _SHARE = 10.0, 20.0


class ImageResults:
    """A JSON list of results, complete whenever somebody looks: the whole file is renewed as the run goes on.

    When the process is killed, what it found until some seconds before is there. A disk that is full meanwhile is said,
    and the run goes on. Through a device or a pipe each result goes out at once. Use it as a context manager; however
    the block ends, what was found is written.

    Args:
        path: of the file; None: results are not kept.

    Raises:
        MediaError: a device or pipe cannot be opened; on leaving, where not all results could be written.
    """

    def __init__(self, path):
        self.path, self._parts, self._stream, self._number = path, [], None, 0
        self._last, self._took, self._warned = time.monotonic(), 0.0, False

    def __enter__(self):
        if self.path is None:
            return self
        if kind_of(self.path):
            try:
                self._stream = OutputFile(self.path)
                self._stream.write(b"[")
            except OSError as error:
                raise self._failure(error) from error
        return self

    def add(self, results: list[dict]) -> None:
        """Take the results of an image, a list of dicts.

        Raises:
            MediaError: a device or pipe takes no more.
        """
        if self.path is None:
            return
        texts = [json.dumps(without_nan(result), allow_nan=False) for result in results]
        if self._stream is None:
            self._parts += texts
            self._renew_if_due()
            return
        for text in texts:
            self._send(", " * (self._number > 0) + text)
            self._number += 1

    def _send(self, text):
        try:
            self._stream.write(text.encode())
        except OSError as error:
            raise self._failure(error) from error

    def _renew_if_due(self):
        if time.monotonic() - self._last < max(_EVERY, _SHARE * self._took):
            return
        try:
            self._renew()
        except OSError as error:
            if not self._warned:
                logger.warning("%s cannot be renewed now (%s); it is tried again", self.path, error.strerror)
            self._warned = True
        self._last = time.monotonic()

    def _renew(self):
        begin = time.monotonic()
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
        write_bytes(self.path, ("[" + ", ".join(self._parts) + "]").encode())
        self._took = time.monotonic() - begin

    def _failure(self, error):
        return MediaError(f"{self.path} cannot be written ({error.strerror}); choose another file with --json")

    def __exit__(self, kind, error, trace):
        if self.path is None:
            return
        try:
            if self._stream is None:
                self._renew()
            elif not isinstance(error, MediaError):
                self._stream.write(b"]\n")
                self._stream.commit()
            else:
                self._stream.discard()
        except OSError as failure:
            raise self._failure(failure) from failure
