"""SIGINT and SIGTERM ask the training to stop after the iteration; they never cut it in the middle."""

import os
import signal
import time


class StopRequest:
    """Context manager that notes SIGINT and SIGTERM instead of dying of them.

    A second SIGINT interrupts at once. Forked data-loader workers get the same signals when they are sent to a whole
    group (by a terminal, or a batch system); as the iteration under way still needs their batch, they ignore SIGINT and
    the first SIGTERM.

    Attributes:
        signum: number of the signal that came, or 0. since: when it came, on the monotonic clock.
    """

    def __init__(self):
        self.signum, self.since = 0, 0.0
        self._owner = os.getpid()
        self._before = {}

    def __enter__(self):
        for signum in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[signum] = signal.signal(signum, self._handle)
            except ValueError:  # not the main thread of the interpreter: signals are someone else's
                break
        return self

    def __exit__(self, *exception):
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before = {}

    def _handle(self, signum, frame):
        if os.getpid() != self._owner:
            if signum == signal.SIGTERM and self.signum == signal.SIGTERM:
                signal.signal(signum, signal.SIG_DFL)
                os.kill(os.getpid(), signum)
            self.signum = signum
            return
        if self.signum and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.signum, self.since = signum, time.monotonic()

    @property
    def exit_code(self):
        """128 + signal number, as shells report it."""
        return 128 + self.signum
