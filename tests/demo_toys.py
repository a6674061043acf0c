"""What the tests of the demo on videos share."""

import threading

import torch

from rle_onestage.demo import DemoOptions
from rle_onestage.structures.skeleton import COCO


def options(**kwargs):
    return DemoOptions(skeleton=COCO, **kwargs)


def plain(image, people, time):
    """Draws nothing."""
    return image


def within(seconds, call):
    """What a call gives or raises; fails when it does not end, rather than hang."""
    got = {}

    def run():
        try:
            got["value"] = call()
        except BaseException as error:
            got["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "the run hangs"
    if "error" in got:
        raise got["error"]
    return got["value"]


def stages():
    """Threads of pipelines that are alive."""
    return [t for t in threading.enumerate() if t.name in ("reading", "model", "tracking", "drawing")]


def failing_at(number, call):
    """Wraps a callable so that its call of that number, from 1 on, fails."""
    calls = []

    def wrapped(*args):
        calls.append(1)
        if len(calls) == number:
            raise RuntimeError("broken")
        return call(*args)

    return wrapped


class Lagging:
    """Stands for a tracker: gives people two frames late, numbers them, keeps those of low score."""

    def __init__(self, lose=0):
        self.held, self.seen, self.lose = [], [], lose

    def push(self, people, time):
        people.ID = torch.arange(len(people))
        self.seen.append((len(people), time))
        self.held.append(people)
        return [self.held.pop(0)] if len(self.held) > 2 else []

    def finish(self):
        held, self.held = self.held[self.lose :], []
        return held
