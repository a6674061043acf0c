"""Signals and kills in every phase, with one and two processes: nothing is lost, and resuming is exact."""

import os
import signal
import socket

import engine_toy
import pytest
from engine_kills import EVALUATED, ITERATION, PHASES, Forked, differences, started, train, wait_for, weights

SIGNALS = {"INT": signal.SIGINT, "TERM": signal.SIGTERM, "KILL": signal.SIGKILL}


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """The last checkpoints of trainings that nobody disturbed, by the number of processes."""
    made = {}

    def reference(count):
        if count not in made:
            folder = tmp_path_factory.mktemp(f"reference{count}")
            engine_toy.write_config(folder)
            process = started(folder, *EVALUATED, processes_count=count)
            assert process.wait() == 0, process.log.read_text()
            made[count] = weights(folder / "out" / "model_final.pth")
        return made[count]

    return reference


def kill_and_resume(folder, reference, *, phase, signum, group=True, count=1, workers="fork", loading=1):
    """Start, signal in a phase, look at what is left, resume, and compare; returns what the first run said."""
    engine_toy.write_config(folder)
    options = [*EVALUATED, "DATALOADER.NUM_WORKERS", loading]
    first = started(folder, *options, phase=phase, processes_count=count, workers=workers)
    wait_for(first.marker, first)
    first.send(signum, group)
    code, said, out = first.wait(), first.log.read_text(), folder / "out"
    pointer = out / "last_checkpoint"
    last = weights(out / pointer.read_text())["iteration"] if pointer.exists() else -1
    if signum == signal.SIGKILL:
        assert code == -signal.SIGKILL
        assert last == {"set-up": -1, "training": 2, "writing": 2, "evaluation": 2}[phase]
    else:
        assert code == 128 + signum, said
        assert "Traceback" not in said and "error: " not in said, said
        # The iteration under way, or the next one, is the last; two processes agree one iteration later.
        where = {"set-up": -1, "training": ITERATION, "writing": 5, "evaluation": 3}[phase]
        more = {"training": count - 1, "writing": count}.get(phase, 0)
        assert where <= last <= where + more, said
        assert "--resume" in said or phase == "set-up"
    second = started(folder, *options, log="second", processes_count=count, resume=True)
    assert second.wait() == 0, second.log.read_text()
    assert ("Resuming from" in second.log.read_text()) == (last >= 0)
    assert differences(weights(out / "model_final.pth"), reference(count)) == []
    assert not [name for name in os.listdir(out) if name.startswith(".rle")]
    return said


@pytest.mark.parametrize(
    "count, phase, name", [(2, "training", "INT"), (1, "writing", "KILL"), (2, "evaluation", "TERM")]
)
def test_a_training_that_is_ended_goes_on_exactly(tmp_path, references, count, phase, name):
    kill_and_resume(tmp_path, references, phase=phase, signum=SIGNALS[name], count=count)


def test_the_set_up_in_a_used_folder_names_no_checkpoint_to_go_on_from(tmp_path):
    """They are another training's, which --resume would go on with."""
    engine_toy.write_config(tmp_path)
    train_another(tmp_path)
    process = started(tmp_path, *EVALUATED, phase="set-up")
    wait_for(process.marker, process)
    process.send(signal.SIGTERM, group=True)
    assert process.wait() == 128 + signal.SIGTERM
    said = process.log.read_text()
    assert said.splitlines()[-1] == "interrupted" and "--resume" not in said
    assert (tmp_path / "out" / "last_checkpoint").read_text() == "model_final.pth"


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("workers", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("count", [1, 2])
def test_every_phase(tmp_path, references, count, phase, workers, name):
    kill_and_resume(tmp_path, references, phase=phase, signum=SIGNALS[name], count=count, workers=workers)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["INT", "TERM"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_signal_to_the_launcher_alone(tmp_path, references, phase, name):
    kill_and_resume(tmp_path, references, phase=phase, signum=SIGNALS[name], group=False, count=2, loading=0)


def test_processes_whose_launcher_is_killed_save_and_end(tmp_path, references):
    """The folder is free for --resume soon after, without a flag."""
    engine_toy.write_config(tmp_path)
    first = started(tmp_path, *EVALUATED, phase="training", processes_count=2)
    worker = int(wait_for(first.marker, first))
    assert worker != first.pid
    first.send(signal.SIGKILL, group=False)
    assert first.wait() == -signal.SIGKILL
    second = started(tmp_path, *EVALUATED, log="second", processes_count=2, resume=True)
    assert second.wait() == 0, second.log.read_text()
    assert differences(weights(tmp_path / "out" / "model_final.pth"), references(2)) == []
    assert "Resuming from" in second.log.read_text()


# -------------------------------------------------------------------- torchrun


def under_torchrun(config, *options, phase=None, marker=None, restarts=2):
    """What torchrun does, with processes that are forked; its store and its restarts are the real ones."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, run_id="none", rdzv_backend="static",
        rdzv_endpoint=f"127.0.0.1:{port}", rdzv_configs={"rank": 0, "timeout": 120}, max_restarts=restarts,
        start_method="fork", monitor_interval=0.1,
    )  # fmt: skip

    def work():
        again = int(os.environ["TORCHELASTIC_RESTART_COUNT"]) > 0
        train(config, *options, phase=None if again else phase, marker=marker)

    elastic_launch(given, work)()


def killed_and_restarted(folder, phase, used=False):
    engine_toy.write_config(folder)
    if used:
        train_another(folder)
    marker, options = str(folder / "marker"), ["DATALOADER.NUM_WORKERS", "0", *EVALUATED]
    process = Forked(lambda: under_torchrun(folder / "toy.yaml", *options, phase=phase, marker=marker), folder / "log")
    os.kill(int(wait_for(marker, process)), signal.SIGKILL)
    assert process.wait(120) == 0, process.log.read_text()
    return process.log.read_text()


def test_torchrun_goes_on_by_itself(tmp_path, references):
    """The restarted processes meet, and go on from the last checkpoint, also without --resume."""
    said = killed_and_restarted(tmp_path, "training")
    assert "Resuming from" in said
    assert differences(weights(tmp_path / "out" / "model_final.pth"), references(2)) == []


def train_another(folder):
    """Leave another training's checkpoints in the folder, as an ``OUTPUT_DIR`` that is used again has them."""
    other = started(folder, "SEED", 7, *EVALUATED, log="other")
    assert other.wait() == 0, other.log.read_text()


def test_torchrun_never_goes_on_with_a_training_of_somebody_else(tmp_path, references):
    """Its processes were killed before the training had begun, in a folder that had been used."""
    said = killed_and_restarted(tmp_path, "set-up", used=True)
    assert "Resuming from" not in said
    assert differences(weights(tmp_path / "out" / "model_final.pth"), references(2)) == []


def test_an_error_before_the_training_stays_one_after_torchruns_restart(tmp_path):
    engine_toy.write_config(tmp_path)
    train_another(tmp_path)
    before = (tmp_path / "out" / "last_checkpoint").read_text()
    options = [*EVALUATED, "MODEL.WEIGHTS", "missing.pth"]
    process = Forked(lambda: under_torchrun(tmp_path / "toy.yaml", *options, restarts=1), tmp_path / "log")
    assert process.wait(120) != 0
    said = process.log.read_text()
    assert said.count("error: checkpoint missing.pth does not exist") == 2 and "Resuming from" not in said
    # Nothing was begun, so whoever goes on with --resume finds the earlier training still.
    assert (tmp_path / "out" / "last_checkpoint").read_text() == before


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(10))
def test_torchrun_goes_on_every_time(tmp_path, references, trial):
    """In a folder that is new, or has another training's checkpoints."""
    said = killed_and_restarted(tmp_path, PHASES[trial % len(PHASES)], used=trial % 2 == 1 or trial >= 8)
    assert ("Resuming from" in said) == (PHASES[trial % len(PHASES)] != "set-up")
    assert differences(weights(tmp_path / "out" / "model_final.pth"), references(2)) == []
