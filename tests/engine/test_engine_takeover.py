"""A training that fails before its first iteration leaves what an earlier one has in the folder, byte for byte."""

import json
import os
import re
import shutil
import signal
import subprocess

import engine_toy
import pytest
import torch
from engine_kills import started, wait_for

from rle_onestage.engine import Trainer, last_checkpoint, load_config
from rle_onestage.engine.checkpoint import forget_last_checkpoint, read_checkpoint
from rle_onestage.engine.checkpoint.named import weights_to_evaluate
from rle_onestage.engine.processes import attempts, lock

EARLIER = ["TEST.EVAL_PERIOD", "4", "TEST.BEST_METRIC", "keypoints/AP", "SOLVER.CHECKPOINT_KEEP", "1"]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """The folder of a toy; in ``out`` is all that a second training leaves, which hides the first one's files."""
    folder = tmp_path_factory.mktemp("earlier")
    engine_toy.write_config(folder)
    for log in ("first", "second"):
        process = started(folder, *EARLIER, log=log)
        assert process.wait() == 0, process.log.read_text()
    (folder / "out" / attempts.NAME).write_text(json.dumps({"run": "none", "machines": 1, "host": "a", "process": 1}))
    return folder


def test_a_training_in_a_used_folder_adds_its_log_to_the_earlier_ones(earlier):
    lines = (earlier / "out" / "log.txt").read_text().splitlines()
    for words in ("process(es), device cpu", "Training: iterations 1 to"):
        assert sum(words in line for line in lines) == 2, words


@pytest.fixture
def used(earlier, tmp_path):
    """A copy of it; its config's paths are the original's, and ``OUTPUT_DIR`` is the copy's."""
    shutil.copytree(earlier / "out", tmp_path / "out")
    config = json.loads((earlier / "toy.yaml").read_text())
    (tmp_path / "toy.yaml").write_text(json.dumps({**config, "OUTPUT_DIR": str(tmp_path / "out")}))
    return tmp_path


def content(folder):
    """{path in a folder: bytes}."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unreadable(folder):
    """A data set whose images are all gone, which is found when the first batch is made."""
    people = json.loads((folder / "toy.yaml").read_text())["DATASETS"]["KEYPOINT_FILES"][0][1]
    images = folder / "images"
    shutil.copytree(os.path.join(os.path.dirname(people), "images"), images)
    for image in images.iterdir():
        image.write_bytes(b"no image")
    return ["DATASETS.KEYPOINT_FILES", json.dumps([["toy_people", people, str(images)]])]


FOUR_JOINTS = ["MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", "4", "TEST.KEYPOINT_OKS_SIGMAS", "[0.05, 0.06, 0.07, 0.08]"]
IMAGES = ("images that cannot be read", unreadable, "images")
DATA_SET = ("a data set of another name", ["DATASETS.TRAIN", "('toy_persons',)"], "toy_persons")
ANEW = [
    DATA_SET,
    ("a test set that is not there", ["DATASETS.TEST", "('rle_synthetic_val',)"], "'rle_synthetic_val' was not found"),
    IMAGES,
    ("joints that do not fit", FOUR_JOINTS, "has 3 joints"),
    ("no data set", ["DATASETS.TRAIN", "()"], "DATASETS.TRAIN names no data set; name those"),
    ("an architecture of another name", ["MODEL.META_ARCHITECTURE", "ToyPoses"], "ToyPoses"),
    ("weights that are not there", ["MODEL.WEIGHTS", "missing.pth"], "missing.pth"),
    ("a metric of another name", ["TEST.EXPECTED_RESULTS", "[['keypoints','AQ',1,1]]"], "AQ"),
]
RESUMED = [
    DATA_SET,
    IMAGES,
    ("another number of joints", FOUR_JOINTS, "has 3 joints"),
    ("another optimizer", ["SOLVER.OPTIMIZER", "AdamW"], "AdamW"),
]
FAILING = [(False, *kind) for kind in ANEW] + [(True, *kind) for kind in RESUMED]


@pytest.mark.parametrize("resume, kind, options, word", FAILING, ids=[f"{kind}-{again}" for again, kind, *_ in FAILING])
def test_a_training_that_fails_early_changes_nothing(used, resume, kind, options, word):
    options = options(used) if callable(options) else options
    before = content(used / "out")
    written = {"last_checkpoint", "training.jsonl", "metrics.json", "model_best.pth", "config.yaml", "log.txt"}
    assert written <= set(before)
    process = started(used, *options, "SEED", 5, "SOLVER.MAX_ITER", 20, resume=resume)
    assert process.wait() == 2, process.log.read_text()
    assert word in process.log.read_text().splitlines()[-1] and "Traceback" not in process.log.read_text()
    assert content(used / "out") == before


@pytest.mark.parametrize("name", ["last_checkpoint", ".training.earlier", "config.yaml"])
def test_a_file_that_could_not_be_written_anew_changes_nothing(used, name):
    (used / "out" / name).unlink()
    (used / "out" / name).mkdir()
    before = content(used / "out")
    process = started(used, "SEED", 5)
    assert process.wait() == 2
    assert f"{name} cannot be written (it is a folder, not a file)" in process.log.read_text().splitlines()[-1]
    assert content(used / "out") == before


def test_one_of_two_processes_that_fails_early_changes_nothing(used):
    before = content(used / "out")
    process = started(used, *unreadable(used), processes_count=2)
    assert process.wait() == 2, process.log.read_text()
    assert content(used / "out") == before


@pytest.mark.parametrize("processes", [1, 2])
def test_a_training_that_fails_early_in_a_new_folder_leaves_none(used, processes):
    """Nor those that the folder is in; a folder that was there stays, and is as empty as it was."""
    (used / "runs").mkdir()
    output = str(used / "runs" / "deep" / "new")
    process = started(used, *unreadable(used), "OUTPUT_DIR", output, processes_count=processes)
    assert process.wait() == 2, process.log.read_text()
    assert "images" in process.log.read_text().splitlines()[-1] and os.listdir(used / "runs") == []


@pytest.mark.parametrize("processes", [1, 2])
def test_an_evaluation_that_is_refused_changes_nothing(used, processes):
    """Nor does its config stay where the next one would find it."""
    weights = used / "narrow.pth"
    torch.save({"model": {"trunk.weight": torch.zeros(2, 2)}}, weights)
    (used / "out" / "config.yaml").unlink()
    before = content(used / "out")
    process = started(used, "--eval-only", "MODEL.WEIGHTS", weights, processes_count=processes)
    assert process.wait() == 2, process.log.read_text()
    # The other process may still say what it builds after the sentence.
    (error,) = [line for line in process.log.read_text().splitlines() if line.startswith("error: ")]
    assert str(weights) in error
    assert content(used / "out") == before


def test_a_signal_while_the_first_batch_is_made_changes_nothing(used):
    before = content(used / "out")
    process = started(used, "DATALOADER.NUM_WORKERS", 1, phase="first batch")
    wait_for(process.marker, process)
    process.send(signal.SIGTERM, group=False)
    assert process.wait() == 128 + signal.SIGTERM
    said = process.log.read_text().splitlines()[-1]
    assert "before the first iteration; nothing was saved yet" in said
    assert content(used / "out") == before


def test_the_first_iteration_makes_the_folder_the_new_trainings(used):
    """A kill within it would otherwise have --resume go on with the earlier weights."""
    out = used / "out"
    names = ("model_final.pth", "model_best.pth", "model_final_earlier.pth", "training.jsonl", "metrics.json")
    kept = {name: (out / name).read_bytes() for name in (*names, "config.yaml")}
    cfg = load_config(str(used / "toy.yaml"), ["SEED", "11", "DATASETS.TEST", "()"])

    class Killed(Trainer):
        def run_step(self):
            raise MemoryError

    with pytest.raises(MemoryError):
        Killed(cfg).train()
    assert last_checkpoint(used / "out") is None
    assert (out / "model_final_earlier_2.pth").read_bytes() == kept["model_final.pth"]
    assert (out / "model_best_earlier_2.pth").read_bytes() == kept["model_best.pth"]
    assert (out / "model_final_earlier.pth").read_bytes() == kept["model_final_earlier.pth"]  # of the first training
    assert load_config(str(used / "out" / "config.yaml")).SEED == 11
    assert not (used / "out" / attempts.NAME).exists() and not (used / "out" / lock.NAME).exists()
    for name in ("training.jsonl", "metrics.json", "config.yaml"):
        stem, ending = os.path.splitext(name)
        assert kept[name] and (out / f"{stem}_earlier_2{ending}").read_bytes() == kept[name]
    assert not (out / "training.jsonl").exists() and not (out / "metrics.json").exists()


def trained(config, *options, resume=False):
    cfg = load_config(str(config), ["DATASETS.TEST", "()", *options])
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()


@pytest.mark.parametrize("kept_weights", [False, True])
@pytest.mark.parametrize("stopped", [False, True])
def test_the_commands_of_the_warning_go_back_to_the_earlier_training(
    tmp_path, caplog, monkeypatch, stopped, kept_weights
):
    config, out = engine_toy.write_config(tmp_path), tmp_path / "out with a space"
    options = ["OUTPUT_DIR", str(out), "SOLVER.LOG_PERIOD", "1", "SOLVER.EMA.DECAY", "0.9"]
    trained(config, *options, "SOLVER.MAX_ITER", "6")
    (out / "metrics.json").write_text("{}")
    if stopped:
        (out / "last_checkpoint").write_text("model_0000002.pth")  # as if it had been stopped there
    earlier = {name: text for name, text in content(out).items() if not name.startswith((".", "events", "log"))}
    more = ["MODEL.WEIGHTS", str(out / "model_final.pth")] * kept_weights
    at = 8 if kept_weights else 2  # by the model's counter, which is in the weights; it writes model_0000002.pth
    monkeypatch.setenv("TOY_SIGNAL_AT", f"{at}:{signal.SIGTERM.value}")
    with pytest.raises(SystemExit):
        trained(config, *options, "SEED", "9", *more)
    monkeypatch.delenv("TOY_SIGNAL_AT")
    (said,) = [text for text in caplog.messages if "go back to the earlier one" in text]
    subprocess.run(["sh", "-c", re.search(r"\(.*\)", said)[0]], check=True)
    now = content(out)
    changed = {name for name in earlier if now[name].rstrip() != earlier[name].rstrip()}
    assert changed == ({"model_0000002.pth"} if not stopped else set())  # which the warning says, see below
    trained(config, *options, "SOLVER.MAX_ITER", "8", resume=True)
    iterations = [json.loads(line)["iteration"] for line in (out / "training.jsonl").read_text().splitlines()]
    assert iterations == list(range(8))
    assert read_checkpoint(str(out / "model_final.pth"))["seed"] == 3


def test_a_log_without_a_checkpoint_is_kept_and_metrics_of_an_evaluation_are_not(tmp_path, caplog):
    (tmp_path / "metrics.json").write_text("{}")
    forget_last_checkpoint(str(tmp_path), config=b"OLD: 1")
    assert not caplog.records and os.listdir(tmp_path) == ["metrics.json"]
    (tmp_path / "training.jsonl").write_text("1")
    forget_last_checkpoint(str(tmp_path), config=b"OLD: 1")
    assert sorted(os.listdir(tmp_path)) == ["config_earlier.yaml", "metrics.json", "training_earlier.jsonl"]
    assert "training.jsonl is training_earlier.jsonl now; config.yaml is config_earlier.yaml now" in caplog.text
    assert "go back" not in caplog.text  # to what, without a checkpoint?


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_weights_of_the_command_line_that_resume_does_not_use_are_named(tmp_path, caplog, command):
    config, out = engine_toy.write_config(tmp_path), tmp_path / "out"
    trained(config, "SOLVER.MAX_ITER", "2")
    shutil.copy(out / "model_final.pth", tmp_path / "start.pth")
    start, other = (["MODEL.WEIGHTS", str(tmp_path / name)] for name in ("start.pth", "other.pth"))
    trained(config, "SOLVER.MAX_ITER", "2", *start)

    def again(*options):
        caplog.clear()
        if command == "train":
            trained(config, "SOLVER.MAX_ITER", "2", *options, resume=True)
        else:
            weights_to_evaluate(load_config(str(config), options), resume=True)
        return [text for text in caplog.messages if "is not used" in text]

    (said,) = again(*other)
    assert said.startswith(f"--resume takes {out}/model_final.pth: MODEL.WEIGHTS {tmp_path}/other.pth of the command")
    assert not again() and not again("MODEL.WEIGHTS", str(out / "model_final.pth"))
    assert len(again(*start)) == (command == "evaluate")  # the same command again goes on with the training


def test_a_training_that_stumbles_and_is_begun_again_sees_each_batch_once(used):
    cfg = load_config(str(used / "toy.yaml"), ["DATASETS.TEST", "()", "SOLVER.MAX_ITER", "3"])

    class Stumbles(Trainer):
        stumbles = True

        def before_step(self):
            if self.stumbles:
                raise MemoryError
            super().before_step()

    def batches(trainer):
        seen = []
        trainer.model.register_forward_pre_hook(lambda _, given: seen.append([i["file_name"] for i in given[0]]))
        trainer.train()
        return seen

    trainer = Stumbles(cfg)
    with pytest.raises(MemoryError):
        trainer.train()
    trainer.stumbles = False
    assert batches(trainer) == batches(Trainer(cfg))


def test_a_training_warns_of_what_it_replaces_and_keeps_the_weights_it_starts_from(tmp_path, caplog):
    names = ("model_final.pth", "model_best.pth", "model_calibrated.pth", "model_0000004.pth", "metrics.json")
    for name in (*names, "last_checkpoint"):
        (tmp_path / name).write_text(name)
    with caplog.at_level("WARNING"):
        forget_last_checkpoint(str(tmp_path), str(tmp_path / "model_final.pth"))
    said = caplog.text
    assert "go back" not in said  # last_checkpoint names none
    assert "model_best.pth is model_best_earlier.pth now" in said
    assert "model_calibrated.pth is model_calibrated_earlier.pth now" in said
    assert "metrics.json is metrics_earlier.json now" in said
    assert "replaces model_0000004.pth, model_final.pth when" in said
    assert (tmp_path / "model_best_earlier.pth").read_text() == "model_best.pth"
    assert not (tmp_path / "model_best.pth").exists() and last_checkpoint(str(tmp_path)) is None
    assert (tmp_path / "model_final.pth").read_text() == "model_final.pth"


def test_the_first_training_in_a_folder_has_nothing_to_warn_of(tmp_path, caplog):
    forget_last_checkpoint(str(tmp_path))
    assert not caplog.records and not list(tmp_path.iterdir())
