"""The stages that a video passes: each a generator over the one before, to be run in a thread of its own."""

import collections
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from detectron2.structures import Instances

from ..errors import counted
from ..utils.signals import StopRequest
from ..video.io import Frame, VideoReader
from .load import Load
from .options import DemoOptions, Drawing

T = TypeVar("T")
S = TypeVar("S")
_MOST_WORKERS = 4


class Seen(NamedTuple):
    """A frame with its people."""

    frame: Frame
    people: Instances


class Drawn(NamedTuple):
    """A frame, its people and what is drawn of them (None where nothing is)."""

    frame: Frame
    people: Instances
    image: np.ndarray | None


class TracksPeople(Protocol):
    """A tracker: takes the people of each frame, and gives each frame's again, at once or some frames later."""

    def push(self, people: Instances, time: float) -> list[Instances]:
        """Take the people of a frame at some seconds; gives those of frames that are ready, in order."""

    def finish(self) -> list[Instances]:
        """Those of the frames that are left: in all, one for each that was pushed."""


def read(video: VideoReader, load: Load, stop: StopRequest) -> Iterator[Frame]:
    """Yield the frames of a :class:`~rle_onestage.video.io.VideoReader` until a signal came.

    Args:
        video: the source.
        load: times the reading.
        stop: a signal ends it.
    """
    for frame in load.timed(video, "reading"):
        if stop.signum:
            return
        yield frame


def predict(
    frames: Iterable[Frame],
    predictor: Callable[[np.ndarray], Instances],
    options: DemoOptions,
    load: Load,
    stop: StopRequest,
    *,
    everybody: bool,
    live: bool,
) -> Iterator[Seen]:
    """Yield :class:`Seen` for each frame, in order.

    On a CPU several frames are predicted at once, each by a worker with its share of the threads: two frames on a core
    each are done sooner than two after each other on both, and do not wait for a core that draws or writes meanwhile.
    When reading fails, what came before it is predicted first.

    Args:
        frames: iterable of :class:`~.reader.Frame`.
        predictor: image -> ``Instances``; its ``batch`` is used for more than one at once, where it has one.
        options: :class:`~.options.DemoOptions`.
        load: :class:`~.load.Load`.
        stop: a signal ends the work.
        everybody: keep also the people below the threshold.
        live: a frame must not wait for later ones, so there is one worker.
    """

    batch: Callable[[list[np.ndarray]], list[Instances]] | None = getattr(predictor, "batch", None)

    def find(group: list[Frame]) -> tuple[list[Seen], float, float]:
        start = time.perf_counter()
        images = [frame.image for frame in group]
        found = batch(images) if batch and len(images) > 1 else [predictor(images[0])]
        best = max((float(people.scores.max()) for people in found if len(people)), default=0.0)
        if not everybody:
            found = [people[people.scores >= options.threshold] for people in found]
        return [*map(Seen, group, found)], time.perf_counter() - start, best

    size = options.batch if batch else 1
    shared = not live and getattr(predictor, "device", None) == torch.device("cpu")
    workers = workers_of(torch.get_num_threads()) if shared else 1
    for seen, seconds, best in _in_turn(_groups(_until(frames, stop), size), find, workers):
        load.add("model", seconds / workers)
        load.best = max(load.best, best)
        yield from seen
        del seen  # not held while the next ones are made


def workers_of(threads: int) -> int:
    """How many frames are predicted at once on this many threads of a CPU."""
    return min(_MOST_WORKERS, threads)


def _until(frames: Iterable[Frame], stop: StopRequest) -> Iterator[Frame]:
    for frame in frames:
        if stop.signum:
            return
        yield frame
        del frame


def _in_turn(items: Iterable[T], call: Callable[[T], S], workers: int) -> Iterator[S]:
    """Yield ``call(item)`` of each item, in order, from some workers at once, also when the items end in an exception.

    The threads of torch are shared out among the workers.
    """
    if workers == 1:
        yield from map(call, items)
        return
    threads, failure = torch.get_num_threads(), None
    waiting: collections.deque[Future[S]] = collections.deque()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(max(1, threads // workers),))
    source, more = iter(items), True
    try:
        while more:
            try:
                waiting.append(pool.submit(call, next(source)))
            except StopIteration:
                more = False
            except Exception as error:
                failure, more = error, False
            if len(waiting) > workers:  # one more than there are workers: none waits for work
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
    if failure is not None:
        raise failure


def _groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size`` items; the last may be shorter, also when the items end with an exception."""
    group: list[T] = []
    failure = None
    try:
        for item in items:
            group.append(item)
            if len(group) == size:
                yield group
                group = []
    except Exception as error:
        failure = error
    if group:
        yield group
    if failure is not None:
        raise failure


def track(seen: Iterable[Seen], tracker: TracksPeople, load: Load) -> Iterator[Seen]:
    """Yield :class:`Seen` with the people that a tracker makes of each frame's, who may need frames to come.

    When a stage before fails, the frames that the tracker holds are finished first.

    Args:
        seen: iterable of :class:`Seen`.
        tracker: :class:`TracksPeople`.
        load: :class:`~.load.Load`.

    Raises:
        RuntimeError: it gives more or fewer.
    """
    waiting: collections.deque[Frame] = collections.deque()
    failure = None
    source = iter(seen)
    while True:
        try:
            item = next(source, None)
        except Exception as error:
            item, failure = None, error
        if item is None:
            break
        waiting.append(item.frame)
        with load.of("tracking"):
            ready = tracker.push(item.people, item.frame.time)
        yield from _matched(waiting, ready)
    with load.of("tracking"):
        ready = tracker.finish()
    yield from _matched(waiting, ready)
    if failure is not None:
        raise failure
    if waiting:
        raise RuntimeError(f"the tracker gave no people for the last {counted(len(waiting), 'frame')}")


def _matched(waiting: collections.deque[Frame], ready: list[Instances]) -> Iterator[Seen]:
    for people in ready:
        if not waiting:
            raise RuntimeError("the tracker gave people for more frames than it was shown")
        yield Seen(waiting.popleft(), people)


def paint(seen: Iterable[Seen], draw: Drawing | None, load: Load) -> Iterator[Drawn]:
    """Yield :class:`Drawn`.

    Args:
        seen: iterable of :class:`Seen`.
        draw: (image, people, seconds) -> image; None: nothing is drawn.
        load: times it.
    """
    for frame, people in seen:
        image = None
        if draw is not None:
            with load.of("drawing"):
                image = draw(frame.image, people, frame.time)
        yield Drawn(frame, people, image)
        del frame, people, image  # not held while the next one is made
