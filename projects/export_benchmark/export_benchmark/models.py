"""Models that are exported: of the zoo, trained ones, and untrained ones that speak."""

import hashlib
import os
from typing import NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from rle_onestage import load_config, model_zoo
from rle_onestage.errors import ConfigError
from rle_onestage.modeling import RLEOneStage
from rle_onestage.utils.safe_files import local_path, save_tensors

UNTRAINED = "untrained"  # in the place of weights
# A device and the pretrained weights of a backbone that an untrained model has no use for.
_ALONE = ["MODEL.DEVICE", "cpu", "MODEL.RLE_ONESTAGE.TIMM.PRETRAINED", "False"]


class Model(NamedTuple):
    """What is exported.

    Attributes:
        name: of its rows.
        cfg: with its weights.
        digest: of config and weights, by which a stopped run knows its own.
    """

    name: str
    cfg: CfgNode
    digest: str


def from_zoo(name: str) -> Model:
    """A model with weights that come with the package.

    Raises:
        ConfigError: there is none of this name.
    """
    return _model(name, model_zoo.get_config(name, trained=True))


def from_config(name: str, config_file: str, weights: str, options: list[str], folder: str) -> Model:
    """A model of a config.

    Args:
        name: of its rows.
        config_file: its config.
        weights: a checkpoint, or ``UNTRAINED``.
        options: of the config, KEY VALUE.
        folder: where untrained weights are kept.

    Raises:
        ConfigError: the config is wrong, or the model is not ours.
        CheckpointError: the weights cannot be written.
    """
    untrained = weights == UNTRAINED
    cfg = load_config(
        config_file, [*options, *(_ALONE if untrained else ()), "MODEL.WEIGHTS", "" if untrained else weights]
    )
    cfg = cfg.clone()
    cfg.defrost()
    if untrained:
        cfg.MODEL.WEIGHTS = os.path.join(folder, f"{name}_untrained.pth")
        save_tensors(cfg.MODEL.WEIGHTS, {"model": speaking(cfg).state_dict()})
    return _model(name, cfg)


def speaking(cfg: CfgNode) -> RLEOneStage:
    """An untrained model, the same each time, that finds people in every image, and whose sigmas are corrected.

    The scores' logits are spread by their own weights, as else all candidates had nearly the same score, and which of
    them are looked at would be a matter of rounding. Batch norms have seen noise, so that no map vanishes or explodes.

    Raises:
        ConfigError: the model is not ours.
    """
    torch.manual_seed(0)
    model = build_model(cfg)
    if not isinstance(model, RLEOneStage):
        raise ConfigError(f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} cannot be exported; use RLEOneStage")
    with torch.no_grad():
        norms = [part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # the mean of what is seen
        model.eval()
        for norm in norms:
            norm.train()
        model.find(torch.randn(2, 3, 256, 256))
        model.eval()
        model.head.score.weight *= 30
        model.head.score.bias.zero_()
        hidden = 0.0
        if model.head.visibility is not None:
            model.head.visibility.taught += 1
            hidden = 0.3
        joints = model.head.num_joints
        model.decoder.set_correction(
            torch.linspace(-0.2, 0.3, joints), torch.linspace(0.8, 1.1, joints),
            torch.zeros_like(model.decoder.intervals), dependence=torch.tensor([0.1, 20.0, 90.0, hidden]),
        )  # fmt: skip
    return model


def _model(name: str, cfg: CfgNode) -> Model:
    # The place of the weights is no part of what they are.
    own = cfg.clone()
    own.defrost()
    own.MODEL.WEIGHTS = ""
    with open(local_path(cfg.MODEL.WEIGHTS), "rb") as file:
        digest = hashlib.sha256(own.dump().encode() + file.read()).hexdigest()
    return Model(name, cfg, digest)
