"""One training at a time in an OUTPUT_DIR."""

import json
import os
import re
import signal
import time

import engine_toy
import pytest
from engine_kills import Forked, started, wait_for

from rle_onestage.engine import Trainer, load_config
from rle_onestage.engine.processes import lock
from rle_onestage.errors import ConfigError
from rle_onestage.utils import signals


def holder(folder, tmp_path, then=lambda: time.sleep(60)):
    """A process that holds a folder."""

    def hold():
        lock.claim(folder)
        (tmp_path / "there").touch()
        then()

    process = Forked(hold, tmp_path / "holder")
    wait_for(tmp_path / "there", process)
    return process


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    first = holder(tmp_path, tmp_path)
    with pytest.raises(ConfigError, match=rf"{re.escape(str(tmp_path))} belongs to a .* \(process {first.pid} on "):
        lock.claim(tmp_path, patience=0)
    first.send(signal.SIGKILL, group=False)
    assert first.wait() == -signal.SIGKILL
    lock.claim(tmp_path, patience=0)
    lock.claim(tmp_path, patience=0)  # ours already
    lock.release(tmp_path)
    lock.release(tmp_path)


def test_children_of_a_killed_process_do_not_keep_its_lock(tmp_path):
    """Data-loading processes that are forked outlive it by seconds."""

    def fork():
        child = os.fork()
        if child:
            (tmp_path / "child").write_text(str(child))
        time.sleep(60)

    first = holder(tmp_path, tmp_path, fork)
    child = int(wait_for(tmp_path / "child", first))
    first.send(signal.SIGKILL, group=False)
    first.wait()
    try:
        lock.claim(tmp_path, patience=0)
        lock.release(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_training_that_is_ending_is_waited_for(tmp_path, caplog):
    said = tmp_path / "said"

    def until_said():
        while not said.exists():
            time.sleep(0.02)

    first = holder(tmp_path, tmp_path, until_said)
    caplog.handler.addFilter(lambda record: said.touch() or True)
    lock.claim(tmp_path)
    lock.release(tmp_path)
    assert first.wait() == 0
    assert [f"still belongs to process {first.pid} on" in line for line in caplog.messages] == [True]


def test_the_file_goes_with_the_lock_and_there_are_never_two_owners(tmp_path, monkeypatch):
    """Each process may open the file just before another deletes it."""
    monkeypatch.setattr(lock, "_POLL_SECONDS", 0)

    def take_turns():
        for _ in range(100):
            lock.claim(tmp_path)
            os.mkdir(tmp_path / "owned")  # fails where another process is the owner too
            os.rmdir(tmp_path / "owned")
            lock.release(tmp_path)

    processes = [Forked(take_turns, tmp_path / f"log{number}") for number in range(4)]
    for process in processes:
        assert process.wait(60) == 0, process.log.read_text()
    assert not (tmp_path / lock.NAME).exists()


def test_the_lock_of_another_process_is_never_deleted(tmp_path):
    lock.claim(tmp_path)
    os.remove(tmp_path / lock.NAME)
    other = holder(tmp_path, tmp_path)
    lock.release(tmp_path)
    with pytest.raises(ConfigError, match=f"process {other.pid} on"):
        lock.claim(tmp_path, patience=0)
    other.send(signal.SIGKILL, group=False)
    other.wait()


def test_it_is_waited_for_as_long_as_processes_without_their_launcher_may_take():
    assert lock.PATIENCE_SECONDS > signals.ORPHAN_SECONDS + signals.POLL_SECONDS


def test_an_old_lock_file_does_not_count_whatever_stands_in_it(tmp_path):
    (tmp_path / lock.NAME).write_bytes(b"\xff\x00")
    lock.claim(tmp_path, patience=0)
    assert json.loads((tmp_path / lock.NAME).read_text())["process"] == os.getpid()
    lock.release(tmp_path)


def test_a_folder_that_is_made_anew_is_locked_anew(tmp_path):
    first = holder(tmp_path, tmp_path)
    os.remove(tmp_path / lock.NAME)
    lock.claim(tmp_path, patience=0)
    lock.release(tmp_path)
    first.send(signal.SIGKILL, group=False)
    first.wait()


def test_the_second_training_leaves_all_of_the_first(tmp_path):
    config = engine_toy.write_config(tmp_path)
    first = started(tmp_path, phase="training")
    wait_for(first.marker, first)
    before = (tmp_path / "out" / "config.yaml").read_bytes()
    second = started(tmp_path, "SEED", 5, log="second")
    assert second.wait() == 2
    said = second.log.read_text()
    assert said.startswith("error: OUTPUT_DIR") and said.count("\n") == 1 and f"process {first.pid} on" in said
    assert (tmp_path / "out" / "config.yaml").read_bytes() == before
    with pytest.raises(ConfigError, match="belongs to a training"):  # without setup() too
        Trainer(load_config(str(config))).train()
    assert first.wait() == 0, first.log.read_text()
    assert not (tmp_path / "out" / lock.NAME).exists()
    assert len((tmp_path / "out" / "training.jsonl").read_text().splitlines()) == 4
