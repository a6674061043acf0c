"""Going on with another number of processes."""

import json
import logging
from types import SimpleNamespace

import engine_toy
import pytest
from detectron2.config import get_cfg
from detectron2.utils import comm
from engine_kills import started

from rle_onestage.engine.checkpoint import shares
from rle_onestage.errors import CheckpointError


@pytest.fixture
def go_on(monkeypatch, caplog):
    """Gives (the iteration to start at, what was said) for so many processes and images of a step."""
    monkeypatch.setattr(logging.getLogger("rle_onestage"), "propagate", True)

    def start(processes, batch, content, reference=0):
        monkeypatch.setattr(comm, "get_world_size", lambda: processes)
        solver = SimpleNamespace(IMS_PER_BATCH=batch, REFERENCE_WORLD_SIZE=reference, MAX_ITER=1000)
        caplog.clear()
        with caplog.at_level(logging.INFO, "rle_onestage"):
            found = shares.settle_start(SimpleNamespace(SOLVER=solver), {"optimizer": {}, **content}, "x.pth")
        return found, caplog.text

    return start


def test_the_whole_batch_stays(go_on):
    start, said = go_on(3, 16, {"iteration": 99, "processes": 4, "batch": 16})
    assert start == 100
    assert "3 process(es) go on with what 4 began, with 5 or 6 of 16 images each" in said and "stays 16" in said


@pytest.mark.parametrize("content", [{}, {"processes": 2, "batch": 16}, {"processes": "many", "batch": None}])
def test_nothing_is_said_where_nothing_changes_or_is_known(go_on, content):
    start, said = go_on(2, 16, {"iteration": 99, **content})
    assert start == 100 and len(said.splitlines()) == 1


@pytest.mark.parametrize("done, start", [(100, 200), (99, 198), (0, 0)])
def test_half_the_processes_of_a_scaled_schedule_need_twice_the_iterations(go_on, done, start):
    content = {"iteration": done - 1, "processes": 4, "batch": 32} if done else {"iteration": 0, "processes": 4}
    found, said = go_on(2, 16, content, reference=2)
    assert found == (start or 1)
    assert ("rates are 0.5 times" in said) == bool(done)


def test_what_was_seen_does_not_come_again(go_on):
    """7 iterations of 16 images are 112 of the order; 5 of 24 begin at 120."""
    assert go_on(3, 24, {"iteration": 6, "processes": 2, "batch": 16}, reference=3)[0] == 5


def test_a_batch_that_was_changed_by_hand_is_a_warning(go_on):
    start, said = go_on(2, 8, {"iteration": 99, "processes": 2, "batch": 16})
    assert start == 100 and "is 8 and was 16" in said


def test_unequal_shares_train_as_one_process_does(tmp_path):
    """1, 1 and 2 of 4 images: losses count the labels of all processes, so that no image weighs more than another."""
    engine_toy.write_config(tmp_path)
    options = [*engine_toy.REAL, "MODEL.RLE_ONESTAGE.REFINE.NOISE", 0.0, "SOLVER.MAX_ITER", 3, "DATASETS.TEST", "()"]
    found = {}
    for count in (1, 3):
        out = tmp_path / f"out{count}"
        process = started(tmp_path, *options, "OUTPUT_DIR", out, "SOLVER.LOG_PERIOD", 1, log=f"{count}.log",
                          processes_count=count)  # fmt: skip
        assert process.wait() == 0, process.log.read_text()
        lines = [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]
        found[count] = [{k: v for k, v in line.items() if "loss" in k} for line in lines if "total_loss" in line]
    assert len(found[1]) == 3 and len(found[1][0]) > 4
    for one, three in zip(found[1], found[3], strict=True):
        assert three == pytest.approx(one, rel=1e-3)


@pytest.fixture
def seen(tmp_path, monkeypatch):
    """Makes the other processes see something else in each trial: ``seen(*trials)``; this one sees a checkpoint."""
    (tmp_path / "model_0000009.pth").write_bytes(b"1234")
    (tmp_path / "last_checkpoint").write_text("model_0000009.pth")
    monkeypatch.setattr(shares.time, "sleep", lambda seconds: None)

    def others(*trials):
        waiting = iter(trials)
        monkeypatch.setattr(comm, "all_gather", lambda own: [own, *next(waiting)])
        monkeypatch.setattr(shares, "TRIALS", len(trials))
        return str(tmp_path)

    return others


MINE = ("model_0000009.pth", 4)


@pytest.mark.parametrize(
    "others, words",
    [
        ([None], "process 1 no checkpoint"),
        ([MINE, ("model_0000009.pth", 5)], "process 2 another model_0000009.pth"),
        ([("model_0000004.pth", 4)], "process 1 model_0000004.pth"),
    ],
)
def test_another_checkpoint_on_another_machine_is_refused(seen, others, words):
    with pytest.raises(CheckpointError, match=words):
        shares.agreed_checkpoint(seen(others, others))


def test_a_file_system_that_shows_what_was_replaced_is_given_time(seen):
    folder = seen([("model_0000004.pth", 4)], [None], [MINE])
    assert shares.agreed_checkpoint(folder) == f"{folder}/model_0000009.pth"


def test_a_checkpoint_that_was_removed_since_its_name_was_read_is_given_time(tmp_path, seen, monkeypatch):
    folder, path = seen([MINE], [MINE]), tmp_path / "model_0000009.pth"
    path.unlink()
    monkeypatch.setattr(shares.time, "sleep", lambda seconds: path.write_bytes(b"1234"))
    assert shares.agreed_checkpoint(folder) == str(path)


def test_the_warm_up_of_the_flow_is_scaled_with_the_schedule():
    cfg = get_cfg()
    cfg.SOLVER.REFERENCE_WORLD_SIZE, cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER = 1, 16, 4000
    cfg.MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS = 1000
    scaled = shares.scaled_to(cfg, 4)
    assert (scaled.SOLVER.IMS_PER_BATCH, scaled.SOLVER.MAX_ITER) == (64, 1000)
    assert scaled.MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS == 250
    assert cfg.MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS == 1000 and shares.scaled_to(cfg, 1) is cfg
