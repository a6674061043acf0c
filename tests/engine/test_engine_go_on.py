"""A training that goes on from a finished one keeps its weights and metrics, and warns of earlier calibrated ones."""

import errno
import os

import engine_toy
import pytest
import torch
from engine_kills import started

from rle_onestage.engine import Trainer, load_config
from rle_onestage.engine.checkpoint import forget_last_checkpoint, keep_finished, last_checkpoint, save_checkpoint
from rle_onestage.errors import CheckpointError

OPTIONS = ["SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", "SOLVER.CHECKPOINT_PERIOD", "1", "SOLVER.CHECKPOINT_KEEP"]
OPTIONS += ["1", "TEST.EVAL_PERIOD", "0"]
KEPT = "has a finished training, which goes on"


def train(config, iterations, *options, resume=False):
    trainer = Trainer(load_config(str(config), [*OPTIONS, "SOLVER.MAX_ITER", str(iterations), *options]))
    trainer.resume_or_load(resume=resume)
    trainer.train()


def results(out, ending=""):
    """Bytes of the metrics and of the results beside them."""
    folder = out / f"inference{ending}"
    return [path.read_bytes() for path in (out / f"metrics{ending}.json", *sorted(folder.iterdir()))]


def finished(folder, iteration=3, run="a"):
    """What a finished training leaves, but for its log."""
    content = {"iteration": iteration, "model": {}, "optimizer": {}, "run": run}
    save_checkpoint(str(folder), "model_final.pth", content)
    return (folder / "model_final.pth").read_bytes()


def names(folder):
    return sorted(os.listdir(folder))


def test_weights_and_metrics_of_a_finished_training_are_kept(tmp_path, caplog):
    config, out = engine_toy.write_config(tmp_path), tmp_path / "out"
    caplog.set_level("INFO")
    before = {}
    for done, ending in ((4, "_earlier"), (6, "_earlier_2")):
        train(config, done, resume=True)
        before[done] = (out / "model_final.pth").read_bytes(), results(out), ending
    assert not [text for text in caplog.messages if "calibrate again" in text]
    (out / "model_calibrated.pth").write_text("calibrated")
    caplog.clear()
    train(config, 8, resume=True)
    for done, (weights, evaluated, ending) in before.items():
        assert (out / f"model_{done - 1:07d}.pth").read_bytes() == weights  # which SOLVER.CHECKPOINT_KEEP 1 leaves
        assert results(out, ending) == evaluated
        assert weights != (out / "model_final.pth").read_bytes()
    assert (out / "metrics.json").is_file() and not (out / "model_0000004.pth").exists()
    (said,) = [text for text in caplog.messages if KEPT in text]
    assert said == (
        f"{out} {KEPT}: its weights model_final.pth are kept as model_0000005.pth; metrics.json is "
        "metrics_earlier_2.json now; inference is inference_earlier_2 now"
    )
    (warned,) = [record for record in caplog.records if "run rle-onestage calibrate again" in record.getMessage()]
    assert warned.levelname == "WARNING" and f"{out}/model_calibrated.pth is of the earlier" in warned.getMessage()
    assert (out / "model_calibrated.pth").read_text() == "calibrated"
    train(config, 8, "OUTPUT_DIR", str(tmp_path / "at once"))
    raw = [torch.load(folder / "model_final.pth", weights_only=True)["raw"] for folder in (out, tmp_path / "at once")]
    assert all(torch.equal(tensor, raw[1][name]) for name, tensor in raw[0].items())


def test_where_nothing_is_left_to_train_all_keeps_its_name(tmp_path, caplog):
    config, out = engine_toy.write_config(tmp_path), tmp_path / "out"
    caplog.set_level("INFO")
    train(config, 2)
    (out / "model_calibrated.pth").touch()
    before = names(out)
    train(config, 2, resume=True)
    assert [name for name in names(out) if "events" not in name] == [name for name in before if "events" not in name]
    assert KEPT not in caplog.text and "calibrate again" not in caplog.text


def test_one_of_two_processes_keeps_them(tmp_path):
    config, out = engine_toy.write_config(tmp_path), tmp_path / "out"
    train(config, 2)
    weights, evaluated = (out / "model_final.pth").read_bytes(), results(out)
    (out / "model_calibrated.pth").touch()
    process = started(tmp_path, *OPTIONS, "SOLVER.MAX_ITER", 3, resume=True, processes_count=2)
    assert process.wait() == 0, process.log.read_text()
    text = process.log.read_text()
    assert text.count(KEPT) == text.count("run rle-onestage calibrate again") == 1
    assert (out / "model_0000001.pth").read_bytes() == weights and results(out, "_earlier") == evaluated
    assert not [name for name in names(out) if "earlier_2" in name]


@pytest.mark.parametrize("links", [True, False])
def test_a_training_that_goes_on_twice_from_there_keeps_the_weights_once(tmp_path, monkeypatch, links):
    """As after a crash before its first checkpoint; also on a file system without hard links."""

    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    weights = finished(tmp_path)
    for _ in range(2):
        keep_finished(str(tmp_path))
        assert names(tmp_path) == ["last_checkpoint", "model_0000003.pth", "model_final.pth"]
    finished(tmp_path, 8)  # what takes its name leaves the other
    assert (tmp_path / "model_0000003.pth").read_bytes() == weights


def test_a_checkpoint_of_another_training_stays_where_the_name_is_taken(tmp_path, caplog):
    caplog.set_level("INFO")
    finished(tmp_path, run="another")
    (tmp_path / "model_final.pth").rename(tmp_path / "model_0000003.pth")
    other, weights = (tmp_path / "model_0000003.pth").read_bytes(), finished(tmp_path)
    (tmp_path / "model_final_earlier.pth").symlink_to("gone")
    keep_finished(str(tmp_path))
    assert (tmp_path / "model_0000003.pth").read_bytes() == other
    assert (tmp_path / "model_final_earlier_2.pth").read_bytes() == weights
    assert "model_final.pth are kept as model_final_earlier_2.pth" in caplog.text


def test_going_on_from_another_checkpoint_leaves_all_as_it_is(tmp_path, caplog):
    caplog.set_level("INFO")
    finished(tmp_path)
    for name in ("model_0000005.pth", "metrics.json"):
        (tmp_path / name).touch()
    (tmp_path / "last_checkpoint").write_text("model_0000005.pth")
    before = names(tmp_path)
    keep_finished(str(tmp_path))
    assert names(tmp_path) == before and not caplog.records


def test_weights_that_cannot_be_kept_are_one_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    finished(tmp_path)
    (tmp_path / "metrics.json").touch()
    before = names(tmp_path)
    for name in ("os.link", "shutil.copy2"):
        monkeypatch.setattr(name, full)
    with pytest.raises(CheckpointError, match=r"model_final.pth of the finished .* \(No space left .*check OUTPUT_DIR"):
        keep_finished(str(tmp_path))
    assert names(tmp_path) == before and last_checkpoint(str(tmp_path)) == str(tmp_path / "model_final.pth")


def test_a_training_that_starts_from_calibrated_weights_says_that_they_stay_of_the_earlier(tmp_path, caplog):
    config, out = engine_toy.write_config(tmp_path), tmp_path / "out"
    train(config, 2)
    calibrated = out / "model_calibrated.pth"
    calibrated.write_bytes((out / "model_final.pth").read_bytes())
    caplog.clear()
    train(config, 1, "MODEL.WEIGHTS", str(calibrated))
    assert caplog.text.count("model_calibrated.pth is of the earlier weights") == 1 and calibrated.exists()
    (said,) = [text for text in caplog.messages if "has an earlier training" in text]
    assert "model_final.pth is model_final_earlier.pth now" in said and "model_calibrated.pth" not in said
    caplog.clear()
    forget_last_checkpoint(str(out))
    assert "model_calibrated.pth is model_calibrated_earlier_2.pth now" in caplog.text and not calibrated.exists()
