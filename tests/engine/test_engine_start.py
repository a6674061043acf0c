"""What a training starts from: nothing that is frozen may be random."""

import re

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone, build_model
from modeling_toys import tiny_config
from torch import nn

from rle_onestage.engine.checkpoint.start import start_from_weights
from rle_onestage.errors import ConfigError
from rle_onestage.modeling import mark_filled

RESNET = [
    "MODEL.BACKBONE.NAME", "build_retinanet_resnet_fpn_backbone", "MODEL.RESNETS.DEPTH", "18",
    "MODEL.RESNETS.RES2_OUT_CHANNELS", "64", "MODEL.RESNETS.OUT_FEATURES", "['res3', 'res4', 'res5']",
    "MODEL.FPN.IN_FEATURES", "['res3', 'res4', 'res5']", "MODEL.FPN.OUT_CHANNELS", "16",
]  # fmt: skip
AT, NORM, MOVENET = "MODEL.BACKBONE.FREEZE_AT", "MODEL.RESNETS.NORM", "MODEL.RLE_ONESTAGE.MOVENET"


def start(*options):
    cfg = tiny_config(*options)
    start_from_weights(build_model(cfg), cfg, None)


def saved(path, *options, without=()):
    """The address of the weights of a model of these options, apart from some."""
    state = build_model(tiny_config(*options)).state_dict()
    torch.save({"model": {name: value for name, value in state.items() if not name.startswith(without)}}, path)
    return str(path)


@pytest.mark.parametrize(
    "at, norm, blamed, remedy",
    [
        (2, "FrozenBN", f"{AT} is 2 and {NORM} is FrozenBN", f"or set {AT} to 0 and {NORM} to BN so"),
        (2, "BN", f"{AT} is 2", f"or set {AT} to 0 so"),
        (0, "FrozenBN", f"{NORM} is FrozenBN", f"or set {NORM} to BN so"),
    ],
)
def test_a_resnet_without_weights(at, norm, blamed, remedy):
    with pytest.raises(ConfigError) as caught:
        start(*RESNET, AT, str(at), NORM, norm)
    message = str(caught.value)
    assert message.startswith(f"{blamed}, which would freeze random weights (backbone.bottom_up.")
    assert "MODEL.WEIGHTS names none; name weights" in message and remedy in message


def test_a_resnet_that_learns_all():
    start(*RESNET, AT, "0", NORM, "BN")


def test_a_resnet_with_weights(tmp_path):
    path = saved(tmp_path / "r.pth", *RESNET)
    start(*RESNET, AT, "2", NORM, "FrozenBN", "MODEL.WEIGHTS", path)
    partial = saved(tmp_path / "p.pth", *RESNET, without=("backbone.bottom_up.stem.conv1.weight", "head."))
    with pytest.raises(ConfigError, match=r"weights \(backbone.bottom_up.stem.conv1.weight\): .*p.pth does not have"):
        start(*RESNET, AT, "2", NORM, "FrozenBN", "MODEL.WEIGHTS", partial)


def test_a_checkpoint_of_another_backbone(tmp_path):
    """Its head may fit, and the log says so. The trunk of the config is not in it."""
    movenet = ["MODEL.BACKBONE.NAME", "build_movenet_backbone", "INPUT.FORMAT", "RGB", f"{MOVENET}.CHANNELS", "16",
               f"{MOVENET}.OUT_FEATURES", "('p3', 'p4')", AT, "-1"]  # fmt: skip
    other = saved(tmp_path / "other.pth")
    with pytest.raises(ConfigError) as caught:
        start(*movenet, "MODEL.WEIGHTS", other)
    message = str(caught.value)
    assert message.startswith(f"{AT} is -1, which would freeze random weights (backbone.trunk.")
    assert f"{other} does not have them" in message and f"{MOVENET}.PRETRAINED" in message
    start(*movenet, "MODEL.WEIGHTS", saved(tmp_path / "same.pth", *movenet))


class _Own(Backbone):
    """One convolution, which is frozen."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 8, 8).requires_grad_(False)

    def forward(self, images):
        return {"p3": self.stem(images)}

    def output_shape(self):
        return {"p3": ShapeSpec(channels=16, stride=8)}


def test_a_backbone_of_the_users_own(monkeypatch, caplog):
    def own_frozen_backbone(cfg, input_shape):
        return _Own()

    def own_filled_backbone(cfg, input_shape):
        backbone = _Own()
        mark_filled(backbone.stem)
        return backbone

    monkeypatch.setattr(BACKBONE_REGISTRY, "_obj_map", dict(BACKBONE_REGISTRY._obj_map))
    for build in (own_frozen_backbone, own_filled_backbone):
        BACKBONE_REGISTRY.register(build)
    one_level = ["MODEL.RLE_ONESTAGE.IN_FEATURES", "['p3']", "MODEL.BACKBONE.NAME"]
    start(*one_level, "own_filled_backbone")
    assert "own_filled_backbone has frozen" not in caplog.text
    start(*one_level, "own_frozen_backbone")
    said = r"WARNING .*own_frozen_backbone has frozen parts, .*backbone.stem.weight.*mark_filled"
    assert re.search(said, caplog.text)


def test_all_that_a_part_is_trained_on(tmp_path):
    """What SOLVER.TRAIN_ONLY keeps is all of the model, but for the density, which may be missing in a slim file."""
    only = ["SOLVER.TRAIN_ONLY", "['head.']"]
    with pytest.raises(ConfigError, match=r"TRAIN_ONLY is \['head.'\], .*refiner.*no_refiner.pth does not have"):
        start(*only, "MODEL.WEIGHTS", saved(tmp_path / "no_refiner.pth", without=("refiner.",)))
    start(*only, "MODEL.WEIGHTS", saved(tmp_path / "slim.pth", without=("criterion.",)))
