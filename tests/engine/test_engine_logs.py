"""A full disk costs lines of the logs, and nothing else."""

import errno
import json
import logging
import os
import sys
import threading
import types
from pathlib import Path

import engine_toy
import pytest
import torch
from detectron2.utils.events import EventStorage

from rle_onestage.engine import Trainer, evaluate_only, load_config, logs
from rle_onestage.engine.logs import LinesWriter, LogFile, Patient, append_whole, logged_later, quiet_event_threads
from rle_onestage.errors import CheckpointError, PoseError
from rle_onestage.utils import output_files

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def config(tmp_path):
    return engine_toy.write_config(tmp_path)


class Disk:
    """Writing fails while ``full``, after the first bytes, as on a disk that fills."""

    def __init__(self, monkeypatch):
        self.full = True
        self._write, self._open = os.write, logs.LogFile._open
        monkeypatch.setattr(logs.os, "write", self.write)
        monkeypatch.setattr(logs.LogFile, "_open", lambda handler: self.open(handler))

    def write(self, descriptor, data):
        """Half of it, then nothing."""
        if not self.full:
            return self._write(descriptor, data)
        if len(data) < 10:
            raise FULL
        return self._write(descriptor, bytes(data)[: len(data) // 2])

    def open(self, handler):
        """A stream for the text log."""
        if self.full:
            raise FULL
        return self._open(handler)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.fixture
def warnings(caplog):
    return lambda: [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_lines_are_whole_or_not_there(tmp_path, disk):
    path = tmp_path / "training.jsonl"
    with EventStorage(0) as storage:
        writer = LinesWriter(str(path), window=1)
        for iteration in range(4):
            disk.full = iteration == 2
            storage.put_scalar("loss", 0.1 * iteration)
            if disk.full:
                with pytest.raises(OSError):
                    writer.write()
            else:
                writer.write()
            storage.step()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{"iteration": i, "loss": 0.1 * i} for i in (0, 1, 3)]


def test_appending_has_no_limit_of_one_call(tmp_path, monkeypatch):
    true = os.write
    monkeypatch.setattr(logs.os, "write", lambda descriptor, data: true(descriptor, bytes(data)[:3]))
    append_whole(str(tmp_path / "log"), b"abcdefgh")
    append_whole(str(tmp_path / "log"), b"ij")
    assert (tmp_path / "log").read_bytes() == b"abcdefghij"


def test_text_log_says_it_once_and_goes_on_when_there_is_room(tmp_path, disk, warnings, capfd):
    named = logging.getLogger("rle_onestage.test_log")
    named.setLevel(logging.INFO)
    handler = LogFile(str(tmp_path / "log.txt"))
    named.addHandler(handler)
    try:
        for number in range(4):
            disk.full = number < 2
            named.info("line %d", number)
    finally:
        named.removeHandler(handler)
        handler.close()
    text = (tmp_path / "log.txt").read_text()
    assert "line 2" in text and "line 3" in text and "line 1" not in text
    assert len(warnings()) == 1 and "log.txt cannot be written (No space left" in warnings()[0]
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_a_stream_that_fails_on_closing_is_silent(capfd):
    handler = LogFile("/dev/full")
    handler.emit(logging.LogRecord("rle_onestage", logging.INFO, "f", 1, "line", (), None))
    handler.close()
    assert "Traceback" not in capfd.readouterr().err


class Fails:
    """A writer that fails so many times."""

    def __init__(self, times, error=FULL):
        self.times, self.error, self.written, self.closed = times, error, 0, 0

    def write(self):
        """Fail or count."""
        if self.times:
            self.times -= 1
            raise self.error
        self.written += 1

    def close(self):
        """Fail, as flushing what could not be written does."""
        self.closed += 1
        raise self.error


def test_a_log_that_cannot_be_read_costs_the_log_alone(config, tmp_path, warnings):
    (tmp_path / "out" / "training.jsonl").mkdir(parents=True)
    Trainer(load_config(str(config), ["DATASETS.TEST", "()"])).train()
    assert (tmp_path / "out" / "last_checkpoint").read_text() == "model_final.pth"
    assert (
        sum("training.jsonl cannot be read (it is a folder, not a file); going on" in text for text in warnings()) == 1
    )


def test_a_log_that_is_a_device_without_end_costs_the_log_alone(config, tmp_path, warnings):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "training.jsonl").symlink_to("/dev/zero")
    Trainer(load_config(str(config), ["DATASETS.TEST", "()"])).train()
    assert (tmp_path / "out" / "last_checkpoint").read_text() == "model_final.pth"
    assert sum("training.jsonl cannot be read (it is a device, not a file)" in text for text in warnings()) == 1


def test_a_log_that_is_a_pipe_blocks_nobody(tmp_path, warnings):
    path = str(tmp_path / "log.txt")
    os.mkfifo(path)
    handler = LogFile(path)
    for text in ("one", "two"):
        handler.emit(logging.LogRecord("rle_onestage", logging.INFO, "f", 1, text, (), None))
    assert warnings() == [f"{path} cannot be written (it is a pipe, not a file); going on without it"]
    with pytest.raises(OSError, match="it is a pipe"):
        append_whole(path, b"line")


@pytest.mark.parametrize(("again", "written"), [(True, 3), (False, 0)])
def test_a_writer_that_fails_is_named_once(warnings, again, written):
    inner = Fails(2)
    writer = Patient("training.jsonl", lambda: inner, again=again)
    for _ in range(5):
        writer.write()
    writer.close()
    assert (inner.written, inner.closed) == (written, 1)
    assert len(warnings()) == 1 and warnings()[0].startswith("training.jsonl cannot be written")


def test_only_failures_to_write_are_let_pass():
    with pytest.raises(KeyError):
        Patient("training.jsonl", lambda: Fails(1, KeyError("a mistake")), again=True).write()


def test_only_the_thread_of_tensorboard_is_quiet(monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.thread.name))

    def fail():
        raise FULL

    class _AsyncWriterThread(threading.Thread):
        """By its name."""

    with quiet_event_threads():
        for kind in (_AsyncWriterThread, threading.Thread):
            thread = kind(target=fail, name=kind.__name__)
            thread.start()
            thread.join()
    assert seen == ["Thread"]


def run(config, *options):
    trainer = Trainer(load_config(str(config), list(options)))
    trainer.resume_or_load(resume=False)
    trainer.train()
    return trainer


def test_a_disk_that_is_full_for_the_logs_ends_no_training(config, tmp_path, disk, warnings, monkeypatch):
    """Each file that cannot be written is named once; weights, figures and later lines are what they would be."""

    def refuse(path, *_):
        if os.path.basename(path) in ("metrics.json", "coco_instances_results.json"):
            raise FULL
        return true(path)

    true = output_files.kind_of
    monkeypatch.setattr(output_files, "kind_of", refuse)
    monkeypatch.setattr("rle_onestage.evaluation.results.write_bytes", lambda path, data: refuse(path))
    trainer = run(config, "TEST.EVAL_PERIOD", "4")
    out = tmp_path / "out"
    assert (out / "model_final.pth").exists() and trainer.results["bbox"]["AP"] > 0
    assert not (out / "training.jsonl").read_text() and not (out / "metrics.json").exists()
    told = [text for text in warnings() if "cannot be written" in text]
    assert sum("training.jsonl" in text for text in told) == 1
    assert sum("inference" in text for text in told) == 2  # of two evaluations
    with pytest.raises(PoseError, match="coco_instances_results.json cannot be written"):
        evaluate_only(load_config(str(config), ["MODEL.WEIGHTS", str(out / "model_final.pth")]))


def test_tensorboard_that_fails_ends_no_training(config, tmp_path, warnings, monkeypatch):
    inner = Fails(9)
    module = types.SimpleNamespace(TensorboardXWriter=lambda *_, **__: inner)
    monkeypatch.setitem(sys.modules, "tensorboard", types.SimpleNamespace(__spec__=1))
    monkeypatch.setattr("detectron2.utils.events.TensorboardXWriter", module.TensorboardXWriter)
    run(config)
    assert inner.times == 8 and (tmp_path / "out" / "model_final.pth").exists()
    assert len((tmp_path / "out" / "training.jsonl").read_text().splitlines()) == 4
    assert sum("events.* cannot be written" in text for text in warnings()) == 1


def test_a_checkpoint_that_cannot_be_written_is_a_sentence_and_the_last_one_stays(config, tmp_path, monkeypatch):
    def save(content, file, true=torch.save):
        if content.get("iteration") == 5:
            file.write(b"half of it")
            raise FULL
        true(content, file)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(CheckpointError, match="model_0000005.pth cannot be written .*space left"):
        run(config)
    out = tmp_path / "out"
    assert (out / "last_checkpoint").read_text() == "model_0000002.pth"
    assert sorted(path.name for path in Path(out).glob("*.pth*")) == ["model_0000002.pth"]
    monkeypatch.undo()
    trainer = Trainer(load_config(str(config)))
    trainer.resume_or_load(resume=True)
    assert trainer.start_iter == 3


def test_lines_that_are_held_back_come_with_the_release_or_never(tmp_path):
    file = LogFile(str(tmp_path / "log.txt"), hold=True)
    named = logging.Logger("held")
    named.addHandler(file)
    named.info("early %d", 1)
    assert not list(tmp_path.iterdir())
    file.write_held()
    named.info("late")
    assert [line.rsplit(": ", 1)[1] for line in (tmp_path / "log.txt").read_text().splitlines()] == ["early 1", "late"]
    file.close()


def test_what_is_said_before_there_is_a_log_is_in_the_log(tmp_path, monkeypatch, capsys):
    ours = logging.getLogger("rle_onestage")
    monkeypatch.setattr(ours, "handlers", [])
    with logged_later():
        ours.warning("early")
        assert "early" not in capsys.readouterr().err
        monkeypatch.setattr(ours, "handlers", [LogFile(str(tmp_path / "log.txt")), logging.StreamHandler(sys.stdout)])
        ours.warning("late")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert sorted(line.split(" WARNING: ")[1] for line in lines) == ["early", "late"]
    assert capsys.readouterr().out.split() == ["late", "early"]
    ours.handlers.clear()
    with pytest.raises(PoseError), logged_later():
        ours.warning("of a failure")
        raise PoseError("failed")
    assert "of a failure" in capsys.readouterr().err and not ours.handlers
