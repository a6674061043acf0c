"""The C library's memory, which a training on the CPU asks for and frees by the gigabyte in every step."""

import ctypes
import logging

logger = logging.getLogger(__name__)

# Names and numbers of glibc's malloc.h.
_OPTIONS = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1), "M_TOP_PAD": (-2, 256 << 20)}


def keep_freed_memory():
    """Let glibc keep freed memory for the next tensor instead of giving it back to the system.

    It gives every block of 32 MB or more back at once, and the pages of the next one are then made anew, one fault
    each. Without that a step of 16 images at 320 px takes 0.57 s in place of 1.50 s (one thread), with the same
    numbers. The process holds what it once needed, and a little more, until it ends.

    Returns:
        Whether it was done; other C libraries have no such setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    done = [bool(mallopt(number, value)) for number, value in _OPTIONS.values()]
    if not all(done):
        logger.info("The C library refuses to keep freed memory (%s); steps may be slow", dict(zip(_OPTIONS, done)))
    return all(done)
