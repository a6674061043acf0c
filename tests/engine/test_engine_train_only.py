"""A part of a model that learns alone: all else stays as it is, to the digit."""

import logging

import engine_toy
import pytest
import torch
from detectron2.engine import DefaultTrainer, SimpleTrainer
from detectron2.modeling import build_model
from engine_kills import started
from modeling_toys import make_input, tiny_config

from rle_onestage.data.datasets import load_dataset
from rle_onestage.engine import Trainer, load_config, read_checkpoint
from rle_onestage.engine.checkpoint import slim
from rle_onestage.engine.inference import build_for_inference
from rle_onestage.errors import ConfigError
from rle_onestage.modeling.train_only import train_only

PARTS = ("head.visibility.", "refiner.refinement.visible")
KEY, VISIBILITY = "SOLVER.TRAIN_ONLY", ["MODEL.RLE_ONESTAGE.HEAD.VISIBILITY", "True"]
OPTIONS = [*VISIBILITY, "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0", "MODEL.RLE_ONESTAGE.HEAD.NORM", "BN"]
BATCH = [make_input(0, [(6, 4, 50, 60, 17)])]


@pytest.fixture
def config(tmp_path):
    return str(engine_toy.write_config(tmp_path))


def make_trainer(config, *options, only=PARTS):
    return Trainer(load_config(config, [*engine_toy.REAL, *OPTIONS, KEY, str(list(only)), *options]))


def run(config, *options, only=PARTS, resume=False):
    trainer = make_trainer(config, *options, only=only)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


@pytest.fixture
def weights(config, tmp_path):
    """Trained for some steps without the part, in a file with tables and a correction; and without the flow."""
    run(config, VISIBILITY[0], "False", "OUTPUT_DIR", str(tmp_path / "base"), "DATASETS.TEST", "()", only=())
    content = read_checkpoint(str(tmp_path / "base" / "model_final.pth"))
    content["model"]["decoder.correction"] = torch.tensor([0.4, 0.9]).expand(3, 2).clone()
    for name, each in (("whole", {"model": content["model"]}), ("slim", slim(content, half=True))):
        torch.save(each, tmp_path / f"{name}.pth")
    return {name: str(tmp_path / f"{name}.pth") for name in ("whole", "slim")}


def saved(folder, name="model_final.pth"):
    return torch.load(folder / "out" / name, weights_only=True)


def changed(before, after):
    return {name for name, value in before.items() if not torch.equal(value.to(after[name]), after[name])}


def people_of(cfg, path):
    model = build_for_inference(cfg, path)
    with torch.no_grad():
        people = model([make_input(0, [])])[0]["instances"]
    return {name: getattr(value, "tensor", value) for name, value in people.get_fields().items()}


@pytest.mark.parametrize(
    "kind, more",
    [
        ("whole", []),
        ("slim", ["SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "value"]),
        ("slim", ["SOLVER.AMP.ENABLED", "True", "SOLVER.EMA.ENABLED", "False"]),
    ],
)
def test_all_else_stays_to_the_digit(config, weights, tmp_path, kind, more):
    """Through evaluations and checkpoints, in the averaged weights too; also what a slim file alone has the tables of."""
    trainer = run(config, "MODEL.WEIGHTS", weights[kind], "TEST.EVAL_PERIOD", "3", *more)
    before, content = read_checkpoint(weights[kind])["model"], saved(tmp_path)
    for part in ("model", "raw"):
        if part in content:
            assert changed(before, content[part]) == set()
            learned = content[part]["head.visibility.taught"], content[part]["refiner.refinement.visible_bias"]
            assert learned[0].all() and len(learned[1].unique()) == 3
    cfg, path = trainer.cfg, str(tmp_path / "out" / "model_final.pth")
    one, two = people_of(cfg, weights[kind]), people_of(cfg, path)
    assert two.keys() - one.keys() == {"pred_keypoint_visibility"} and len(one["scores"])
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_what_is_logged(config, weights, tmp_path, caplog):
    caplog.set_level(logging.INFO, "rle_onestage")
    trainer = make_trainer(config, "MODEL.WEIGHTS", weights["slim"])
    trained = [p for name, p in trainer.model.named_parameters() if name.startswith(PARTS)]
    total = sum(p.numel() for p in trainer.model.parameters())
    said = [record.getMessage() for record in caplog.records]
    line = f"{sum(p.numel() for p in trained):,} of {total:,} parameters are trained (SOLVER.TRAIN_ONLY)"
    assert line in said and not any("frozen" in each for each in said)
    assert [p for group in trainer.optimizer.param_groups for p in group["params"]] == trained
    trainer.resume_or_load(resume=False)
    trainer.train()
    shown = next(record.getMessage() for record in reversed(caplog.records) if record.getMessage().startswith("iter "))
    assert "visibility" in shown and "pose" in shown and "score" in shown  # the loss of what is not trained too


def test_a_training_that_goes_on_gives_the_same_weights(config, weights, tmp_path):
    options = ["MODEL.WEIGHTS", weights["slim"], "DATASETS.TEST", "()"]
    run(config, *options)
    first = saved(tmp_path)
    (tmp_path / "out" / "last_checkpoint").write_text("model_0000002.pth")
    run(config, *options, resume=True)
    second = saved(tmp_path)
    for part in ("model", "raw"):
        assert changed(first[part], second[part]) == set()


def test_another_choice_does_not_resume(config, weights):
    run(config, "MODEL.WEIGHTS", weights["slim"], "DATASETS.TEST", "()")
    with pytest.raises(Exception, match="does not fit the optimizer"):
        make_trainer(config, only=PARTS[:1]).resume_or_load()


def test_two_processes(config, weights, tmp_path):
    options = [*engine_toy.REAL, *OPTIONS, KEY, str(list(PARTS)), "MODEL.WEIGHTS", weights["slim"]]
    process = started(tmp_path, *options, "DATASETS.TEST", "()", "SOLVER.MAX_ITER", "3", processes_count=2)
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 0, out
    assert changed(read_checkpoint(weights["slim"])["model"], saved(tmp_path)["model"]) == set()
    assert len(saved(tmp_path)["raw"]["refiner.refinement.visible_bias"].unique()) == 3


def test_the_density_alone(config, weights, tmp_path):
    """Its tables follow it, and the correction of sigma goes; the area ratio is another part's."""
    run(config, "MODEL.WEIGHTS", weights["whole"], "MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "0", "DATASETS.TEST", "()",
        only=["criterion.density."])  # fmt: skip
    before, after = read_checkpoint(weights["whole"])["model"], saved(tmp_path)["model"]
    names = changed(before, after)
    assert all(name.startswith(("criterion.density.", "decoder.")) for name in names)
    assert {"decoder.std", "decoder.correction"} <= names and "decoder.area_ratio" not in names


@pytest.mark.parametrize(
    "only, words",
    [
        (["head.visibilty."], r"SOLVER.TRAIN_ONLY names 'head.visibilty.', .* did you mean 'head.visibility.'\?"),
        (["head.", "refiner.refinement.visibel"], r"'refiner.refinement.visibel', .* did you mean 'refiner.refinement.vis"),
        (["zzz"], "this model has backbone., head., refiner., criterion."),
    ],
)
def test_names_that_fit_no_parameter(config, only, words):
    with pytest.raises(ConfigError, match=words):
        make_trainer(config, only=only)


def test_names_of_what_another_key_freezes():
    options = [KEY, "['backbone.network.', 'head.']", "MODEL.BACKBONE.FREEZE_AT", "-1"]
    with pytest.raises(ConfigError, match="'backbone.network.', all of which is frozen by another key"):
        build_model(tiny_config(*options))


def test_random_weights_are_not_kept(config):
    with pytest.raises(ConfigError, match=r"SOLVER.TRAIN_ONLY is \['head.'\], which would freeze random weights"):
        trainer = Trainer(tiny_config(KEY, "['head.']", "OUTPUT_DIR", config.replace("toy.yaml", "out")))
        trainer.resume_or_load(resume=False)


@pytest.mark.parametrize("stock", [True, False])
def test_any_architecture(config, tmp_path, stock):
    """Modes, batch norms, and a batch that has no use for what is trained."""
    cfg = load_config(config, ["SOLVER.EMA.ENABLED", "False", "DATASETS.TEST", "()"])
    trainer = Trainer(cfg) if not stock else None
    model = trainer.model if trainer else build_model(cfg)
    train_only(model, ["head."])
    model.eval().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = model([{"image": torch.rand(3, 64, 64) * 255}] * 4)
    assert not model.norm.training and model.head.training
    sum(losses.values()).backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"head.weight", "head.bias"}
    model.zero_grad()
    assert changed(before, model.state_dict()) <= {"iteration"}


def test_stock_trainers_keep_the_rest(tmp_path):
    model = build_model(tiny_config(*VISIBILITY, KEY, str(list(PARTS)))).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learning = [p for p in model.parameters() if p.requires_grad]
    SimpleTrainer(model, [BATCH] * 3, torch.optim.SGD(learning, 1e-2)).train(0, 3)
    model.eval().train()
    SimpleTrainer(model, [BATCH] * 3, torch.optim.SGD(learning, 1e-2)).train(3, 4)
    names = changed(before, model.eval().state_dict())
    assert names and all(name.startswith(PARTS) for name in names)
