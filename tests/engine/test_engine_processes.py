"""Processes that are started here: all or none, with their share of the cores, and all end after a signal."""

import errno
import os
import signal
import time
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import SimpleNamespace

import pytest
from engine_kills import Forked, wait_for

from rle_onestage.engine.processes import children
from rle_onestage.engine.processes.children import run_processes
from rle_onestage.errors import ConfigError
from rle_onestage.utils import signals


@pytest.fixture
def forked(monkeypatch):
    """Processes are forked, which takes no time."""
    fork = get_context("fork")
    monkeypatch.setattr(children, "mp", SimpleNamespace(get_context=lambda _: fork))
    return fork


def leave_threads(index, folder):
    signals.let_through()
    (Path(folder) / str(index)).write_text(os.environ["OMP_NUM_THREADS"])


@pytest.mark.parametrize("given, told", [(None, "3"), ("5", "5")])
def test_each_gets_its_share_of_the_cores_and_this_process_keeps_its_own(tmp_path, monkeypatch, forked, given, told):
    monkeypatch.setattr(children, "usable_cores", lambda: 7)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert run_processes(leave_threads, (str(tmp_path),), 2) == 0
    assert [(tmp_path / str(index)).read_text() for index in range(2)] == [told, told]
    assert os.environ.get("OMP_NUM_THREADS") == given


def stay(index, folder):
    signals.let_through()
    (Path(folder) / f"{index}").write_text(str(os.getpid()))
    time.sleep(60)


@pytest.mark.parametrize("error", [OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)), TypeError("cannot pickle")])
def test_where_one_cannot_be_started_none_is_left_running(tmp_path, monkeypatch, forked, error):
    started = []

    class Limited(ForkProcess):
        def start(self):
            if started:
                raise error
            super().start()
            started.append(self)

    monkeypatch.setattr(forked, "Process", Limited)
    with pytest.raises((ConfigError, TypeError), match="2 processes cannot be started|cannot pickle"):
        run_processes(stay, (str(tmp_path),), 2)
    assert not started[0].is_alive()


def deaf(index, folder):
    for signum in signals.ENDING:
        signal.signal(signum, signal.SIG_IGN)
    signals.let_through()
    Path(folder, "there").touch()
    time.sleep(60)


def test_who_does_not_end_after_a_signal_is_killed_in_the_end(tmp_path, monkeypatch, forked):
    monkeypatch.setattr(children, "STOP_SECONDS", 1)

    def run():
        raise SystemExit(run_processes(deaf, (str(tmp_path),), 1))

    process = Forked(run, tmp_path / "log")
    wait_for(tmp_path / "there", process)
    process.send(signal.SIGTERM, group=False)
    assert process.wait(20) == 128 + signal.SIGTERM
    assert "had not ended after 1 s were killed" in process.log.read_text()
