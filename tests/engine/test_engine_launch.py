"""One or several processes: the same losses, every image once, one sentence on errors."""

import contextlib
import functools
import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import engine_toy
import pytest
import torch
from engine_kills import started
from engine_toy import REAL

from rle_onestage.engine import Trainer, argument_parser, launch, load_config
from rle_onestage.engine.processes.launch import _guarded, _run_worker
from rle_onestage.engine.processes.meeting import open_store
from rle_onestage.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[2]
TOY = str(ROOT / "tests" / "engine_toy.py")
SAME_IMAGES = ["INPUT.POSE.SCALE", "[1.0,1.0]", "INPUT.POSE.FLIP_PROB", "0.0"]


@pytest.fixture
def config(tmp_path):
    return engine_toy.write_config(tmp_path)


def run(command, **environment):
    """Run a command beside the sources; returns the finished process."""
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    kept = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        env={**kept, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def torchrun(*arguments, **environment):
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", TOY]
    return run([*command, *map(str, arguments)], **environment)


def losses(folder):
    lines = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "loss" in key} for line in lines]


def test_two_processes_have_the_losses_of_one(config, tmp_path):
    options = [*REAL, *SAME_IMAGES, "SOLVER.MAX_ITER", "12", "SOLVER.LOG_PERIOD", "1", "SOLVER.CHECKPOINT_PERIOD", "50"]
    process = started(tmp_path, *options, "OUTPUT_DIR", tmp_path / "two", processes_count=2)
    code, said = process.wait(), process.log.read_text()
    assert code == 0, said
    assert "evaluated more than once" not in said and "were not evaluated" not in said
    trainer = Trainer(load_config(str(config), [*options, "OUTPUT_DIR", str(tmp_path / "one")]))
    trainer.train()
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == 12
    for step, (a, b) in enumerate(zip(one, two)):
        assert a.keys() == b.keys()
        assert {key: abs(a[key] - b[key]) < 1e-4 for key in a} == dict.fromkeys(a, True), step
    figures = [json.loads((tmp_path / name / "metrics.json").read_text())["bbox"]["AP"] for name in ("one", "two")]
    assert figures[0] == pytest.approx(figures[1], abs=1e-3)


@pytest.mark.slow
def test_an_error_in_one_process_is_one_sentence(config):
    """Whichever process fails, also if the other one waits for it."""
    process = run([TOY, "--config-file", str(config), "--num-gpus", "2"], TOY_FAIL_RANK="1", CUDA_VISIBLE_DEVICES="")
    assert process.returncode == 2
    assert process.stderr.strip() == "error: image broken.jpg cannot be read on this process; restore it"


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", "1"])
def test_an_error_under_torchrun_is_one_sentence(config, rank):
    process = torchrun("--config-file", config, TOY_FAIL_RANK=rank)
    assert process.returncode != 0
    assert process.stderr.count("error: image broken.jpg") == 1
    ours = process.stderr.split("torch/distributed/elastic")[0]  # torchrun tells its own story after that
    assert "Traceback" not in ours


@pytest.mark.slow
def test_divergence_and_signals_with_two_processes(config, tmp_path):
    command = [TOY, "--config-file", str(config), "--num-gpus", "2"]
    process = run(command, TOY_NAN_AT="5", CUDA_VISIBLE_DEVICES="")
    assert process.returncode == 2
    assert process.stderr.count("error: ") == 1 and "iteration 5" in process.stderr and ".png" in process.stderr
    assert (tmp_path / "out" / "last_checkpoint").read_text() == "model_0000002.pth"
    process = run([*command, "OUTPUT_DIR", str(tmp_path / "b")], TOY_SIGNAL_AT="3:15", CUDA_VISIBLE_DEVICES="")
    assert process.returncode == 143 and "--resume" in process.stdout
    process = run([*command, "OUTPUT_DIR", str(tmp_path / "c")], TOY_KILL_AT="3", CUDA_VISIBLE_DEVICES="")
    assert process.returncode != 0 and process.stderr.count("error: ") <= 1


def test_resume_of_the_real_model_is_exact(config, tmp_path, monkeypatch):
    """Also what it derives from its weights: the nodes of the normaliser, the table of the decoder."""
    from rle_onestage.modeling.criterion import Criterion

    monkeypatch.setattr(Criterion, "REFRESH_EVERY", 3)
    options = [*REAL, "TEST.EVAL_PERIOD", "5", "SOLVER.OPTIMIZER", "AdamW", "SOLVER.BASE_LR", "0.005"]
    options += ["SOLVER.MAX_ITER", "9", "SOLVER.CHECKPOINT_PERIOD", "4"]
    Trainer(load_config(str(config), [*options, "OUTPUT_DIR", str(tmp_path / "a")])).train()
    cfg = load_config(str(config), [*options, "OUTPUT_DIR", str(tmp_path / "b")])

    class Crashing(Trainer):
        def run_step(self):
            if self.iter == 6:
                raise MemoryError
            super().run_step()

    with pytest.raises(MemoryError):
        Crashing(cfg).train()
    resumed = Trainer(cfg)
    resumed.resume_or_load()
    assert resumed.start_iter == 4
    resumed.train()
    a, b = (torch.load(tmp_path / name / "model_final.pth", weights_only=True) for name in ("a", "b"))
    for part in ("raw", "model"):
        assert [key for key, value in a[part].items() if not torch.equal(value, b[part][key])] == []


def fail():
    raise DataError("a sentence\nover two lines")


def interrupt():
    raise KeyboardInterrupt


@contextlib.contextmanager
def group_that_cannot_be_joined(**options):
    raise ConfigError("the processes cannot meet")
    yield


def test_before_the_processes_have_met_the_first_of_each_machine_tells(capsys, monkeypatch):
    monkeypatch.setitem(_run_worker.__globals__, "process_group", group_that_cannot_be_joined)
    for local_rank, said in ((0, "error: the processes cannot meet\n"), (1, "")):
        with pytest.raises(SystemExit) as caught:
            _run_worker(local_rank, fail, (), "cpu", 2, 2, 1, ("host", 1))  # of the second machine
        assert caught.value.code == 2 and capsys.readouterr().err == said


def test_what_a_training_prints_does_not_end_it(monkeypatch):
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    launch(print, args=("run \u4eba",))
    assert ascii_only.buffer.getvalue() == b"run \\u4eba\n"

    read, write = os.pipe()
    os.close(read)  # as head does, which has its lines
    with open(write, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        launch(functools.partial(print, flush=True), args=("iter 20",))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no file that is full")
def test_what_a_full_disk_loses_of_the_output_is_told(monkeypatch, capsys):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as caught:
            launch(print, args=("AP 50",))
    assert caught.value.code == 2 and "No space left on device" in capsys.readouterr().err


def test_an_interruption_before_any_training_says_nothing_of_one(capsys):
    with pytest.raises(SystemExit):
        launch(interrupt)
    assert capsys.readouterr().err == "interrupted\n"


def interrupt_training(config):
    """Twice Ctrl-C in iteration 4, which ends at once."""

    class Impatient(Trainer):
        def run_step(self):
            if self.iter == 4:
                raise KeyboardInterrupt
            super().run_step()

    Impatient(load_config(str(config))).train()


def test_an_interrupted_training_names_its_last_checkpoint(config, tmp_path, capsys):
    with pytest.raises(SystemExit):
        launch(interrupt_training, args=(config,))
    last = tmp_path / "out" / "model_0000002.pth"
    assert f"interrupted; go on from {last} with the same command and --resume" in capsys.readouterr().err


def test_errors_become_a_sentence_and_an_exit_code(capsys):
    with pytest.raises(SystemExit) as caught:
        launch(fail)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: a sentence over two lines\n"
    with pytest.raises(SystemExit) as caught:
        launch(interrupt)
    assert caught.value.code == 130


def lose_partner():
    raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1234")


def test_only_the_first_process_to_fail_tells(capsys, monkeypatch):
    def ends_with(code):
        raise SystemExit(code)

    def run_in_group(main):
        with pytest.raises(SystemExit) as caught:
            _guarded(main, (), group=contextlib.nullcontext())
        assert caught.value.code == 2
        return capsys.readouterr().err

    stores = [torch.distributed.HashStore(), torch.distributed.HashStore()]
    monkeypatch.setattr(os, "_exit", ends_with)
    # It would close the stream that pytest captures, where a library's handler of logs closes its own.
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    monkeypatch.setattr(torch.distributed.distributed_c10d, "_get_default_store", lambda: stores[0])
    assert run_in_group(fail) == "error: a sentence over two lines\n"
    assert run_in_group(fail) == "" and run_in_group(lose_partner) == ""
    stores.pop(0)
    assert run_in_group(lose_partner).startswith("error: another process ended without a word")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_machines": 2, "machine_rank": 2}, "--machine-rank"),
        ({"num_machines": 0}, "--num-machines is 0"),
        ({"num_machines": 2, "dist_url": "tcp://127.0.0.1:1"}, "--dist-url"),
        ({"dist_url": "somewhere"}, "--dist-url"),
        ({"dist_url": "tcp://127.0.0.1:99999"}, "--dist-url is 'tcp://127.0.0.1:99999'"),
        ({"dist_url": "tcp://127.0.0.1:abc"}, "--dist-url is"),
        ({"dist_url": "tcp://127.0.0.1:0"}, "--dist-url is"),
        ({"dist_url": "tcp://[::1"}, "--dist-url is"),
    ],
)
def test_arguments_that_do_not_fit(capsys, monkeypatch, options, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as caught:
        launch(fail, 2, **options)
    assert caught.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_gpus": 10**20}, "--num-gpus is 100000000000000000000; give at most 1024"),
        ({"machine_rank": 1000}, "--machine-rank is 1000, but there is one machine"),
    ],
)
def test_numbers_of_processes_that_cannot_be(capsys, options, words):
    with pytest.raises(SystemExit) as caught:
        launch(fail, **options)
    assert caught.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize(
    "numbers, words",
    [
        ({"RANK": "x", "WORLD_SIZE": "1"}, "variable RANK is 'x'"),
        ({"RANK": "0", "WORLD_SIZE": "x"}, "variable WORLD_SIZE is 'x'"),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "x"}, "variable LOCAL_RANK is 'x'"),
        ({"RANK": "5", "WORLD_SIZE": "2"}, "RANK 5 and WORLD_SIZE 2"),
    ],
)
def test_an_environment_that_torchrun_did_not_make(capsys, monkeypatch, numbers, words):
    for name, value in numbers.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        launch(fail)
    assert caught.value.code == 2 and words in capsys.readouterr().err


def test_a_port_in_use_is_an_error():
    store, (host, port) = open_store("auto", 2, 0)
    with pytest.raises(ConfigError, match="another port"):
        open_store(f"tcp://{host}:{port}", 2, 0)
    del store


def test_flags_are_those_of_detectron2():
    line = "--config-file c --resume --eval-only --num-gpus 2 --num-machines 3 --machine-rank 1 --dist-url u SEED 3"
    parsed = argument_parser().parse_args(line.split())
    assert (parsed.config_file, parsed.resume, parsed.eval_only, parsed.num_gpus) == ("c", True, True, 2)
    assert (parsed.num_machines, parsed.machine_rank, parsed.dist_url, parsed.opts) == (3, 1, "u", ["SEED", "3"])
    assert argument_parser().parse_args(["--num-gpus", "2"]).dist_url == "auto"  # beside any other training
