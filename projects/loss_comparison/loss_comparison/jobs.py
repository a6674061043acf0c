"""Works off the runs as processes of ``train_net.py``, some at a time, with a bar over all iterations."""

import contextlib
import fcntl
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rle_onestage.errors import ConfigError
from rle_onestage.utils.signals import StopRequest

from .runs import Run

logger = logging.getLogger("rle_onestage")

CONSOLE = "console.txt"
POLL_SECONDS = 0.5
LINE_SECONDS = 60  # between two plain lines, without a terminal


class Failure(Exception):
    """A run's process ended badly; the message says why, as far as it is known."""


class _Active:
    """A run under way: its steps one after the other, each a process of its own."""

    def __init__(self, run: Run, script: str, environment: dict[str, str], lock: int):
        self.run, self.script, self.environment, self.lock = run, script, environment, lock
        self.what, self.start = "", time.monotonic()
        self.process: subprocess.Popen | None = None
        self._done: set[str] = set()

    def advance(self) -> bool | None:
        """Start the next step if none is under way; False when the run is complete.

        Raises:
            Failure: a step ended badly.
        """
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return True
            self._ended(code)
        try:
            step = self.run.next_step(self.script)
        except ConfigError as error:
            raise Failure(str(error)) from error
        if step is None:
            return False
        self.what, command = step
        if self.what in self._done:
            raise Failure(f"{self.what} ended without its results")
        os.makedirs(self.run.folder, exist_ok=True)
        with open(os.path.join(self.run.folder, CONSOLE), "ab") as console:
            # A session of its own: Ctrl-C in the terminal reaches only us, and we hand it on once.
            self.process = subprocess.Popen(
                [sys.executable, *command], stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                env=self.environment, start_new_session=True, pass_fds=[self.lock],
            )  # fmt: skip
        return True

    def _ended(self, code: int) -> None:
        self.process = None
        if code:
            raise Failure(f"{self.what} ended with code {code}: {_last_words(self.run.folder)}")
        self._done.add(self.what)

    @property
    def state(self) -> str:
        """For the bar."""
        if self.what == "training":
            return f"{self.run.label} {self.run.iterations_done()}/{self.run.iterations}"
        return f"{self.run.label} {self.what}"


def work_off(
    runs: Sequence[Run], *, script: str, output: str, jobs: int = 1, start: type = _Active
) -> tuple[int, dict[str, str]]:
    """Train and evaluate what is not done yet.

    A signal (Ctrl-C, SIGTERM) is handed on to the processes, which save and end; the same call goes on from there.

    Args:
        runs: see :func:`~.runs.plan`.
        script: path of ``train_net.py``.
        output: folder of all.
        jobs: processes at a time. With more than one, each has its share of the cores as threads, unless
            ``OMP_NUM_THREADS`` is set.

    Returns:
        (signal number or 0, dict label -> why a run failed).

    Raises:
        ConfigError: another comparison is at work in ``output``, or it cannot be written.
    """
    environment = dict(os.environ)
    if jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    waiting = [run for run in runs if not run.is_done()]
    active: list[_Active] = []
    failures: dict[str, str] = {}
    with _locked(output) as lock, StopRequest() as stop, _Progress(runs) as progress:
        try:
            while (waiting or active) and not stop.signum:
                while waiting and len(active) < jobs:
                    active.append(start(waiting.pop(0), script, environment, lock))
                    progress.say(f"{active[-1].run.label}: {_beginning(active[-1].run)}")
                active = [one for one in active if _goes_on(one, failures, progress)]
                progress.show(active)
                time.sleep(POLL_SECONDS)
            if stop.signum:
                progress.say("Stopping: the processes save what they have (a second Ctrl-C kills them)")
        finally:
            _end(active)
        return stop.signum, failures


def _goes_on(one: "_Active", failures: dict[str, str], progress: "_Progress") -> bool:
    try:
        if one.advance():
            return True
        progress.say(f"{one.run.label}: done in {time.monotonic() - one.start:.0f} s")
    except Failure as failure:
        failures[one.run.label] = str(failure)
        progress.say(f"{one.run.label}: failed: {failure}")
    return False


def _beginning(run: Run) -> str:
    done = run.iterations_done()
    if run.is_trained():
        return "is trained, evaluating"
    return f"going on after about {done} of {run.iterations} iterations" if done else f"{run.iterations} iterations"


def _end(active: "list[_Active]") -> None:
    """Ask the processes to save and end, and wait; kill them when we are interrupted again."""
    alive = [one.process for one in active if one.process is not None]
    try:
        for process in alive:
            process.terminate()
        for process in alive:
            process.wait()
    except BaseException:
        for process in alive:
            process.kill()
        raise


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[int]:
    """Hold ``folder`` for us and for the processes that we start, should they outlive us."""
    path = os.path.join(folder, ".lock")
    try:
        os.makedirs(folder, exist_ok=True)
        file = open(path, "w")  # noqa: SIM115
    except OSError as error:
        raise ConfigError(f"--output {folder} cannot be written ({error.strerror}); choose another folder") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"a comparison is at work in {folder} already; wait for it, or end it first") from error
        yield file.fileno()


def _last_words(folder: str) -> str:
    """The last line that a process wrote; an ``error:`` line before all others."""
    with open(os.path.join(folder, CONSOLE), "rb") as file:
        file.seek(max(0, os.path.getsize(file.name) - 4096))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return f"{(errors or lines or ['nothing was written'])[-1]} (see {os.path.join(folder, CONSOLE)})"


class _Progress:
    """A bar over all iterations on a terminal; elsewhere a line at every event and every minute."""

    def __init__(self, runs: Sequence[Run]):
        self.runs, self.total = runs, sum(run.iterations for run in runs)
        self.bar: Any = None  # tqdm's, on a terminal
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "_Progress":
        self.first = self.count = self._count(self.runs)
        self.start = self.told = time.monotonic()
        if sys.stderr.isatty():
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm

            self._stack.enter_context(logging_redirect_tqdm([logger]))
            self.bar = self._stack.enter_context(
                tqdm(total=self.total, initial=self.count, unit="it", desc="comparing", dynamic_ncols=True)
            )
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()

    @staticmethod
    def _count(runs: Sequence[Run]) -> int:
        return sum(run.iterations_done() for run in runs)

    def say(self, text: str) -> None:
        """A line of its own."""
        logger.info("%s", text)

    def show(self, active: "list[_Active]") -> None:
        """Move the bar, or write the line if it is time."""
        states = ", ".join(one.state for one in active)
        if self.bar is not None:
            count = self._count(self.runs)
            self.bar.set_postfix_str(states, refresh=False)
            self.bar.update(count - self.count)
            self.bar.refresh()
            self.count = count
        elif time.monotonic() - self.told >= LINE_SECONDS and active:
            self.told, count = time.monotonic(), self._count(self.runs)
            missing, rate = self.total - count, (count - self.first) / (self.told - self.start)
            left = f", {missing / rate / 60:.0f} min of training left" if missing and rate > 0 else ""
            self.say(f"{count} of {self.total} iterations{left}: {states}")
