"""What an answer to a mutated config or checkpoint may be, and the values that they are mutated with."""

import contextlib
import gc
import logging
import resource
import time
import warnings

from hypothesis import strategies as st

from rle_onestage.errors import PoseError

SECONDS, MEGABYTES, LETTERS, LINES = 20, 1000, 2000, 40


class _Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        """Of all loggers."""
        self.lines.append(record.getMessage())


def forget_peak():
    """Let the peak of this process's memory begin anew, where Linux does that; returns the megabytes in use.

    Without, a peak of one example would hide those of all later ones.
    """
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return peak_megabytes()


def peak_megabytes():
    """The largest memory of this process since :func:`forget_peak`."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def bounded():
    """The block takes bounded time of the processor and memory, and says little."""
    start, before = time.process_time(), forget_peak()
    said, root = _Lines(), logging.getLogger()
    root.addHandler(said)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
    finally:
        root.removeHandler(said)
    taken, grown = time.process_time() - start, peak_megabytes() - before
    assert taken < SECONDS and grown < MEGABYTES, f"{taken:.1f} s, {grown:.0f} MB"
    lines = said.lines + [str(each.message) for each in warned]
    assert len(lines) < LINES and sum(map(len, lines)) < 20 * LETTERS, f"{len(lines)} lines: {lines[:3]}"


def answer(function, *words):
    """What a function gives, or None where it says in one short sentence of ours what is wrong.

    Args:
        function: called without arguments. words: one of them must be in the sentence, such as the file.
    """
    with bounded():
        try:
            return function()
        except PoseError as error:
            sentence = str(error)
            gc.collect(0)
    assert 10 < len(sentence) < LETTERS, sentence
    assert not words or any(word in sentence for word in words), sentence
    assert "Traceback" not in sentence and "object at 0x" not in sentence, sentence
    sentence.encode("utf-8", "backslashreplace")
    return None


def scalars():
    """Numbers and text that go wrong, and some that do not."""
    numbers = [0, 1, 2, 3, 5, 8, 64, -1, 2**31, 2**63, 10**30, -(10**30), 0.0, 0.5, 1.0, 1.5, -0.5, 1e-9, 1e9, 1e300]
    odd = [None, True, False, float("nan"), float("inf"), -float("inf"), "", "None", "1e-4", "p3", "GN", "rle", "cpu"]
    text = ["\x00", "\ud800", "x" * 5000, "../..", "://", "a\nb", "{[]: 1}", "$"]
    return st.sampled_from(numbers + odd + text) | st.integers() | st.floats() | st.text(max_size=12)


def values():
    """Scalars, and lists and groups of them."""
    return st.recursive(
        scalars(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | scalars(), inner, max_size=3),
        max_leaves=8,
    )


@st.composite
def changed_bytes(draw, original, most=4):
    """Bytes of a file with bits flipped, and parts cut, repeated, zeroed or inserted."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, most))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.sampled_from([1, 2, 8, 64]))
        how = draw(st.sampled_from(["flip", "flip", "flip", "cut", "drop", "repeat", "zero", "insert"]))
        if how == "flip" and data:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del data[place:]
        elif how == "drop":
            del data[place : place + length]
        elif how == "repeat":
            data[place:place] = data[place : place + length]
        elif how == "zero":
            data[place : place + length] = bytes(len(data[place : place + length]))
        else:
            data[place:place] = draw(st.binary(min_size=1, max_size=8))
    return bytes(data)
