"""The training loop on a tiny model: losses, checkpoints, resuming, signals, divergence, evaluation."""

import json
import logging
import os
import signal
from pathlib import Path

import engine_toy
import pytest
import torch
from engine_kills import started

from rle_onestage.data.batches import LostWorkers
from rle_onestage.engine import Trainer, evaluate_only, load_config
from rle_onestage.engine.hooks import Progress
from rle_onestage.engine.logs import keep_before
from rle_onestage.engine.step_metrics import StepMetrics
from rle_onestage.errors import CheckpointError, ConfigError, DataError, DivergenceError
from rle_onestage.utils.signals import StopRequest


@pytest.fixture
def config(tmp_path):
    return engine_toy.write_config(tmp_path)


def train(config, *options, resume=False):
    trainer = Trainer(load_config(str(config), list(options)))
    trainer.resume_or_load(resume=resume)
    return trainer, trainer.train()


def weights_of(folder, name="model_final.pth"):
    return torch.load(Path(folder) / name, weights_only=True)


def assert_equal_checkpoints(one, other):
    for part in ("model", "raw"):
        assert one[part].keys() == other[part].keys()
        for key, value in one[part].items():
            assert torch.equal(value, other[part][key]), f"{part} {key}"
    for index, state in one["optimizer"]["state"].items():
        for key, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(other["optimizer"]["state"][index][key]))


def test_a_training_leaves_what_it_should(config, tmp_path, monkeypatch, caplog):
    with caplog.at_level("INFO"):
        trainer, results = train(config)
    out = tmp_path / "out"
    ap, ap50 = (results["keypoints"][name] for name in ("AP", "AP50"))
    last = [
        f"Result: keypoints AP {ap:.1f} (AP50 {ap50:.1f}) on toy_people",
        f"All 8 iterations are done; the weights are {out / 'model_final.pth'}",
    ]
    assert caplog.messages[-2:] == last and caplog.messages.count(last[0]) == 1
    names = set(os.listdir(out))
    assert {"model_0000002.pth", "model_0000005.pth", "model_final.pth", "last_checkpoint", "metrics.json"} <= names
    assert {"training.jsonl", "inference"} <= names and not [name for name in names if name.endswith(".tmp")]
    metrics = json.loads((out / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert metrics["bbox"]["AP"] == pytest.approx(results["bbox"]["AP"]) and "AP" in metrics["keypoints"]
    assert metrics["input"] == {"train": {"canvas": 64}, "test": {"shortest": 64, "longest": 64}}
    lines = [json.loads(line, parse_constant=pytest.fail) for line in (out / "training.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 3, 5, 7]
    assert {"total_loss", "loss_pose", "lr", "time", "data_time", "grad_norm"} <= lines[0].keys()
    assert lines[-1]["bbox/AP"] == pytest.approx(results["bbox"]["AP"])
    final = weights_of(out)
    assert final["iteration"] == 7 and final["seed"] == 3
    assert torch.equal(final["model"]["table"], final["model"]["head.weight"].sum().reshape(1))
    assert not torch.equal(final["model"]["head.weight"], final["raw"]["head.weight"])
    (out / "last_checkpoint").unlink()  # the newest is taken then, as a training that goes on does
    again = evaluate_only(load_config(str(config), ["MODEL.WEIGHTS", "base.pth"]), resume=True)
    assert again["keypoints"]["AP"] == pytest.approx(results["keypoints"]["AP"], nan_ok=True)


@pytest.mark.parametrize("optimizer, amp", [("AdamW", True)])
def test_same_seed_same_weights_and_resume_anywhere(config, tmp_path, optimizer, amp):
    """A run that stops by SIGTERM in the middle and one with other workers end as one that does not."""
    options = ["SOLVER.OPTIMIZER", optimizer, "SOLVER.AMP.ENABLED", str(amp), "TEST.EVAL_PERIOD", "4"]
    train(config, *options, "OUTPUT_DIR", str(tmp_path / "a"))
    stopped = [*options, "OUTPUT_DIR", str(tmp_path / "b")]
    os.environ["TOY_SIGNAL_AT"] = "4:15"
    try:
        with pytest.raises(SystemExit) as caught:
            train(config, *stopped)
    finally:
        del os.environ["TOY_SIGNAL_AT"]
    assert caught.value.code == 143
    assert (tmp_path / "b" / "last_checkpoint").read_text() == "model_0000004.pth"
    trainer, _ = train(config, *stopped, "DATALOADER.NUM_WORKERS", "1", resume=True)
    assert trainer.start_iter == 5
    assert_equal_checkpoints(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))


def test_kill_9_and_resume_gives_the_same_weights(config, tmp_path, monkeypatch):
    train(config, "OUTPUT_DIR", str(tmp_path / "a"))
    killed = ["OUTPUT_DIR", str(tmp_path / "b")]
    monkeypatch.setenv("TOY_KILL_AT", "4")
    process = started(tmp_path, *killed, "DATALOADER.NUM_WORKERS", "2")
    assert process.wait() == -9, process.log.read_text()
    monkeypatch.delenv("TOY_KILL_AT")
    (tmp_path / "b" / "model_0000005.pth.tmp").write_text("half")
    trainer, _ = train(config, *killed, resume=True)
    assert trainer.start_iter == 3
    assert_equal_checkpoints(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))
    assert not (tmp_path / "b" / "model_0000005.pth.tmp").exists()
    iterations = [
        json.loads(line)["iteration"] for line in (tmp_path / "b" / "training.jsonl").read_text().splitlines()
    ]
    assert iterations == sorted(set(iterations))


def test_a_signal_during_evaluation_saves_and_ends(config, tmp_path):
    before = signal.getsignal(signal.SIGINT)  # ignored where the tests run in the background of a shell

    class Signalled(Trainer):
        @classmethod
        def build_evaluator(cls, cfg, dataset_name):
            os.kill(os.getpid(), signal.SIGINT)
            return super().build_evaluator(cfg, dataset_name)

    trainer = Signalled(load_config(str(config), ["TEST.EVAL_PERIOD", "2"]))
    with pytest.raises(SystemExit) as caught:
        trainer.train()
    assert caught.value.code == 130
    assert (tmp_path / "out" / "last_checkpoint").read_text() == "model_0000001.pth"
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_the_weights_under_training_have_their_own_tables_again_after_an_error(config):
    trainer = Trainer(load_config(str(config), []))
    average = float(trainer.ema.state_dict()["head.weight"].sum())
    trainer.model.head.weight.data += 1.0
    with pytest.raises(MemoryError), trainer.averaged_weights():
        assert float(trainer.model.table) == average
        raise MemoryError
    assert float(trainer.model.table) == float(trainer.model.head.weight.detach().sum())


def test_a_model_enters_evaluation_mode_once_for_an_evaluation(config, monkeypatch):
    """Which may cost it the making of its tables."""
    entered = []
    trainer = Trainer(load_config(str(config), []))
    inner = trainer.model.train
    monkeypatch.setattr(trainer.model, "train", lambda mode=True: entered.append(mode) or inner(mode))
    Trainer.test(trainer.cfg, trainer.model)
    assert entered == [False, True]


def test_a_forked_process_outlives_ctrl_c_and_can_be_ended():
    with StopRequest() as stop:
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM and stop.signum == 0


@pytest.mark.parametrize("resumed", [False, True])
def test_a_worker_that_dies_is_an_error_and_costs_nothing(config, tmp_path, resumed):
    """What was trained until then is saved, and goes on to the same weights."""

    class Loses(Trainer):
        def run_step(self):
            if self.iter == 5:
                self._data._batches._workers[0].kill()
            super().run_step()

    if resumed:
        train(config, "SOLVER.MAX_ITER", "4")
    trainer = Loses(load_config(str(config), ["DATALOADER.NUM_WORKERS", "1", "SOLVER.CHECKPOINT_PERIOD", "100"]))
    trainer.resume_or_load(resume=resumed)
    with pytest.raises(DataError, match=r"killed by signal 9.*NUM_WORKERS.* after iteration [56], where all is saved"):
        trainer.train()
    train(config, resume=True)
    train(config, "OUTPUT_DIR", str(tmp_path / "whole"))
    if not resumed:  # there the schedule of the first part was another one
        assert_equal_checkpoints(weights_of(tmp_path / "out"), weights_of(tmp_path / "whole"))


def test_a_worker_of_an_evaluation_that_dies_costs_nothing(config, tmp_path, monkeypatch):
    def lost(*_, **__):
        raise LostWorkers("a data-loading process was killed by signal 9")

    with monkeypatch.context() as patch:
        patch.setattr("rle_onestage.engine.inference.run_on_loader", lost)
        with pytest.raises(DataError, match="signal 9; then go on after iteration 5, where all is saved"):
            train(config, "TEST.EVAL_PERIOD", "5")
    assert train(config, resume=True)[0].start_iter == 5
    train(config, "OUTPUT_DIR", str(tmp_path / "whole"))
    assert_equal_checkpoints(weights_of(tmp_path / "out"), weights_of(tmp_path / "whole"))


def test_a_worker_that_dies_at_once_names_no_checkpoint(config, monkeypatch):
    def lost(*_):
        raise LostWorkers("a data-loading process was killed by signal 9")

    monkeypatch.setattr("rle_onestage.data.loader.Batches.__next__", lost)
    with pytest.raises(LostWorkers, match="signal 9$"):
        train(config)


def test_a_last_evaluation_that_fails_says_what_is_saved_and_how_to_evaluate_it(config, tmp_path):
    held_out = engine_toy.make_data(tmp_path / "held out")
    files = json.loads(config.read_text())["DATASETS"]["KEYPOINT_FILES"]
    files.append(["toy_held_out", str(held_out), str(held_out.parent / "images")])
    (held_out.parent / "images" / "003.png").write_bytes(b"no image")
    sets = ["DATASETS.KEYPOINT_FILES", json.dumps(files), "DATASETS.TEST", "('toy_held_out',)"]
    with pytest.raises(DataError) as caught:
        train(config, *sets)
    out = tmp_path / "out"
    assert "003.png" in str(caught.value) and f"saved as {out / 'model_final.pth'}" in str(caught.value)
    command = str(caught.value).split("rle-onestage evaluate ")[1].split()
    assert command == ["--config-file", f"{out / 'config.yaml'}", "MODEL.WEIGHTS", f"{out / 'model_final.pth'}"]
    held_out.parent.joinpath("images", "003.png").write_bytes((tmp_path / "data/images/003.png").read_bytes())
    assert "keypoints" in evaluate_only(load_config(command[1], command[2:]))


def test_an_evaluation_that_fails_in_between_does_not_say_that_the_training_is_finished(config, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "test", lambda *_: (_ for _ in ()).throw(DataError("image a.png is gone")))
    with pytest.raises(DataError, match="^image a.png is gone$"):
        train(config, "TEST.EVAL_PERIOD", "2")


def test_resume_of_a_finished_training_evaluates(config, caplog):
    train(config)
    caplog.clear()
    with caplog.at_level("INFO"):
        trainer, results = train(config, "SOLVER.MAX_ITER", "6", resume=True)
    assert trainer.start_iter == 8 and "keypoints" in results
    assert "Nothing left to train: 8 iterations are done, and SOLVER.MAX_ITER is 6" in caplog.text
    assert "Training: iterations" not in caplog.text


@pytest.mark.parametrize("period, said", [("8", True), ("4", False)])
def test_a_training_without_a_checkpoint_on_its_way_says_so(config, caplog, period, said):
    with caplog.at_level("INFO"):
        train(config, "SOLVER.CHECKPOINT_PERIOD", period, "DATASETS.TEST", "()")
    assert ("No checkpoint is written before the last iteration, 8" in caplog.text) is said


def test_the_log_counts_iterations_from_1(config, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TOY_SIGNAL_AT", "3:15")
    caplog.set_level("INFO")
    with pytest.raises(SystemExit):
        train(config)
    assert "Training: iterations 1 to 8" in caplog.text
    assert "Stopped by a signal: 4 of 8 iterations are done; all is saved in" in caplog.text
    assert (tmp_path / "out" / "last_checkpoint").read_text() == "model_0000003.pth"
    monkeypatch.delenv("TOY_SIGNAL_AT")
    trainer, _ = train(config, resume=True)
    assert "model_0000003.pth: 4 of 8 iterations are done" in caplog.text
    rate = trainer.scheduler._multiplier(4 / 8) * trainer.scheduler.base_lrs[0]
    assert f"Training: iterations 5 to 8, from a learning rate of {rate:.2g}" in caplog.text


def test_resume_without_a_checkpoint_starts_with_a_warning(config, tmp_path, caplog):
    trainer, _ = train(config, "SOLVER.MAX_ITER", "1", resume=True)
    assert trainer.start_iter == 0
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert f"--resume finds no checkpoint in {tmp_path / 'out'}: starting from the beginning" in said


def test_non_finite_loss_names_the_images_and_spares_the_checkpoint(config, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_NAN_AT", "5")
    with pytest.raises(DivergenceError) as caught:
        train(config)
    message = str(caught.value)
    assert "iteration 5" in message and "loss_pose" in message and "data/images/00" in message
    before = weights_of(tmp_path / "out", "model_0000002.pth")
    assert (tmp_path / "out" / "last_checkpoint").read_text() == "model_0000002.pth"
    assert all(torch.isfinite(value).all() for value in before["raw"].values())
    assert not (tmp_path / "out" / "model_0000005.pth").exists()


def test_late_numbers_still_stop_before_the_checkpoint():
    metrics = StepMetrics(immediate=False)
    step = {"file_names": ["a.jpg"], "gradient_norm": None, "wants_stop": False}
    assert metrics.put({"total_loss": torch.tensor(1.0)}, iteration=0, **step) is None
    assert metrics.put({"total_loss": torch.tensor(float("inf"))}, iteration=1, **step) == {"total_loss": 1.0}
    with pytest.raises(DivergenceError, match="iteration 1 .*a.jpg"):
        metrics.flush()
    assert metrics.flush() is None


def test_weights_without_finite_values_are_not_saved(config, tmp_path):
    trainer = Trainer(load_config(str(config)))
    with torch.no_grad():
        trainer.model.head.weight[0, 0] = float("nan")
    with pytest.raises(DivergenceError, match="weight became non-finite"):
        trainer.save("model_x.pth")
    assert not (tmp_path / "out" / "model_x.pth").exists()


def test_errors_before_the_first_step(config, tmp_path):
    with pytest.raises(CheckpointError, match="evaluation needs weights"):
        evaluate_only(load_config(str(config)))
    out = tmp_path / "out"
    with pytest.raises(CheckpointError, match=f"OUTPUT_DIR {out} has no .* MODEL.WEIGHTS {out}/model_final.pth"):
        evaluate_only(load_config(str(config), ["MODEL.WEIGHTS", "base.pth"]), resume=True)
    with pytest.raises(ConfigError, match="META_ARCHITECTURE.*Nothing"):
        Trainer(load_config(str(config), ["MODEL.META_ARCHITECTURE", "Nothing"]))
    torch.save({"model": Trainer(load_config(str(config))).model.state_dict()}, tmp_path / "plain.pth")
    (tmp_path / "last_checkpoint").write_text("plain.pth")
    with pytest.raises(CheckpointError, match="weights only"):
        Trainer(load_config(str(config), ["OUTPUT_DIR", str(tmp_path)])).resume_or_load()


@pytest.mark.parametrize("fails", ["data", "hook"])
def test_what_fails_at_the_start_is_what_is_told(config, tmp_path, monkeypatch, fails):
    """What ends a training that did not start (closing logs, the bar) hides no cause."""
    if fails == "data":
        path = tmp_path / "data" / "people.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "categories": 1}))
    else:
        monkeypatch.setattr(Progress, "before_train", lambda hook: 1 / 0)
    with pytest.raises(DataError if fails == "data" else ZeroDivisionError):
        train(config)


def test_without_ema_and_with_given_weights(config, tmp_path):
    trainer = Trainer(load_config(str(config)))
    torch.save(trainer.model.state_dict(), tmp_path / "start.pth")
    other = [
        "SEED",
        "9",
        "SOLVER.EMA.ENABLED",
        "False",
        "MODEL.WEIGHTS",
        str(tmp_path / "start.pth"),
        "DATASETS.TEST",
        "()",
    ]
    started = Trainer(load_config(str(config), other))
    assert not torch.equal(started.model.head.weight, trainer.model.head.weight)
    started.resume_or_load(resume=False)
    assert torch.equal(started.model.head.weight, trainer.model.head.weight)
    started.train()
    assert "raw" not in weights_of(tmp_path / "out")


def test_what_the_data_could_not_give_is_said_at_the_end(config, tmp_path, monkeypatch):
    (tmp_path / "data" / "images" / "003.png").write_bytes(b"no image")
    said = []
    listener = logging.Handler()
    listener.emit = lambda record: said.append(record.getMessage())
    # Not caplog: whether it hears a line once, twice or never depends on the logging that earlier tests have set up.
    monkeypatch.setattr(logging.getLogger("rle_onestage"), "handlers", [listener])
    train(config, "INPUT.POSE.MAX_UNREADABLE", "0.5", "DATASETS.TEST", "()")
    told = [line for line in said if line.startswith("Data: ")]
    assert len(told) == 1 and "003.png" in told[0]


def test_log_lines_that_come_again_are_dropped(tmp_path):
    path = tmp_path / "training.jsonl"
    path.write_text('{"iteration": 1}\n{"iteration": 3}\n{"iteration": 5}\n{"iterat')
    keep_before(str(path), 4)
    assert path.read_text() == '{"iteration": 1}\n{"iteration": 3}\n'
