"""Iterators that work ahead in threads of their own."""

import collections
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_CHECK = 0.2


class Ahead(Generic[T]):
    """Runs an iterator in a thread, a few items ahead of whoever takes them.

    An exception of the iterator reaches whoever takes, after the items before it. :meth:`close` ends the thread, also
    when it waits for room; an iterator that is a generator is closed in its own thread.

    Args:
        items: iterable; only the thread touches it.
        length: how many items may wait.
        name: of the thread.
    """

    def __init__(self, items: Iterable[T], length: int, name: str | None = None) -> None:
        self._items, self._length = items, length
        self._waiting: collections.deque[T] = collections.deque()
        self._error: BaseException | None = None
        self._ended = self._closed = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    break
                del item  # not held while the next one is made
        except BaseException as error:  # handed to whoever takes
            self._error = error
        finally:
            close = getattr(self._items, "close", None)
            if close is not None and not isinstance(self._items, Ahead):
                self._close_items(close)
            with self._change:
                self._ended = True
                self._change.notify_all()

    def _close_items(self, close: Callable[[], None]) -> None:
        try:
            close()
        except BaseException as error:
            self._error = self._error or error

    def _put(self, item: T) -> bool:
        """Let an item wait, once there is room; whether more are wanted."""
        with self._change:
            self._change.wait_for(lambda: self._closed or len(self._waiting) < self._length)
            if not self._closed:
                self._waiting.append(item)
                self._change.notify_all()
            return not self._closed

    def __iter__(self) -> Iterator[T]:
        return self.taken()

    def taken(self, idle: Callable[[], object] | None = None) -> Iterator[T]:
        """Yield the items.

        Args:
            idle: called about five times a second while there is none; no more are taken when it gives true.
        """
        while True:
            with self._change:
                while not self._waiting and not self._ended and not self._closed:
                    # In slices, so that signals reach the main thread on every system.
                    if not self._change.wait(_CHECK) and idle and idle():
                        return
                if self._closed:
                    return
                if not self._waiting:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._waiting.popleft()
                self._change.notify_all()
            yield item
            del item

    def close(self) -> None:
        """Take no more: the thread ends after the item that it makes."""
        with self._change:
            self._closed = True
            self._waiting.clear()
            self._change.notify_all()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread.

        Args:
            timeout: seconds to wait at most.

        Returns:
            whether it ended.
        """
        self._thread.join(timeout)
        return not self._thread.is_alive()
