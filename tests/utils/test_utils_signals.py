"""What a signal does, and that a store which is used again does not mislead."""

import os
import signal
import threading
import time

import pytest
import torch.distributed as dist
from engine_kills import Forked

from rle_onestage import console
from rle_onestage.data import workers
from rle_onestage.engine.processes.meeting import fresh_view
from rle_onestage.engine.processes.watch import EvaluationStopped, EvaluationWatch
from rle_onestage.utils import signals
from rle_onestage.utils.signals import Interrupted, StopRequest


def press(signum=signal.SIGINT):
    os.kill(os.getpid(), signum)


def test_the_echo_of_a_press_is_no_second_one(monkeypatch):
    with StopRequest() as stop:
        press()
        press()  # as a wrapper hands it on
        assert stop.signum == signal.SIGINT
        monkeypatch.setattr(signals, "ECHO_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            press()


def test_the_first_press_after_a_sigterm_loses_nothing(monkeypatch):
    with StopRequest() as stop:
        press(signal.SIGTERM)
        press()
        press()  # its echo
        assert stop.signum == signal.SIGTERM
        monkeypatch.setattr(signals, "ECHO_SECONDS", 0.0)
        press(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            press()


def test_who_has_a_launcher_never_takes_the_second_for_another(monkeypatch):
    monkeypatch.setattr(signals, "ECHO_SECONDS", 0.0)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with StopRequest() as stop:
        press()
        press()
        press(signal.SIGTERM)
    assert stop.signum == signal.SIGINT


def test_before_the_training_a_signal_ends_once(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    with signals.raising():
        with pytest.raises(Interrupted) as caught:
            press(signal.SIGTERM)
        press()  # on the way out
    assert signals.exit_code(caught.value) == 143 and signals.exit_code(KeyboardInterrupt()) == 130
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminals that hang up")
def test_a_terminal_that_is_closed_ends_the_work_in_order():
    with StopRequest() as stop:
        press(signal.SIGHUP)
    assert stop.signum == signal.SIGHUP and stop.exit_code == 129


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminals that hang up")
def test_under_nohup_the_work_goes_on():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            press(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert not stop.signum
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_is_held_back_comes_afterwards():
    with StopRequest() as stop:
        with signals.held_back():
            # To this thread: one that an earlier test left would take a signal to the process.
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            assert stop.signum == 0
        assert stop.signum == signal.SIGTERM


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_a_data_loading_process_ignores_what_a_terminal_sends_to_all(name):
    """At any time, also before it can have a handler. SIGTERM ends it; who started it relies on that."""
    with workers.starting(1):
        child = os.fork()
        if not child:
            press(getattr(signal, name))
            workers.settle()
            press(getattr(signal, name))
            press(signal.SIGTERM)
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    assert getattr(signal, name) not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_who_has_lost_torchrun_during_its_imports_ends(tmp_path):
    """They take seconds, after which the parent is whoever takes orphans over."""

    def orphan():
        os.environ["TORCHELASTIC_RUN_ID"] = "none"
        console._STARTED = (os.getpid(), 2**22 + 1)  # no process has so large a number
        signals.end_with_launcher()
        time.sleep(30)

    assert console.starter() == os.getppid()
    assert Forked(orphan, tmp_path / "log").wait(20) == -signal.SIGTERM


def together(*functions):
    """Call each in a thread; returns their results, an exception among them as itself."""
    results = [None] * len(functions)

    def call(index):
        try:
            results[index] = functions[index]()
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=call, args=(index,), daemon=True) for index in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return results


@pytest.fixture
def connect():
    """Gives clients of one store."""
    server = dist.TCPStore("127.0.0.1", 0, None, is_master=True, wait_for_workers=False)
    yield lambda: dist.TCPStore("127.0.0.1", server.port, None, is_master=False)


def test_each_attempt_sees_nothing_of_the_one_before(connect):
    """Also where the others come long before the first process, which alone can tell that there is a new attempt."""
    for attempt in range(3):

        def come(rank, late):
            time.sleep(late)
            return fresh_view(connect(), rank, 3)  # noqa: B023

        late = 0.5 * (attempt > 0)
        views = together(lambda: come(0, late), lambda: come(1, 0), lambda: come(2, 0))  # noqa: B023
        assert not any(view.check(["address"]) for view in views)
        views[0].set("address", str(attempt))
        assert [view.get("address") for view in views] == [str(attempt).encode()] * 3


class Stop:
    signum = 0


def watches(connect, monkeypatch, stops):
    """Watches of as many processes as there are stops."""
    made = []
    monkeypatch.setattr("rle_onestage.engine.processes.watch.comm.get_world_size", lambda: len(stops))
    for stop in stops:
        monkeypatch.setattr(EvaluationWatch, "_made", iter([7]))
        store = connect()
        monkeypatch.setattr("torch.distributed.distributed_c10d._get_default_store", lambda store=store: store)
        made.append(EvaluationWatch(stop))
    return made


def test_an_evaluation_ends_in_all_processes_or_in_none(connect, monkeypatch):
    stops = [Stop(), Stop()]
    first, second = watches(connect, monkeypatch, stops)

    def told_while_the_other_waits():
        time.sleep(0.3)
        stops[1].signum = 15
        second.check()

    ends = together(first.wait_for_all, told_while_the_other_waits)
    assert all(isinstance(end, EvaluationStopped) for end in ends)


def test_a_signal_after_all_were_done_does_not_part_them(connect, monkeypatch):
    stops = [Stop(), Stop()]
    first, second = watches(connect, monkeypatch, stops)
    assert together(first.wait_for_all, second.wait_for_all) == [None, None]
    stops[1].signum = 15
    second.check()  # too late for this one; the training stops after the iteration
