"""The stages that a video passes: each a generator over the one before, to be run in a thread of its own."""

import collections
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from detectron2.structures import Instances

from ..video.io import Frame

_MOST_WORKERS = 4


class Seen(NamedTuple):
    """A frame with its people."""

    frame: Frame
    people: Instances


class Drawn(NamedTuple):
    """A frame, its people and its picture (None where nothing is drawn)."""

    frame: Frame
    people: Instances
    picture: np.ndarray | None


def read(video, load, stop):
    """Yield the frames of a :class:`~rle_onestage.video.io.VideoReader` until a signal came."""
    for frame in load.timed(video, "reading"):
        if stop.signum:
            return
        yield frame


def predict(frames, predictor, options, load, stop, *, everybody, live):
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

    def find(group):
        start = time.perf_counter()
        images = [frame.image for frame in group]
        found = predictor.batch(images) if len(images) > 1 else [predictor(images[0])]
        if not everybody:
            found = [people[people.scores >= options.threshold] for people in found]
        return [*map(Seen, group, found)], time.perf_counter() - start

    size = options.batch if hasattr(predictor, "batch") else 1
    shared = not live and getattr(predictor, "device", None) == torch.device("cpu")
    workers = min(_MOST_WORKERS, torch.get_num_threads()) if shared else 1
    for seen, seconds in _in_turn(_groups(_until(frames, stop), size), find, workers):
        load.add("model", seconds / workers)
        yield from seen
        seen = None


def _until(frames, stop):
    for frame in frames:
        if stop.signum:
            return
        yield frame
        frame = None


def _in_turn(items, call, workers):
    """Yield ``call(item)`` of each item, in order, from some workers at once, also when the items end in an exception.

    The threads of torch are shared out among the workers.
    """
    if workers == 1:
        yield from map(call, items)
        return
    threads, waiting, failure = torch.get_num_threads(), collections.deque(), None
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(max(1, threads // workers),))
    items, more = iter(items), True
    try:
        while more:
            try:
                waiting.append(pool.submit(call, next(items)))
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


def _groups(items, size):
    """Lists of ``size`` items; the last may be shorter, also when the items end with an exception."""
    group, failure = [], None
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


def follow(seen, follower, load):
    """Yield :class:`Seen` with the people that a follower makes of each frame's, who may need frames to come.

    When a stage before fails, the frames that the follower holds are finished first.

    Args:
        seen: iterable of :class:`Seen`.
        follower: ``push(people, time)`` and ``finish()``, which give lists of ``Instances`` in the frames' order,
            in all one for each frame.
        load: :class:`~.load.Load`.

    Raises:
        RuntimeError: it gives more or fewer.
    """
    waiting, failure = collections.deque(), None
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
            ready = follower.push(item.people, item.frame.time)
        yield from _matched(waiting, ready)
    with load.of("tracking"):
        ready = follower.finish()
    yield from _matched(waiting, ready)
    if failure is not None:
        raise failure
    if waiting:
        raise RuntimeError(f"the follower gave no people for the last {len(waiting)} frames")


def _matched(waiting, ready):
    for people in ready:
        if not waiting:
            raise RuntimeError("the follower gave people for more frames than it was shown")
        yield Seen(waiting.popleft(), people)


def paint(seen, draw, load):
    """Yield :class:`Drawn`; without ``draw``, a callable (image, people, seconds) -> image, there are no pictures."""
    for frame, people in seen:
        picture = None
        if draw is not None:
            with load.of("drawing"):
                picture = draw(frame.image, people, frame.time)
        yield Drawn(frame, people, picture)
        frame = people = picture = None
