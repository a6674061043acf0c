"""Which checkpoints stay: the best, by any figure of the evaluation, and the last few."""

import os
import shutil
from types import SimpleNamespace

import engine_toy
import pytest
import torch
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from rle_onestage.engine import Trainer, load_config
from rle_onestage.engine.checkpoint.retention import BestCheckpoint, RecentCheckpoints
from rle_onestage.errors import ConfigError

NAN = float("nan")


@pytest.fixture
def config(tmp_path):
    return engine_toy.write_config(tmp_path)


class Scripted(DatasetEvaluator):
    """Gives the next of some figures."""

    def __init__(self, figures):
        self.figures = figures

    def reset(self):
        """Nothing to forget."""

    def process(self, inputs, outputs):
        """The figures are known."""

    def evaluate(self):
        """COCO's form."""
        return {"keypoints": {"AP": self.figures.pop(0), "AP-nose": 1.0}, "bbox": {"AP": 50.0}}


def train(config, figures, *options, resume=False, metric="keypoints/AP"):
    """A training that is evaluated after every second step; returns the trainer, also where it was stopped."""

    class Toy(Trainer):
        @classmethod
        def build_evaluator(cls, cfg, dataset_name):
            return Scripted(figures)

    options = ["TEST.EVAL_PERIOD", "2", "TEST.BEST_METRIC", metric, *options]
    trainer = Toy(load_config(str(config), options))
    trainer.resume_or_load(resume=resume)
    try:
        trainer.train()
    except SystemExit:
        assert os.environ["TOY_SIGNAL_AT"]
    return trainer


def best_of(folder):
    content = torch.load(folder / "model_best.pth", weights_only=True)
    return content, content["best"]


@pytest.mark.parametrize(
    "figures, iteration",
    [
        ([10.0, 30.0, 20.0, 30.0], 3),  # an equal one later is no better
        ([NAN, NAN, 5.0, NAN], 5),
        ([-1.0, 4.0, 3.0, 60.0], 7),
    ],
)
def test_the_best_is_kept_with_its_figure(config, tmp_path, figures, iteration):
    value = figures[(iteration - 1) // 2]
    train(config, list(figures), "SOLVER.CHECKPOINT_PERIOD", "2")
    content, best = best_of(tmp_path / "out")
    assert best == {"metric": "keypoints/AP", "value": value, "iteration": iteration}
    name = "model_final.pth" if iteration == 7 else f"model_{iteration:07d}.pth"
    there = torch.load(tmp_path / "out" / name, weights_only=True)
    for part in ("model", "raw"):
        assert all(torch.equal(tensor, there[part][key]) for key, tensor in content[part].items())
    assert content["iteration"] == iteration and "best" not in there
    assert (tmp_path / "out" / "last_checkpoint").read_text() == "model_final.pth"


def test_no_number_ever_and_no_metric_keep_none(config, tmp_path):
    train(config, [NAN] * 4)
    train(config, [1.0] * 4, metric="")
    assert not (tmp_path / "out" / "model_best.pth").exists()


def test_it_survives_a_resume(config, tmp_path, monkeypatch):
    """Also one that was kept after the checkpoint from which the training goes on."""
    monkeypatch.setenv("TOY_SIGNAL_AT", "4:15")
    train(config, [10.0, 30.0])
    assert (tmp_path / "out" / "last_checkpoint").read_text() == "model_0000004.pth"
    monkeypatch.delenv("TOY_SIGNAL_AT")
    (tmp_path / "out" / "last_checkpoint").write_text("model_0000002.pth")
    train(config, [30.0, 20.0, 29.0], resume=True)
    assert best_of(tmp_path / "out")[1] == {"metric": "keypoints/AP", "value": 30.0, "iteration": 3}
    # Nothing is left to train: the last evaluation was lost, and is done again.
    train(config, [70.0], resume=True)
    content, best = best_of(tmp_path / "out")
    assert best == {"metric": "keypoints/AP", "value": 70.0, "iteration": 7} and content["iteration"] == 7
    # By another metric it is not comparable; a new training starts from nothing.
    train(config, [1.0], resume=True, metric="bbox/AP")
    assert best_of(tmp_path / "out")[1]["value"] == 50.0
    train(config, [2.0, 1.0, 1.0, 1.0])
    assert best_of(tmp_path / "out")[1] == {"metric": "keypoints/AP", "value": 2.0, "iteration": 1}


def test_a_damaged_best_does_not_stop_a_resume(config, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_SIGNAL_AT", "4:15")
    train(config, [10.0, 30.0])
    monkeypatch.delenv("TOY_SIGNAL_AT")
    (tmp_path / "out" / "model_best.pth").write_bytes(b"half")
    train(config, [5.0, 4.0], resume=True)
    assert best_of(tmp_path / "out")[1]["value"] == 5.0


def test_an_unknown_metric_is_said_at_the_first_evaluation_and_nothing_is_lost(config, tmp_path):
    straight = tmp_path / "straight"
    train(config, [1.0] * 4, "OUTPUT_DIR", str(straight))
    with pytest.raises(ConfigError) as caught:
        train(config, [1.0], "SOLVER.CHECKPOINT_PERIOD", "50", metric="keypoint/AP")
    assert all(word in str(caught.value) for word in ("'keypoint/AP'", "keypoints/AP", "bbox/AP", "--resume"))
    assert "nose" not in str(caught.value)
    assert (tmp_path / "out" / "last_checkpoint").read_text() == "model_0000001.pth"
    train(config, [1.0] * 3, resume=True)
    one, two = (torch.load(folder / "model_final.pth", weights_only=True) for folder in (straight, tmp_path / "out"))
    assert all(torch.equal(tensor, two["raw"][key]) for key, tensor in one["raw"].items())


def test_the_first_process_decides(tmp_path, monkeypatch):
    """The others have neither figures nor read the file; all must save, or none, or they wait for ever."""
    saved = []
    trainer = SimpleNamespace(results={}, iter=5, save=lambda name, **more: saved.append(more["best"]["value"]))
    for first, expected in (((20.0, ["keypoints/AP"], 30.0), []), ((40.0, ["keypoints/AP"], 30.0), [40.0])):
        monkeypatch.setattr(comm, "all_gather", lambda own, first=first: [first, own])
        other = BestCheckpoint(str(tmp_path), "keypoints/AP")
        other.after_evaluation(trainer)
        assert saved == expected and other.value == max(first[0], first[2])


def test_several_sets_are_told_apart_by_name(config, tmp_path):
    people = str(tmp_path / "data" / "people.json")
    folder = os.path.join(os.path.dirname(people), "images")
    shutil.copytree(folder, folder + "_others")  # other images than those that are trained on
    files = [["toy_people", people, folder], ["toy_others", people, folder + "_others"]]
    options = ["DATASETS.KEYPOINT_FILES", str(files), "DATASETS.TEST", "('toy_people', 'toy_others')"]
    train(config, [9.0, 1.0, 8.0, 3.0, 7.0, 2.0, 6.0, 1.0], *options, metric="toy_others/keypoints/AP")
    assert best_of(tmp_path / "out")[1]["value"] == 3.0
    with pytest.raises(ConfigError, match="toy_people/keypoints/AP"):
        train(config, [1.0, 1.0], *options)


def periodic(folder):
    return sorted(name for name in os.listdir(folder) if name.startswith("model_0"))


def test_the_last_periodic_ones_stay(config, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "model_0000050.pth").write_bytes(b"of another training")
    options = ["SOLVER.CHECKPOINT_PERIOD", "1", "SOLVER.CHECKPOINT_KEEP", "2"]
    monkeypatch.setenv("TOY_SIGNAL_AT", "4:15")
    train(config, [10.0, 5.0], *options)
    assert periodic(out) == ["model_0000003.pth", "model_0000004.pth", "model_0000050.pth"]
    assert (out / "last_checkpoint").read_text() == "model_0000004.pth"
    monkeypatch.delenv("TOY_SIGNAL_AT")
    train(config, [5.0, 5.0], *options, resume=True)
    assert periodic(out) == ["model_0000005.pth", "model_0000006.pth", "model_0000050.pth"]
    assert {"model_best.pth", "model_final.pth"} <= set(os.listdir(out)) and best_of(out)[1]["iteration"] == 1


def test_a_resumed_training_deletes_nothing_of_an_earlier_one(config, tmp_path, monkeypatch):
    """Whose files may be of any iteration, also of one that this training has behind it."""
    out = tmp_path / "out"
    out.mkdir()
    earlier = ["model_0000000.pth", "model_0000002.pth", "model_0000050.pth"]
    for name in earlier:
        (out / name).write_bytes(b"of another training")
    options = ["SOLVER.CHECKPOINT_PERIOD", "2", "SOLVER.CHECKPOINT_KEEP", "1"]
    monkeypatch.setenv("TOY_SIGNAL_AT", "4:15")
    train(config, [10.0, 5.0], *options)
    assert periodic(out) == sorted([*earlier, "model_0000004.pth"])
    monkeypatch.delenv("TOY_SIGNAL_AT")
    train(config, [5.0, 5.0], *options, resume=True)
    assert periodic(out) == sorted([*earlier, "model_0000005.pth"])
    assert all((out / name).read_bytes() == b"of another training" for name in earlier)


@pytest.mark.parametrize("names", [None, "model_0000001.pth", {"model_0000001.pth": 1}, [None, 3, "../model_1.pth"]])
def test_without_a_list_nothing_of_before_is_deleted(tmp_path, names):
    (tmp_path / "model_0000001.pth").write_bytes(b"")
    recent = RecentCheckpoints(str(tmp_path), 1)
    recent.resume(names, 3)
    recent.saved("model_0000003.pth")
    assert os.listdir(tmp_path) == ["model_0000001.pth"]


def test_the_best_of_an_earlier_training_is_no_bar(config, tmp_path, monkeypatch):
    """Also where the new one is interrupted before its first evaluation, and the file is the earlier one's still."""
    train(config, [90.0] * 4)
    monkeypatch.setenv("TOY_SIGNAL_AT", "0:15")
    train(config, [])
    monkeypatch.delenv("TOY_SIGNAL_AT")
    moved = tmp_path / "out" / "model_best_earlier.pth"
    moved.rename(tmp_path / "out" / "model_best.pth")  # where it would be as the MODEL.WEIGHTS of the new one
    assert best_of(tmp_path / "out")[1]["value"] == 90.0
    train(config, [10.0, 20.0, 15.0, 5.0], resume=True)
    assert best_of(tmp_path / "out")[1] == {"metric": "keypoints/AP", "value": 20.0, "iteration": 3}


def test_all_stay_unless_told_otherwise(config, tmp_path):
    train(config, [1.0] * 4, "SOLVER.CHECKPOINT_PERIOD", "1")
    assert len(periodic(tmp_path / "out")) == 7


def test_only_periodic_files_are_ever_deleted(tmp_path):
    names = ["model_0000001.pth", "model_0000002.pth", "model_best.pth", "model_final.pth", "model_1.pth", "mine.pth"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    recent = RecentCheckpoints(str(tmp_path), 1)
    recent.resume(names[:2] + ["model_best.pth", "mine.pth", "model_0000009.pth", 5], 3)
    recent.saved("model_best.pth")
    recent.saved("model_final.pth")
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    recent.saved("model_0000003.pth")
    assert sorted(os.listdir(tmp_path)) == sorted(names[2:])
