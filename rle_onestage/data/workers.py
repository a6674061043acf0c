"""Data-loading processes: how they start and what signals do to them, whichever way they are started.

Ctrl-C in a terminal, a terminal that is closed, and a batch system that ends a job reach them as well as the training,
which still needs a batch for the iteration under way.
"""

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker

# What a terminal sends to all of its processes: Ctrl-C, and that it is closed (not on Windows).
_TO_ALL = tuple(getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def starting(count: int) -> Iterator[None]:
    """Start data-loading processes within the block.

    Ctrl-C and SIGHUP wait in them until :func:`settle`, because their Python and imports (without fork) take seconds
    in which they would end them. SIGTERM is not held back: the server of "forkserver" outlives the block, and what it
    starts must stay killable. That one of them died is told where a batch is taken, not by a signal in the middle of
    anything.

    Args:
        count: of them; nothing is done for none.
    """
    if not count:
        yield
        return
    on_child = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    before = None
    if hasattr(signal, "pthread_sigmask"):
        if multiprocessing.get_start_method() != "fork":
            # It lets signals through when it is started (bpo-33613), so it has to be there before.
            resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_ALL)
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        with contextlib.suppress(ValueError, TypeError):  # not the main thread; or a handler that is not Python's
            if on_child is not None and signal.getsignal(signal.SIGCHLD) is not on_child:
                signal.signal(signal.SIGCHLD, on_child)


def settle() -> None:
    """Call it first in a data-loading process: Ctrl-C and SIGHUP pass it by, SIGTERM ends it at once.

    That is so whatever it inherited. The process that started it ends it by SIGTERM and waits, so that must work at the
    first try. Where a whole group gets SIGTERM, the training makes the batch that it still needs itself.
    """
    for signum in _TO_ALL:
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _TO_ALL)
