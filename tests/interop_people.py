"""People made by hand or by hypothesis, for the tests of other tools' formats."""

import types

import numpy as np
import torch
from detectron2.structures import Boxes, Instances
from hypothesis import strategies as st

from rle_onestage.structures.covariance import covariance_of

OPTIONAL = (
    "pred_boxes", "scores", "pred_classes", "pred_keypoint_sigmas", "pred_keypoint_covariances",
    "pred_keypoint_presence", "pred_keypoint_visibility", "ID", "predicted",
)  # fmt: skip

# Of FiftyOne's labels, what each has of its own.
LABELS = {
    "Keypoint": {"label", "points", "confidence", "index"},
    "Keypoints": {"keypoints"},
    "Detection": {"label", "bounding_box", "confidence", "index"},
    "Detections": {"detections"},
    "KeypointSkeleton": {"labels", "edges"},
}


def random_people(number, joints, seed=0, leave_out=(), size=(480, 640)):
    """``number`` people of ``joints`` joints with every field but those of ``leave_out``."""
    rng = np.random.default_rng(seed)
    out = Instances(size)
    points = rng.uniform(-50, 4000, (number, joints, 2))
    corners = np.concatenate([points.min(1), points.max(1)], 1) if number else np.zeros((0, 4))
    sigmas = torch.from_numpy(rng.uniform(0.5, 40, (number, joints, 2)))
    correlation = torch.from_numpy(rng.uniform(-0.9, 0.9, (number, joints)))
    confidence = rng.uniform(0, 1, (number, joints, 1))
    out.pred_keypoints = torch.from_numpy(np.concatenate([points, confidence], -1)).float()
    fields = {
        "pred_boxes": Boxes(torch.from_numpy(corners).float()),
        "scores": torch.from_numpy(rng.uniform(0, 1, number)).float(),
        "pred_classes": torch.zeros(number, dtype=torch.int64),
        "pred_keypoint_sigmas": sigmas.float(),
        "pred_keypoint_covariances": covariance_of(sigmas, correlation).float(),
        "pred_keypoint_presence": torch.from_numpy(rng.uniform(0, 1, (number, joints))).float(),
        "pred_keypoint_visibility": torch.from_numpy(rng.uniform(0, 1, (number, joints))).float(),
        "ID": torch.arange(3, 3 + number),
        "predicted": torch.from_numpy(rng.uniform(0, 1, number) < 0.5),
    }
    for name, value in fields.items():
        if name not in leave_out:
            out.set(name, value)
    return out


@st.composite
def drawn_people(draw, may_lack=OPTIONAL):
    """No, one or several people of 1, 14 or 17 joints, of whom some fields are absent."""
    number, joints = draw(st.sampled_from([0, 1, 4])), draw(st.sampled_from([1, 14, 17]))
    leave_out = draw(st.sets(st.sampled_from(may_lack)))
    return random_people(number, joints, draw(st.integers(0, 99)), leave_out)


def fiftyone_stand_in():
    """A module in FiftyOne's place: its labels keep what they are given, their own fields are None where it is not."""

    def label(name, own):
        return type(name, (), {**dict.fromkeys(own), "__init__": lambda self, **given: self.__dict__.update(given)})

    return types.SimpleNamespace(Sample=dict, **{name: label(name, own) for name, own in LABELS.items()})
