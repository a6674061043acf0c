"""Tiny models and images for the tests of the export room."""

import numpy as np
import torch
from detectron2.modeling import build_model
from modeling_toys import tiny_config

SIDE = 96
SIZE = ["INPUT.MIN_SIZE_TEST", SIDE, "INPUT.MAX_SIZE_TEST", SIDE]
MOVENET = [
    "MODEL.BACKBONE.NAME", "build_movenet_backbone", "MODEL.RLE_ONESTAGE.MOVENET.PRETRAINED", "",
    "MODEL.RLE_ONESTAGE.MOVENET.OUT_FEATURES", "('p2', 'p3', 'p4')", "MODEL.RLE_ONESTAGE.MOVENET.CHANNELS", "16",
    "MODEL.RLE_ONESTAGE.MOVENET.HEADS", "True", "MODEL.RLE_ONESTAGE.REFINE.IN_FEATURE", "p2",
    "MODEL.RLE_ONESTAGE.TEST.HALF_SIZE_FROM", "40.0", "INPUT.FORMAT", "RGB",
]  # fmt: skip
REFINED = [
    "MODEL.RLE_ONESTAGE.REFINE.STEPS", "1", "MODEL.RLE_ONESTAGE.REFINE.TEST_STEPS", "2",
    "MODEL.RLE_ONESTAGE.REFINE.ATTENTION", "4", "MODEL.RLE_ONESTAGE.HEAD.VISIBILITY", "True",
]  # fmt: skip
CROWDPOSE = ["MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", "14", "MODEL.RLE_ONESTAGE.REFINE.STEPS", "0"]
# Style of the config and its options.
STYLES = {
    "fcos": ("fcos", ["MODEL.RLE_ONESTAGE.REFINE.STEPS", "0"]),
    "centernet": ("centernet", []),
    "refined": ("fcos", REFINED),
    "chosen": ("fcos", [*REFINED, "MODEL.RLE_ONESTAGE.TEST.PRE_NMS_TOPK", "40", "MODEL.RLE_ONESTAGE.TEST.TOPK", "15"]),
    "14 joints": ("fcos", CROWDPOSE),
    "movenet": ("fcos", MOVENET),
}


def toy(folder, name, *options):
    """The config of a style, with weights of an untrained model that finds somebody everywhere.

    The log-scales of the correction, and what was taught of hidden joints, are those of a calibrated model.
    """
    style, own = STYLES[name]
    cfg = tiny_config(*SIZE, *own, *options, style=style)
    torch.manual_seed(0)
    model = build_model(cfg)
    with torch.no_grad():
        model.head.score.bias += 4.0
        if model.head.visibility is not None:
            model.head.visibility.taught += 1
        joints = model.head.num_joints
        model.decoder.set_correction(
            torch.linspace(-0.2, 0.3, joints), torch.linspace(0.8, 1.1, joints),
            torch.zeros_like(model.decoder.intervals), dependence=torch.tensor([0.1, 20.0, 90.0, 0.3]),
        )  # fmt: skip
    path = folder / f"{name.replace(' ', '')}.pth"
    torch.save({"model": model.state_dict()}, path)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = str(path)
    return cfg


def photo(height=72, width=96, seed=0):
    """A smooth image (height, width, 3) uint8 of its own."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1)[:height, :width])
