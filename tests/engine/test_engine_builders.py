"""Every class method of DefaultTrainer can be replaced, and training, resume and evaluation use what it gives."""

import json

import engine_toy
import pytest
import torch
from detectron2.data import DatasetMapper, build_detection_test_loader, build_detection_train_loader
from detectron2.data import transforms as T
from detectron2.engine import HookBase, hooks
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils.events import EventWriter, get_event_storage
from torch import nn

from rle_onestage.data.datasets import load_dataset
from rle_onestage.engine import Trainer, evaluate_only, load_config, read_checkpoint
from rle_onestage.errors import CheckpointError, ConfigError, DataError


@pytest.fixture
def config(tmp_path):
    return str(engine_toy.write_config(tmp_path))


def train(trainer, config, *options, resume=False):
    trainer = trainer(load_config(config, list(options)))
    trainer.resume_or_load(resume=resume)
    return trainer, trainer.train()


def final(tmp_path, out="out"):
    return read_checkpoint(str(tmp_path / out / "model_final.pth"))


def test_a_model_of_ones_own_is_trained_and_evaluated(config, tmp_path):
    class Own(Trainer):
        @classmethod
        def build_model(cls, cfg):
            model = super().build_model(cfg)
            model.extra = nn.Parameter(torch.zeros(1))
            return model

    train(Own, config)
    assert "extra" in final(tmp_path)["model"]
    assert "keypoints" in evaluate_only(load_config(config), resume=True, trainer=Own)
    with pytest.raises(CheckpointError, match="extra"):
        evaluate_only(load_config(config), resume=True)


class OwnSteps(Trainer):
    """An optimizer that this project does not know, and a schedule that is no function of the iteration."""

    @classmethod
    def build_optimizer(cls, cfg, model):
        return torch.optim.Adagrad(model.parameters(), lr=0.1)

    @classmethod
    def build_lr_scheduler(cls, cfg, optimizer):
        return torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)


def test_an_optimizer_and_a_schedule_of_ones_own_go_on_exactly(config, tmp_path):
    whole, _ = train(OwnSteps, config, "OUTPUT_DIR", str(tmp_path / "whole"))
    assert isinstance(whole.optimizer, torch.optim.Adagrad)
    assert whole.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**4)
    train(OwnSteps, config, "SOLVER.MAX_ITER", "5")
    trainer, _ = train(OwnSteps, config, resume=True)
    assert trainer.start_iter == 5 and trainer.scheduler.last_epoch == 8
    one, other = final(tmp_path, "whole"), final(tmp_path)
    assert all(torch.equal(value, other["raw"][key]) for key, value in one["raw"].items())


@pytest.mark.parametrize("state", [None, 3, {"last_epoch": 5}])
def test_a_file_without_the_state_of_the_schedule_steps_as_often(config, tmp_path, state):
    train(OwnSteps, config, "SOLVER.MAX_ITER", "5")
    content = torch.load(tmp_path / "out" / "model_final.pth", weights_only=True)
    if state is None:
        del content["scheduler"]
    else:
        content["scheduler"] = state
    torch.save(content, tmp_path / "out" / "model_final.pth")
    trainer = OwnSteps(load_config(config))
    if isinstance(state, dict):
        with pytest.raises(CheckpointError, match="another schedule than StepLR"):
            trainer.resume_or_load()
        return
    trainer.resume_or_load()
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**2)


class StockLoaders(Trainer):
    """Detectron2's loaders and mapper."""

    @classmethod
    def build_train_loader(cls, cfg):
        mapper = DatasetMapper(cfg, is_train=True, augmentations=[T.RandomBrightness(0.9, 1.1)], use_keypoint=True)
        return build_detection_train_loader(cfg, mapper=mapper)

    @classmethod
    def build_test_loader(cls, cfg, dataset_name):
        mapper = DatasetMapper(cfg, is_train=False, augmentations=[])
        return build_detection_test_loader(load_dataset(cfg, dataset_name)[:5], mapper=mapper)

    @classmethod
    def build_evaluator(cls, cfg, dataset_name):
        return Count()


class Count(DatasetEvaluator):
    """Counts the images."""

    def reset(self):
        self.images = 0

    def process(self, inputs, outputs):
        self.images += len(inputs)

    def evaluate(self):
        return {"count": {"images": self.images}}


def test_loaders_and_an_evaluator_of_detectron2_train_resume_and_evaluate(config):
    _, results = train(StockLoaders, config, "SOLVER.MAX_ITER", "3")
    assert results == {"count": {"images": 5}}
    trainer, results = train(StockLoaders, config, "SOLVER.MAX_ITER", "6", resume=True)
    assert trainer.start_iter == 3 and results == {"count": {"images": 5}}
    assert evaluate_only(load_config(config), resume=True, trainer=StockLoaders) == {"count": {"images": 5}}


def test_a_loader_that_ends_is_one_sentence(config):
    class Ends(Trainer):
        @classmethod
        def build_train_loader(cls, cfg):
            loader = super().build_train_loader(cfg)
            return [next(loader), next(loader)]

    with pytest.raises(DataError, match=r"build_train_loader\(\) ended at iteration 2"):
        train(Ends, config)


def test_a_loader_of_this_project_goes_on_at_its_iteration(config):
    """Also where a subclass wraps it, with Detectron2's one argument."""
    started = []

    class Noted(Trainer):
        @classmethod
        def build_train_loader(cls, cfg):
            loader = super().build_train_loader(cfg)
            start_at = loader.start_at
            loader.start_at = lambda iteration: (started.append(iteration), start_at(iteration))
            return loader

    train(Noted, config, "SOLVER.MAX_ITER", "3")
    train(Noted, config, resume=True)
    assert started == [0, 3]


def test_test_is_what_evaluates(config):
    class Own(Trainer):
        @classmethod
        def test(cls, cfg, model, evaluators=None):
            assert not model.training or cfg
            return {"own": {"AP": 12.0}}

    trainer, results = train(Own, config, "TEST.BEST_METRIC", "own/AP")
    assert results == {"own": {"AP": 12.0}} and trainer.best.value == 12.0
    assert evaluate_only(load_config(config), resume=True, trainer=Own) == results


def test_test_takes_one_evaluator_for_each_set(config, tmp_path):
    (tmp_path / "out").mkdir()
    trainer = Trainer(load_config(config))
    assert Trainer.test(trainer.cfg, trainer.model, Count()) == {"count": {"images": 8}}
    assert Trainer.test(trainer.cfg, trainer.model, [Count()]) == {"count": {"images": 8}}
    with pytest.raises(ConfigError, match="got 2 evaluators for the 1 sets"):
        Trainer.test(trainer.cfg, trainer.model, [Count(), Count()])


def test_writers_of_ones_own_are_asked_in_the_place_of_ours(config, tmp_path):
    class Notes(EventWriter):
        closed, losses = False, []

        def write(self):
            self.losses.append(get_event_storage().history("total_loss").latest())

        def close(self):
            Notes.closed = True

    class Own(Trainer):
        def build_writers(self):
            return [Notes()]

    train(Own, config)
    assert len(Notes.losses) == 4 and Notes.closed and not (tmp_path / "out" / "training.jsonl").exists()


def test_hooks_of_detectron2_and_of_ones_own_run_in_their_order(config):
    said = []

    class Says(HookBase):
        def before_train(self):
            said.append("before")

        def after_step(self):
            said.append(self.trainer.iter)

        def after_train(self):
            said.append("after")

    trainer = Trainer(load_config(config, ["SOLVER.MAX_ITER", "3", "SOLVER.LOG_PERIOD", "1"]))
    trainer.register_hooks([Says(), hooks.EvalHook(2, lambda: said.append("evaluated")), hooks.IterationTimer(1)])
    trainer.train()
    assert said == ["before", 0, 1, "evaluated", 2, "after", "evaluated"]  # its last one comes at the end


def test_a_hook_that_does_not_take_its_state_is_one_sentence(config, tmp_path):
    class Refuses(HookBase):
        def state_dict(self):
            return {"a": 1}

        def load_state_dict(self, state):
            raise KeyError("b")

    class Own(Trainer):
        def build_hooks(self):
            return [Refuses(), *super().build_hooks()]

    train(Own, config, "SOLVER.MAX_ITER", "1")
    with pytest.raises(CheckpointError, match=r"a hook does not take the state .*KeyError.*SOLVER.HOOKS"):
        Own(load_config(config)).resume_or_load()


def test_weights_are_scored_as_a_training_would_start_from_them(config, tmp_path):
    options = [*engine_toy.REAL, "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0"]
    _, results = train(Trainer, config, *options)
    options += ["MODEL.WEIGHTS", str(tmp_path / "out" / "model_final.pth")]
    same = evaluate_only(load_config(config, options), before_training=True)
    assert results["bbox"]["AP"] > 0 and same["per_joint"] == pytest.approx(results["per_joint"], rel=1e-4)
    content = json.loads((tmp_path / "data" / "people.json").read_text())
    content["categories"][0]["keypoints"][2] = "tail"
    (tmp_path / "data" / "tails.json").write_text(json.dumps(content))
    files = [["toy_tails", str(tmp_path / "data" / "tails.json"), str(tmp_path / "data" / "images")]]
    names = ["DATASETS.KEYPOINT_FILES", json.dumps(files), "DATASETS.TRAIN", "[]", "DATASETS.TEST", "['toy_tails']"]
    other = load_config(config, [*options, *names], task="evaluation")
    with pytest.raises(CheckpointError, match="without tail of the model's 3"):
        evaluate_only(other)
    found = evaluate_only(other, before_training=True)  # scores, and so AP, go by the joints too
    assert found["bbox"]["AP"] == pytest.approx(results["bbox"]["AP"], abs=2) and "oks-tail" in found["per_joint"]
