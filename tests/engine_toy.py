"""A tiny architecture and data set for the tests of the engine; run as a script it is ``train_net.py`` with both.

Environment of the script: ``TOY_NAN_AT`` makes the loss of that iteration NaN, ``TOY_KILL_AT`` kills the process in
that iteration as ``kill -9`` does, ``TOY_SIGNAL_AT=iteration:signal`` sends itself a signal, ``TOY_FAIL_RANK`` makes
that process fail at iteration 1, ``TOY_SEEN`` names a file to which each process adds the images of each iteration.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, Backbone
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm
from torch import nn

from rle_onestage.errors import DataError

SIZE = 64
NAMES = ["nose", "left_hand", "right_hand"]


def fires(name, iteration):
    """Whether the environment asks for something at this iteration."""
    return os.environ.get(name, "").split(":")[0] == str(iteration)


@META_ARCH_REGISTRY.register()
class ToyPose(nn.Module):
    """Mean colours to joints; has what the engine looks at: noise, batch norm, a flow, a table, a counter."""

    def __init__(self, cfg):
        super().__init__()
        self.joints = cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.GroupNorm(2, 8), nn.ReLU())
        self.norm = nn.BatchNorm1d(8)
        self.flow = nn.Linear(8, 8)
        self.head = nn.Linear(8, 2 * self.joints)
        self.register_buffer("table", torch.zeros(1))
        self.register_buffer("iteration", torch.zeros((), dtype=torch.long))

    def prepare_for_inference(self):
        """The table is what evaluation uses of the weights."""
        self.table.copy_(self.head.weight.detach().sum().reshape(1))

    def forward(self, batch):
        """The contract of Detectron2's architectures."""
        images = torch.stack([item["image"].float() / 255 for item in batch])
        features = self.flow(self.norm(self.backbone(images).mean((2, 3))))
        if not self.training:
            return [self.person(item, joints) for item, joints in zip(batch, self.head(features))]
        now = int(self.iteration)
        self.iteration += 1
        self.note_seen(now, batch)
        self.misbehave(now)
        out = self.head(features + 0.05 * torch.randn_like(features))
        target = images.mean((1, 2, 3))[:, None]
        factor = float("nan") if fires("TOY_NAN_AT", now) else 1.0
        return {"loss_pose": (out - target).abs().mean() * factor, "loss_score": 0.1 * features.square().mean()}

    def note_seen(self, now, batch):
        """Write down the iteration, the number of processes, which this is, and its images."""
        if path := os.environ.get("TOY_SEEN"):
            line = json.dumps([now, comm.get_world_size(), comm.get_rank(), [item["image_id"] for item in batch]])
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{line}\n")

    def misbehave(self, now):
        """Do what the environment asks for."""
        if fires("TOY_KILL_AT", now):
            os.kill(os.getpid(), signal.SIGKILL)
        if fires("TOY_SIGNAL_AT", now):
            os.kill(os.getpid(), int(os.environ["TOY_SIGNAL_AT"].split(":")[1]))
        if now == 1 and os.environ.get("TOY_FAIL_RANK") == str(comm.get_rank()):
            raise DataError("image broken.jpg cannot be read on this process; restore it")
        if os.environ.get("TOY_SLEEP"):
            time.sleep(float(os.environ["TOY_SLEEP"]))

    def person(self, item, joints):
        """One person in the image."""
        people = Instances((item["height"], item["width"]))
        people.pred_boxes = Boxes(torch.tensor([[8.0, 8.0, 48.0, 56.0]]))
        people.scores = torch.tensor([0.5])
        people.pred_classes = torch.zeros(1, dtype=torch.long)
        points = joints.reshape(1, self.joints, 2) + 20 + 0 * self.table
        people.pred_keypoints = torch.cat([points, torch.full((1, self.joints, 1), 0.5)], 2)
        people.pred_keypoint_sigmas = torch.ones(1, self.joints, 2)
        people.pred_keypoint_presence = torch.ones(1, self.joints)
        return {"instances": people}


@BACKBONE_REGISTRY.register()
class ToyPyramid(Backbone):
    """Maps of strides 8 and 16, with a normalisation that does not look at the batch."""

    def __init__(self, cfg, input_shape):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 8, 8), nn.GroupNorm(4, 16), nn.ReLU())
        self.p3, self.p4 = nn.Conv2d(16, 32, 3, 1, 1), nn.Conv2d(16, 32, 3, 2, 1)

    def forward(self, images):
        """Images (B, 3, H, W) to a dict of maps."""
        stem = self.stem(images)
        return {"p3": self.p3(stem), "p4": self.p4(stem)}

    @property
    def size_divisibility(self):
        """Sides are padded to multiples of this."""
        return 16

    def output_shape(self):
        """Channels and strides by name."""
        return {"p3": ShapeSpec(channels=32, stride=8), "p4": ShapeSpec(channels=32, stride=16)}


# Options for the real architecture on that backbone.
REAL = """MODEL.META_ARCHITECTURE RLEOneStage MODEL.BACKBONE.NAME ToyPyramid MODEL.RLE_ONESTAGE.IN_FEATURES ["p3","p4"]
    MODEL.RLE_ONESTAGE.HEAD.CHANNELS 32 MODEL.RLE_ONESTAGE.HEAD.NUM_CONVS 1 MODEL.RLE_ONESTAGE.HEAD.EMBEDDING 32
    MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS 3 MODEL.RLE_ONESTAGE.REFINE.CHANNELS 16 SOLVER.BASE_LR 0.002
    SOLVER.CLIP_GRADIENTS.CLIP_VALUE 10.0""".split()


def make_data(folder, images=8):
    """Write images of noise with a person each, and their COCO file; returns the file."""
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    content = {"images": [], "annotations": [], "categories": []}
    content["categories"].append({"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]})
    for number in range(1, images + 1):
        name = f"{number:03d}.png"
        cv2.imwrite(str(folder / "images" / name), rng.integers(0, 30 * number, (SIZE, SIZE, 3), dtype=np.uint8))
        content["images"].append({"id": number, "file_name": name, "height": SIZE, "width": SIZE})
        content["annotations"].append(
            {
                "id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "bbox": [8, 8, 40, 48],
                "area": 1500.0, "keypoints": [20, 20, 2, 30, 30, 2, 25, 40, 1], "num_keypoints": 3,
            }
        )  # fmt: skip
    path = folder / "people.json"
    path.write_text(json.dumps(content))
    return path


def write_config(folder, **solver):
    """Write a config for the toy in ``folder`` with its data; returns the file."""
    folder = Path(folder)
    people = make_data(folder / "data")
    files = [["toy_people", str(people), str(people.parent / "images")]]
    config = {
        "VERSION": 2,
        "SEED": 3,
        "OUTPUT_DIR": str(folder / "out"),
        "MODEL": {"META_ARCHITECTURE": "ToyPose", "DEVICE": "cpu", "WEIGHTS": "", "RLE_ONESTAGE": {"NUM_KEYPOINTS": 3}},
        "DATASETS": {"TRAIN": ["toy_people"], "TEST": ["toy_people"], "KEYPOINT_FILES": files},
        "INPUT": {"MIN_SIZE_TEST": SIZE, "MAX_SIZE_TEST": SIZE, "POSE": {"SIZE": SIZE, "SCALE": [0.8, 1.2]}},
        "TEST": {"KEYPOINT_OKS_SIGMAS": [0.05, 0.06, 0.07]},
        "DATALOADER": {"NUM_WORKERS": 0},
        "SOLVER": {
            "IMS_PER_BATCH": 4, "MAX_ITER": 8, "CHECKPOINT_PERIOD": 3, "BASE_LR": 0.05, "WARMUP_ITERS": 2,
            "LR_SCHEDULER_NAME": "WarmupCosineLR", "LOG_PERIOD": 2, "EMA": {"WARMUP": 4},
            "CLIP_GRADIENTS": {"ENABLED": True, "CLIP_TYPE": "norm", "CLIP_VALUE": 1.0}, **solver,
        },
    }  # fmt: skip
    path = folder / "toy.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
    import train_net

    from rle_onestage.engine import argument_parser, launch

    arguments = argument_parser().parse_args()
    launch(train_net.main, arguments.num_gpus, dist_url="auto", args=(arguments,))
