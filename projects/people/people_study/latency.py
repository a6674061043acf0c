"""Latency of several models on the same image, in turn, so that other work on the machine hits all alike."""

import argparse
import time
from statistics import median

from rle_onestage.utils.arguments import positive_int

WARMUP = 5  # calls of each that do not count
PAUSE = 0.3  # seconds: threads of the one that has just run may still spin


def add_timing_flags(parser: argparse.ArgumentParser) -> None:
    """``--threads``, and ``--rounds`` and ``--calls`` of :func:`in_turn`."""
    parser.add_argument("--threads", type=positive_int, default=2, metavar="N", help="of each model")
    parser.add_argument("--rounds", type=positive_int, default=7, metavar="N", help="turns of each when timing")
    parser.add_argument("--calls", type=positive_int, default=10, metavar="N", help="of each in a turn")


def in_turn(models: dict, *, rounds: int, calls: int, pause: float = PAUSE) -> dict:
    """Ask the models one after the other, round after round.

    Args:
        models: name -> function without arguments that gives milliseconds.
        rounds: turns of each.
        calls: of each in a turn, after one that does not count.
        pause: seconds before each turn.

    Returns:
        dict name -> dict of ``ms``, the median of the turns' medians, and ``turns``, these.
    """
    for ask in models.values():
        for _ in range(WARMUP):
            ask()
    turns: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, ask in models.items():
            time.sleep(pause)
            ask()  # caches hold the other one's data
            turns[name].append(median(ask() for _ in range(calls)))
    return {name: {"ms": median(times), "turns": times} for name, times in turns.items()}


def ratios(measured: dict, other: str) -> dict:
    """Times of a model beside each of the others: name -> median over the turns of ms / ms of ``other``."""
    return {
        name: median(own / beside for own, beside in zip(row["turns"], measured[other]["turns"]))
        for name, row in measured.items()
        if name != other
    }
