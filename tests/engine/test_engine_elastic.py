"""Machines that die and join under torchrun: two of its agents on this machine, each with a process."""

import json
import os
import signal
import socket
import time

import engine_toy
import pytest
from engine_kills import Forked, started, train, weights

from rle_onestage.engine.checkpoint import shares

ITERATIONS = 150


def agent(config, endpoint, *options):
    """What ``torchrun --nnodes 1:2 --rdzv-backend c10d`` does on a machine; its workers are forked."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # see docs/many_machines.md
    given = LaunchConfig(
        min_nodes=1, max_nodes=2, nproc_per_node=1, run_id="elastic", rdzv_backend="c10d", rdzv_endpoint=endpoint,
        rdzv_configs={"join_timeout": 60, "last_call_timeout": 2, "keep_alive_interval": 3}, max_restarts=5,
        start_method="fork", monitor_interval=0.1, local_addr="127.0.0.1",
    )  # fmt: skip
    elastic_launch(given, lambda: train(config, *options))()


@pytest.fixture
def machines(tmp_path):
    """Starts an agent: ``machines(name, *options)``."""
    engine_toy.write_config(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    running = []

    def start(name, *options):
        config = tmp_path / "toy.yaml"
        running.append(Forked(lambda: agent(config, endpoint, *map(str, options)), tmp_path / f"{name}.log"))
        return running[-1]

    yield start
    for process in running:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def wait_for_word(text, *processes, seconds=120):
    """Wait until one of some processes has said something."""
    deadline = time.monotonic() + seconds
    while True:
        logs = [process.log.read_text() for process in processes if process.log.exists()]
        if any(text in log for log in logs):
            return
        assert time.monotonic() < deadline, "\n".join(log[-3000:] for log in logs)
        time.sleep(0.05)


def wait_for_a_checkpoint(folder, seconds=120):
    """Wait until another one is the last."""
    pointer, deadline = folder / "last_checkpoint", time.monotonic() + seconds
    before = pointer.read_text()
    while pointer.read_text() == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lines(folder):
    """The lines of ``training.jsonl``, by iteration."""
    found = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    return {line["iteration"]: line for line in found if "lr" in line}


def images_seen(path):
    """Of each iteration the images that all its processes saw together, in each number of processes that finished it.

    A process that goes on with an iteration that was begun before sees the same images in it.
    """
    shares = {}
    for line in path.read_text().splitlines():
        iteration, processes, rank, images = json.loads(line)
        assert shares.setdefault((iteration, processes), {}).setdefault(rank, images) == images, line
    seen = {}
    for (iteration, processes), found in shares.items():
        if len(found) == processes:
            seen.setdefault(iteration, []).append(sorted(sum(found.values(), [])))
    return seen


@pytest.mark.slow
def test_a_machine_that_is_killed_and_joins_again(tmp_path, machines, monkeypatch):
    """Without --resume: neither the death of a machine nor the coming of one begins the training anew."""
    options = ["SOLVER.MAX_ITER", ITERATIONS, "SOLVER.CHECKPOINT_PERIOD", 10, "DATASETS.TEST", "()"]
    monkeypatch.setenv("TOY_SEEN", str(tmp_path / "whole.seen"))
    whole = started(tmp_path, *options, "OUTPUT_DIR", tmp_path / "whole", processes_count=2)
    assert whole.wait() == 0, whole.log.read_text()
    monkeypatch.setenv("TOY_SEEN", str(tmp_path / "out.seen"))
    monkeypatch.setenv("TOY_SLEEP", "0.3")
    first = machines("first", *options)
    wait_for_word("iter 4/", first)
    second = machines("second", *options)
    wait_for_word("2 process(es) go on with what 1 began, with 2 of 4 images each", first, second)
    wait_for_a_checkpoint(tmp_path / "out")
    os.killpg(second.pid, signal.SIGKILL)
    wait_for_word("1 process(es) go on with what 2 began, with 4 of 4 images each", first)
    third = machines("third", *options)
    assert first.wait() == 0, first.log.read_text()[-3000:]
    assert third.wait() == 0, third.log.read_text()[-3000:]
    log = (tmp_path / "out" / "log.txt").read_text()
    assert log.count("2 process(es) go on with what 1 began, with 2 of 4 images each") == 2
    assert log.count("Resuming from") == 3 and log.count("Training: iterations 1 to") == 1
    assert "Traceback" not in log
    disturbed, undisturbed = lines(tmp_path / "out"), lines(tmp_path / "whole")
    assert list(disturbed) == list(undisturbed)
    assert [line["lr"] for line in disturbed.values()] == [line["lr"] for line in undisturbed.values()]
    assert weights(tmp_path / "out" / "model_final.pth")["iteration"] == ITERATIONS - 1
    undisturbed_images = {iteration: found[0] for iteration, found in images_seen(tmp_path / "whole.seen").items()}
    disturbed_images = images_seen(tmp_path / "out.seen")
    assert disturbed_images.keys() == undisturbed_images.keys() == set(range(ITERATIONS))
    for iteration, found in disturbed_images.items():
        assert found == [undisturbed_images[iteration]] * len(found), iteration
    last = [sum(each[i]["total_loss"] for i in list(each)[-5:]) / 5 for each in (disturbed, undisturbed)]
    assert last[0] == pytest.approx(last[1], rel=0.3)


@pytest.mark.slow
def test_machines_with_a_folder_of_their_own_each_are_refused(tmp_path, machines, monkeypatch):
    """The checkpoint is on the first machine's disk, so that the others would begin anew."""
    monkeypatch.setenv("TOY_SLEEP", "0.3")
    monkeypatch.setattr(shares, "TRIALS", 2)
    options = ["SOLVER.MAX_ITER", ITERATIONS, "SOLVER.CHECKPOINT_PERIOD", 5, "DATASETS.TEST", "()"]
    places = [tmp_path / "one", tmp_path / "two"]
    first = machines("first", *options, "OUTPUT_DIR", places[0])
    wait_for_word("iter 8/", first)
    second = machines("second", *options, "OUTPUT_DIR", places[1])
    wait_for_word("is not the same folder for all 2 processes", first, second)
