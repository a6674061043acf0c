"""COCO results of images, on the disk while the run goes on."""

import json
import logging
import os
import time
from types import TracebackType

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

    def __init__(self, path: str | None) -> None:
        self.path, self._number = path, 0
        self._parts: list[str] = []
        self._stream: OutputFile | None = None
        self._last, self._took, self._warned = time.monotonic(), 0.0, False

    def __enter__(self) -> "ImageResults":
        if self.path is None:
            return self
        if kind_of(self.path):
            try:
                self._stream = OutputFile(self.path)
            except OSError as error:
                raise self._failure(error) from error
            self._send(self._stream, "[")
        return self

    def add(self, results: list[dict]) -> None:
        """Take the results of an image.

        Args:
            results: COCO results, one a person.

        Raises:
            MediaError: a device or pipe takes no more.
        """
        if self.path is None:
            return
        texts = [json.dumps(without_nan(result), allow_nan=False) for result in results]
        if self._stream is None:
            self._parts += texts
            self._renew_if_due(self.path)
            return
        for text in texts:
            self._send(self._stream, ", " * (self._number > 0) + text)
            self._number += 1

    def _send(self, stream: OutputFile, text: str) -> None:
        try:
            stream.write(text.encode())
        except OSError as error:
            raise self._failure(error) from error

    def _renew_if_due(self, path: str) -> None:
        if time.monotonic() - self._last < max(_EVERY, _SHARE * self._took):
            return
        try:
            self._renew(path)
        except OSError as error:
            if not self._warned:
                logger.warning("%s cannot be renewed now (%s); it is tried again", path, error.strerror)
            self._warned = True
        self._last = time.monotonic()

    def _renew(self, path: str) -> None:
        begin = time.monotonic()
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        write_bytes(path, ("[" + ", ".join(self._parts) + "]").encode())
        self._took = time.monotonic() - begin

    def _failure(self, error: OSError) -> MediaError:
        return MediaError(f"{self.path} cannot be written ({error.strerror}); choose another file with --json")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path is None:
            return
        try:
            if self._stream is None:
                self._renew(self.path)
            elif not isinstance(error, MediaError):
                self._stream.write(b"]\n")
                self._stream.commit()
            else:
                self._stream.discard()
        except OSError as failure:
            raise self._failure(failure) from failure
