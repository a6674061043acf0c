"""The tables of inference are those of the weights, whoever trains, evaluates, saves and loads."""

import engine_toy
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.data import DatasetMapper, build_detection_test_loader
from detectron2.engine import DefaultPredictor, DefaultTrainer, SimpleTrainer
from detectron2.evaluation import DatasetEvaluator
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config

from rle_onestage.data import read_image
from rle_onestage.data.datasets import load_dataset
from rle_onestage.engine import Trainer, load_config, read_checkpoint
from rle_onestage.engine.checkpoint import slim
from rle_onestage.engine.models import build_for_inference
from rle_onestage.predictor import Predictor

TABLES = ("nodes", "weights", "mean", "std", "axis", "log_q")
BATCH = [make_input(0, [(6, 4, 50, 60, 17)])]


def tiny(*options):
    torch.manual_seed(0)
    return build_model(tiny_config(*options)).train()


def train(model, steps=3):
    SimpleTrainer(model, [BATCH] * steps, torch.optim.SGD(model.parameters(), 1e-2)).train(0, steps)


def correct(model):
    model.decoder.set_correction(torch.full((17,), 0.3), torch.ones(17), torch.ones_like(model.decoder.intervals))


def is_corrected(model):
    return bool(model.decoder.correction[:, 0].any())


def tables(model):
    return {name: getattr(model.decoder, name).clone() for name in TABLES}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def of_density(model):
    """What the tables must be, from the density's present weights."""
    nodes, weights, mean, std = model.criterion.density.table(20)
    return {"mean": mean, "std": std, "nodes": nodes - mean[:, None], "weights": weights}


def test_a_stock_training_step_is_followed_by_fresh_tables():
    model = tiny()
    before = tables(model)
    train(model)
    assert same(before, tables(model))  # nothing is done while it trains
    model.eval()
    after = of_density(model)
    assert not torch.equal(before["std"], after["std"])
    count = after["nodes"].shape[1]
    assert torch.equal(model.decoder.std, after["std"]) and torch.equal(model.decoder.mean, after["mean"])
    assert torch.equal(model.decoder.nodes[:, :count], after["nodes"])


def test_a_stock_checkpoint_has_fresh_tables(tmp_path):
    """Saved in the middle of a training, as PeriodicCheckpointer does."""
    model = tiny()
    train(model)
    DetectionCheckpointer(model, str(tmp_path)).save("m")
    saved = read_checkpoint(str(tmp_path / "m.pth"))["model"]
    assert model.training
    model.eval()
    assert all(torch.equal(saved[f"decoder.{name}"], value) for name, value in tables(model).items())
    assert torch.equal(saved["decoder.std"], of_density(model)["std"])


def test_what_came_with_a_file_stays_until_the_density_changes():
    source = tiny()
    train(source)
    source.eval()
    correct(source)
    model = tiny()
    flow = model.criterion.density.flow
    model.load_state_dict(slim({"model": source.state_dict()})["model"], strict=False)
    for mode in (False, True, False):
        model.train(mode)
        assert same(tables(source), tables(model)) and is_corrected(model)
    assert torch.equal(model.state_dict()["decoder.correction"], source.decoder.correction)
    with torch.no_grad():
        next(flow.parameters()).add_(0.1)
    model.eval()
    assert torch.equal(model.decoder.std, of_density(model)["std"]) and not is_corrected(model)


@pytest.mark.parametrize("density, tables_change", [("laplace", False), ("l1", True)])
def test_a_correction_goes_when_sigma_is_trained(density, tables_change):
    """Also where the density has nothing to learn."""
    model = tiny("MODEL.RLE_ONESTAGE.DENSITY", density)
    correct(model)
    model.eval()
    assert is_corrected(model)
    before = tables(model)
    model.train()
    train(model, steps=1)
    model.eval()
    assert not is_corrected(model) and same(before, tables(model)) != tables_change


def test_a_file_without_tables_gets_them_from_its_density():
    source = tiny()
    train(source)
    source.eval()
    weights = {key: value for key, value in source.state_dict().items() if not key.startswith("decoder.")}
    model = tiny()
    model.load_state_dict(weights, strict=False)
    assert not torch.equal(model.decoder.std, source.decoder.std)
    model.eval()
    assert torch.equal(model.decoder.std, source.decoder.std)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A config of the toy's data, and the last checkpoint of a training with averages."""
    folder = tmp_path_factory.mktemp("trained")
    config = str(engine_toy.write_config(folder))
    options = [*engine_toy.REAL, "MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "0", "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH"]
    cfg = load_config(config, [*options, "0.0", "TEST.EVAL_PERIOD", "3"])
    seen = []

    class Watched(Trainer):
        @classmethod
        def build_evaluator(cls, cfg, dataset_name):
            evaluator = super().build_evaluator(cfg, dataset_name)
            evaluate = evaluator.evaluate
            evaluator.evaluate = lambda: (seen.append(evaluator.density.std.clone()), evaluate())[1]
            return evaluator

    Watched(cfg).train()
    return cfg, str(folder / "out" / "model_final.pth"), seen


def test_averaged_weights_have_tables_of_their_own(trained):
    cfg, path, seen = trained
    content = read_checkpoint(path)
    for part in ("model", "raw"):
        model = build_model(cfg).eval()
        model.load_state_dict(content[part])
        model.criterion.density.refresh()
        assert torch.equal(model.decoder.std, of_density(model)["std"])
    averaged, raw = content["model"]["decoder.std"], content["raw"]["decoder.std"]
    assert not torch.equal(averaged, raw)
    assert torch.equal(seen[-1], averaged) and not torch.equal(seen[0], averaged)  # evaluated at 3, 6 and the end


class Collected(DatasetEvaluator):
    """Keeps what a model says of each image."""

    def reset(self):
        """Forget all."""
        self.people = {}

    def process(self, inputs, outputs):
        """Keep."""
        self.people |= {item["image_id"]: output["instances"] for item, output in zip(inputs, outputs)}

    def evaluate(self):
        """No figures."""
        return {}


def variants(path, folder):
    """The checkpoint, without what only training needs, and with a correction (both with it and without)."""
    full = read_checkpoint(path)
    corrected = {**full["model"], "decoder.correction": torch.tensor([0.4, 0.9]).expand(3, 2)}
    contents = {
        "full": full, "slim": slim(full), "calibrated": {**full, "model": corrected},
        "slim and calibrated": slim({"model": corrected}),
    }  # fmt: skip
    for name, content in contents.items():
        torch.save(content, folder / f"{name}.pth")
    return {name: str(folder / f"{name}.pth") for name in contents}


def assert_same_people(one, other):
    assert len(one) == len(other) > 0
    for field in ("scores", "pred_keypoints", "pred_keypoint_sigmas"):
        torch.testing.assert_close(one.get(field), other.get(field), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["full", "slim", "calibrated", "slim and calibrated"])
def test_every_tool_gives_the_same_figures(trained, tmp_path, name):
    """Also the stock ones, whose model has a flow that such a file does not fill."""
    cfg = trained[0].clone()
    cfg.defrost()
    path = cfg.MODEL.WEIGHTS = variants(trained[1], tmp_path)[name]
    records = load_dataset(cfg, "toy_people")
    whole, theirs, ours = build_model(cfg), Collected(), Collected()
    DetectionCheckpointer(whole).load(path)  # as Detectron2's train_net.py --eval-only does
    mapper = DatasetMapper(cfg, is_train=False, augmentations=[], image_format="BGR")

    class Stock(DefaultTrainer):
        @classmethod
        def build_test_loader(cls, cfg, dataset_name):
            return build_detection_test_loader(records, mapper=mapper)

    class Ours(Trainer):
        @classmethod
        def build_evaluator(cls, cfg, dataset_name):
            return ours

    Stock.test(cfg, whole, [theirs])
    Ours.test(cfg, whole)
    reference, predictors = build_for_inference(cfg, path), (Predictor(cfg), DefaultPredictor(cfg))
    for record in records:
        image = read_image(record["file_name"])
        with torch.no_grad():
            expected = reference([{"image": torch.from_numpy(image.transpose(2, 0, 1).copy())}])[0]["instances"]
        found = [predictors[0](image), predictors[1](image)["instances"]]
        for people in (*found, theirs.people[record["image_id"]], ours.people[record["image_id"]]):
            assert_same_people(expected, people)
