"""What the calls came to: rates, memory over time, and rows that are compared."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rle_onestage.errors import DataError
from rle_onestage.evaluation.people_parquet import part_files, read_parts

from .processes import Sample


class Memory(NamedTuple):
    """Memory of a process while it worked.

    Attributes:
        kind: of the process.
        seconds: that it was looked at.
        first: megabytes, median of the second quarter of that time, when it has its model and its caches.
        last: megabytes, median of the last quarter.
        most: megabytes.
        growth: megabytes an hour, slope over the second half.
    """

    kind: str
    seconds: float
    first: float
    last: float
    most: float
    growth: float


def memory_of(samples: Sequence[Sample]) -> list[Memory]:
    """Memory of the driver and of each actor; of those that were looked at eight times at least."""
    found = []
    for process in dict.fromkeys(each.process for each in samples if each.kind in ("driver", "actor")):
        # An actor has another name until it has its work.
        own = [each for each in samples if each.process == process]
        if len(own) < 8:
            continue
        kind = own[-1].kind
        times, values = np.array([(each.seconds, each.megabytes) for each in own]).T
        quarter, half = len(own) // 4, len(own) // 2
        slope = float(np.polyfit(times[half:], values[half:], 1)[0]) * 3600
        first, last = float(np.median(values[quarter:half])), float(np.median(values[-quarter:]))
        found.append(Memory(kind, float(times[-1] - times[0]), first, last, float(values.max()), slope))
    return found


def cpu_of(samples: Sequence[Sample], lately: float) -> float:
    """Seconds of processor time of all processes of a call, of its last seconds.

    Args:
        samples: of the call.
        lately: how many seconds.
    """
    begin = samples[-1].seconds - lately
    before = {each.process: each.cpu for each in samples if each.seconds <= begin}
    return sum({each.process: each.cpu - before.get(each.process, 0.0) for each in samples}.values())


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Smallest, median and largest."""
    return float(np.min(values)), float(np.median(values)), float(np.max(values))


def compare(one: str, two: str) -> dict[str, Any]:
    """Compare all rows of two outputs, in order.

    Args:
        one: a folder.
        two: another one.

    Returns:
        ``rows`` of the first; ``different``: rows that are not equal or that one alone has; ``twice``: rows of the
        second whose image it has already; ``unfinished``: files of the second that are none of its parts.
    """
    rows = different = 0
    seen: set[tuple[str, Any]] = set()
    twice = 0
    for first, second in zip(_parts(one), _parts(two)):
        rows += len(first)
        for row in second:
            twice += (row["path"], row["index"]) in seen
            seen.add((row["path"], row["index"]))
        different += sum(a != b for a, b in zip(first, second)) + abs(len(first) - len(second))
    if len(part_files(one)) != len(part_files(two)):
        raise DataError(f"{two} has another number of files than {one}; let both calls end")
    names = {os.path.basename(name) for name in part_files(two)} | {"_plan.json", "_summary.json"}
    unfinished = sorted(set(os.listdir(two)) - names)
    return {"rows": rows, "different": different, "twice": twice, "unfinished": unfinished}


def _parts(folder: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each file."""
    for name in part_files(folder):
        yield [row for table, _ in read_parts(name) for row in table.to_pylist()]
