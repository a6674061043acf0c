"""How long the stages of a pipeline are at work."""

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..errors import counted

T = TypeVar("T")
STAGES = ("reading", "model", "tracking", "drawing", "writing")


class Load:
    """Busy seconds of each stage; each stage is timed by one thread (several workers of a stage: on average).

    Attributes:
        frames: written so far.
        people: written so far, in all frames.
        tracks: ids of the tracked people among them.
        best: highest score of all people in all frames, also of those below the threshold.
        rate: frames per second of late, 0 before the second.
    """

    def __init__(self) -> None:
        self.frames = self.people = 0
        self.tracks: set[int] = set()
        self.best = 0.0
        self._busy = dict.fromkeys(STAGES, 0.0)
        self._begin = time.perf_counter()
        self._last: float | None = None
        self.rate = 0.0

    @contextlib.contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Count the time of the block for a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._busy[stage] += time.perf_counter() - start

    def add(self, stage: str, seconds: float) -> None:
        """Count some time for a stage."""
        self._busy[stage] += seconds

    def timed(self, items: Iterable[T], stage: str) -> Iterator[T]:
        """Yield the items, counting the time until each is there for a stage."""
        source = iter(items)
        while True:
            with self.of(stage):
                item = next(source, None)
            if item is None:
                return
            yield item
            item = None  # not held while the next one is made

    def tick(self) -> float:
        """Note that a frame passed; gives the frames per second of late, 0 at first."""
        now = time.perf_counter()
        if self._last is not None:
            spent = max(now - self._last, 1e-9)
            self.rate = 1 / (0.9 / self.rate + 0.1 * spent) if self.rate else 1 / spent
        self._last = now
        return self.rate

    def __str__(self) -> str:
        wall = max(time.perf_counter() - self._begin, 1e-9)
        shares = ", ".join(f"{stage} {100 * busy / wall:.0f} %" for stage, busy in self._busy.items())
        return f"{counted(self.frames, 'frame')} in {wall:.1f} s, {self.frames / wall:.1f} frames/s ({shares})"
