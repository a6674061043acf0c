"""Runs the toy's training in forked processes, and sends signals to it in a phase of one's choice.

A fork has all that is imported already, so that a run takes a second. The processes of ``--num-gpus`` are forked too.
"""

import itertools
import multiprocessing
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import engine_toy
import torch

from rle_onestage.engine import Trainer, argument_parser, launch
from rle_onestage.engine.processes import children
from rle_onestage.utils import output_files

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import train_net  # noqa: E402

PHASES = ("set-up", "training", "writing", "evaluation")
ITERATION = 4  # in which "training" is
HOLD_SECONDS = 1.5
EVALUATED = ["TEST.EVAL_PERIOD", "4"]


class Forked:
    """A forked process that leads a group of its own, with what it prints in a file.

    Args:
        function: called in it; its return ends the process with 0.
        log: a path, or the number of an open file.
    """

    def __init__(self, function, log):
        self.log = None if isinstance(log, int) else Path(log)
        self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            os.setsid()
            output = log if self.log is None else os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for number in (1, 2):
                os.dup2(output, number)
            sys.stdout, sys.stderr = (os.fdopen(os.dup(output), "w", buffering=1) for _ in range(2))
            for signum in (signal.SIGINT, signal.SIGTERM):
                signal.signal(signum, signal.SIG_DFL)
            function()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            multiprocessing.util._exit_function()
            os._exit(code)

    def wait(self, seconds=300):
        """The exit code, negative after a signal; the whole group is killed if it takes too long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        said = "" if self.log is None else self.log.read_text()[-2000:]
        raise TimeoutError(f"still running after {seconds} s: {said}")

    def send(self, signum, group):
        """Send a signal to the group, as a terminal does, or to the process alone."""
        (os.killpg if group else os.kill)(self.pid, signum)


def hold(phase, marker):
    """Make this process stay a while in a phase, once, after it has left its number in ``marker``."""

    def stay():
        if not os.path.exists(marker):
            temporary = f"{marker}.{os.getpid()}"
            Path(temporary).write_text(str(os.getpid()))
            os.rename(temporary, marker)
        if not getattr(stay, "done", False):
            stay.done = True
            time.sleep(HOLD_SECONDS)

    def around(owner, name, due=lambda *_: True):
        inner = getattr(owner, name)

        def wrapped(*args, **kwargs):
            if due(*args):
                stay()
            return inner(*args, **kwargs)

        setattr(owner, name, wrapped)

    if phase == "set-up":
        around(Trainer, "resume_or_load")
    elif phase == "first batch":
        around(Trainer, "_next_batch")
    elif phase == "training":
        around(engine_toy.ToyPose, "misbehave", lambda _, now: now == ITERATION)
    elif phase == "writing":  # the second one is there, but has no name yet
        checkpoints = itertools.count(1)
        around(output_files, "_settle", lambda path: is_archive(path) and next(checkpoints) == 2)
    elif phase == "evaluation":
        around(engine_toy.ToyPose, "person")


def is_archive(path):
    """Whether a path is a file that ``torch.save`` wrote."""
    return os.path.isfile(path) and Path(path).read_bytes()[:2] == b"PK"


def train(config, *options, processes_count=1, workers="fork", phase=None, marker=None, resume=False):
    """What a forked process does: ``train_net.py`` of the toy. Arguments as those of :func:`started`."""
    multiprocessing.set_start_method(workers, force=True)
    torch.set_num_threads(1)
    if phase is not None:
        hold(phase, marker)
    # The processes of --num-gpus are copies of this one, with what hold() changed.
    children.mp = multiprocessing_by_fork = type("Fork", (), {})()
    multiprocessing_by_fork.get_context = lambda _: multiprocessing.get_context("fork")
    line = ["--config-file", str(config), *["--resume"] * resume, "--num-gpus", str(processes_count), *options]
    arguments = argument_parser().parse_args(line)
    launch(train_net.main, arguments.num_gpus, args=(arguments,))


def started(folder, *options, log="log", phase=None, **how):
    """Start a training of the toy.

    Args:
        folder: with ``toy.yaml``; ``OUTPUT_DIR`` is its folder ``out`` unless ``options`` say otherwise.
        log: file name for what it prints. phase: to stay in.
        how: ``processes_count``, ``workers`` (how data-loading processes start), ``resume``.
    """
    folder = Path(folder)
    marker = folder / f"{log}.marker"
    given = dict(phase=phase, marker=str(marker), **how)
    process = Forked(lambda: train(folder / "toy.yaml", *map(str, options), **given), folder / log)
    process.marker = marker
    return process


def wait_for(path, process, seconds=240):
    """Wait until a file is there, and return its text."""
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):
        assert time.monotonic() < deadline, process.log.read_text()[-2000:]
        time.sleep(0.02)
    return Path(path).read_text()


def weights(path):
    """The content of a checkpoint."""
    return torch.load(path, weights_only=True)


def differences(one, other):
    """What differs between two checkpoints: names of weights and of momenta."""
    found = [
        f"{part} {name}"
        for part in ("model", "raw")
        for name, value in one[part].items()
        if not torch.equal(value, other[part][name])
    ]
    state = other["optimizer"]["state"]
    for index, entries in one["optimizer"]["state"].items():
        found += [f"{name} {index}" for name, value in entries.items() if not torch.equal(value, state[index][name])]
    return found + (["iteration"] if one["iteration"] != other["iteration"] else [])
