"""A part of a model that learns alone: all else stays as it is, to the digit."""

import logging

import engine_toy
import pytest
import torch
from detectron2.engine import DefaultTrainer
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from engine_kills import started
from modeling_toys import make_input, tiny_config
from torch import nn

from rle_onestage.data.datasets import load_dataset
from rle_onestage.engine import Trainer, load_config, read_checkpoint
from rle_onestage.engine.checkpoint import slim
from rle_onestage.engine.checkpoint.start import start_from_weights
from rle_onestage.engine.models import build_for_inference
from rle_onestage.engine.optimizer import build_optimizer
from rle_onestage.errors import CheckpointError, ConfigError
from rle_onestage.modeling.trained_parts import train_only

PARTS = ("head.visibility.", "refiner.refinement.visible")
KEY, VISIBILITY = "SOLVER.TRAIN_ONLY", ["MODEL.RLE_ONESTAGE.HEAD.VISIBILITY", "True"]
OPTIONS = [*VISIBILITY, "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0", "MODEL.RLE_ONESTAGE.HEAD.NORM", "BN"]


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


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Trained for some steps without the part, in a file with tables and a correction; and without the flow."""
    folder = tmp_path_factory.mktemp("weights")
    run(str(engine_toy.write_config(folder)), VISIBILITY[0], "False", "DATASETS.TEST", "()", only=())
    content = read_checkpoint(str(folder / "out" / "model_final.pth"))
    content["model"]["decoder.correction"] = torch.tensor([0.4, 0.9]).expand(3, 2).clone()
    for name, each in (("whole", {"model": content["model"]}), ("slim", slim(content, half=True))):
        torch.save(each, folder / f"{name}.pth")
    return {name: str(folder / f"{name}.pth") for name in ("whole", "slim")}


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
        ("whole", ["MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "0"]),
        ("slim", ["SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "value"]),
        ("slim", ["SOLVER.AMP.ENABLED", "True", "SOLVER.EMA.ENABLED", "False"]),
    ],
)
def test_all_else_stays_to_the_digit(config, weights, tmp_path, kind, more):
    """Through evaluations and checkpoints, in averaged weights too; also tables that the file has no density for."""
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
    in_optimizer = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in in_optimizer} == {id(p) for p in trained}
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
    with pytest.raises(CheckpointError, match="does not fit the optimizer"):
        make_trainer(config, only=PARTS[:1]).resume_or_load()


def test_two_processes(config, weights, tmp_path):
    options = [*engine_toy.REAL, *OPTIONS, KEY, str(list(PARTS)), "MODEL.WEIGHTS", weights["slim"]]
    process = started(tmp_path, *options, "DATASETS.TEST", "()", "SOLVER.MAX_ITER", "3", processes_count=2)
    assert process.wait() == 0, process.log.read_text()
    assert changed(read_checkpoint(weights["slim"])["model"], saved(tmp_path)["model"]) == set()
    assert len(saved(tmp_path)["raw"]["refiner.refinement.visible_bias"].unique()) == 3


def test_the_density_alone(config, weights, tmp_path):
    """Its tables follow it, and the correction of sigma goes; the area ratio is another part's."""
    run(config, "MODEL.WEIGHTS", weights["whole"], "MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "0", "DATASETS.TEST", "()",
        *VISIBILITY[:1], "False", only=["criterion.density."])  # fmt: skip
    before, after = read_checkpoint(weights["whole"])["model"], saved(tmp_path)["model"]
    names = changed(before, after)
    assert all(name.startswith(("criterion.density.", "decoder.")) for name in names)
    assert {"decoder.std", "decoder.correction"} <= names and "decoder.area_ratio" not in names


@pytest.mark.parametrize(
    "only, words",
    [
        (["head.visibilty."], r"SOLVER.TRAIN_ONLY names 'head.visibilty.', .* did you mean 'head.visibility.'\?"),
        (
            ["head.", "refiner.refinement.visibel"],
            "visibel', .* did you mean 'refiner.refinement.visible",
        ),
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


def test_random_weights_are_not_kept():
    with pytest.raises(ConfigError, match=r"SOLVER.TRAIN_ONLY is \['head.'\], which would freeze random weights"):
        start_from_weights(nn.Linear(4, 4).requires_grad_(False), tiny_config(KEY, "['head.']"), None)


def test_any_architecture(config, tmp_path):
    """Of batch norms that nobody trains the statistics stay, whatever other architecture it is."""
    trainer = Trainer(load_config(config, [KEY, "['head.']", "TEST.EVAL_PERIOD", "2"]))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    assert changed(before, saved(tmp_path)["raw"]) == {"head.weight", "head.bias", "table", "iteration"}


class Parts(nn.Module):
    """What is trained ends in a dropout, and has no part in every batch."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 4), nn.Dropout())
        self.last = nn.Sequential(nn.Linear(4, 4), nn.Dropout())

    def forward(self, x):
        return {"loss": self.first(x).sum() if x.sum() < 0 else self.last(self.first(x)).sum()}


def test_modes_and_gradients_of_each_step():
    model = Parts()
    for _ in range(2):  # a second call does nothing
        train_only(model, ["last."])
    for x in (torch.ones(2, 4), -torch.ones(2, 4)):
        model.eval().train()
        loss = model(x)["loss"]
        assert [model.first[1].training, model.last[1].training, model.training] == [False, True, True]
        loss.backward()
        assert model.first[0].weight.grad is None and model.last[0].weight.grad is not None
    assert len(model._forward_hooks) == 1


def test_a_region_based_architecture():
    """What proposes regions is not trained: it proposes as at inference, and has no losses."""
    stages = "['res2', 'res3', 'res4', 'res5']"
    options = ["MODEL.META_ARCHITECTURE", "GeneralizedRCNN", "MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone",
               "MODEL.RESNETS.OUT_FEATURES", stages, "MODEL.FPN.IN_FEATURES", stages, "MODEL.FPN.OUT_CHANNELS", "16",
               "MODEL.RPN.IN_FEATURES", "['p2', 'p3']", "MODEL.ANCHOR_GENERATOR.SIZES", "[[32], [64]]",
               "MODEL.ROI_HEADS.NAME", "StandardROIHeads", "MODEL.ROI_HEADS.IN_FEATURES", "['p2', 'p3']",
               "MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead", "MODEL.ROI_BOX_HEAD.NUM_FC", "1", "MODEL.KEYPOINT_ON",
               "True", "MODEL.ROI_BOX_HEAD.FC_DIM", "16", "MODEL.RESNETS.DEPTH", "18",
               "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"]  # fmt: skip
    cfg = load_config("", ["MODEL.DEVICE", "cpu", *options])
    torch.manual_seed(0)
    model = build_model(cfg).train()
    train_only(model, ["roi_heads.keypoint_head."])
    optimizer = build_optimizer(cfg, model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with EventStorage():
        losses = model([make_input(0, [(6, 4, 50, 60, 17)])])
    assert {"loss_keypoint", "loss_cls"} <= losses.keys() and "loss_rpn_cls" not in losses
    sum(losses.values()).backward()
    optimizer.step()
    names = changed(before, model.state_dict())
    assert names and all(name.startswith("roi_heads.keypoint_head.") for name in names)


def test_the_stock_trainer(config, weights, tmp_path):
    """Detectron2's own does as much for our architecture, as the model itself reads the key."""
    options = ["MODEL.KEYPOINT_ON", "True", "INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.POSE.SIZE", "0"]
    options += [KEY, "['head.presence.']", "MODEL.WEIGHTS", weights["slim"], "DATASETS.TEST", "()"]
    cfg = load_config(config, [*engine_toy.REAL, *OPTIONS, *options])
    load_dataset(cfg, "toy_people")  # registers the files of the config
    (tmp_path / "out").mkdir()
    trainer = DefaultTrainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    before, after = read_checkpoint(weights["slim"])["model"], saved(tmp_path)["model"]
    assert changed(before, after) == {"head.presence.weight", "head.presence.bias"}
