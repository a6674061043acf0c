"""The calibration of a model that tells hidden joints from visible ones: covariances that depend on what it says."""

import json
import math

import numpy as np
import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY
from test_calibrate import NAMES, PEOPLE, SIGMAS, SIZE, NoisyLabels, results_of, write_set

from rle_onestage.calibration.fit import calibrate
from rle_onestage.calibration.report import format_report
from rle_onestage.engine.setup import load_config
from rle_onestage.evaluation.results import instances_from_results

HIDDEN = {}  # image id -> (M, K) bool
FACTOR, SAID = 3.0, 0.9  # errors of hidden joints beside those of visible ones; probability that the model gives both


@META_ARCH_REGISTRY.register()
class NoisyHiddenLabels(NoisyLabels):
    """Sigma is right for visible joints. Hidden ones are thrice as far off, and the model says that they are hidden."""

    def people(self, item):
        """Instances of one image."""
        rng = np.random.default_rng(item["image_id"])
        boxes, joints = (np.array(part) for part in PEOPLE[item["image_id"]])
        hidden = HIDDEN[item["image_id"]]
        sigma = np.exp(1 + 0.3 * rng.normal(size=joints.shape))
        true = sigma * np.where(hidden, FACTOR, 1.0)[..., None]
        mu = joints + 0.5 + true * rng.laplace(size=joints.shape) / math.sqrt(2)
        tensors = [torch.from_numpy(part).float() for part in (boxes, mu, sigma)]
        visibility = torch.from_numpy(np.where(hidden, 1 - SAID, SAID)).float().logit()
        return self.decoded(*tensors, torch.full((len(boxes),), 2.0), item, visibility)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A config file, its weights and the name of its set."""
    folder = tmp_path_factory.mktemp("visibility")
    files = write_set(folder, f"{folder.name}_hidden", 9000, images=240)
    for label in json.loads(open(files[1]).read())["annotations"]:
        HIDDEN.setdefault(label["image_id"], []).append([flag == 1 for flag in label["keypoints"][2::3]])
    config = {
        "VERSION": 2, "OUTPUT_DIR": str(folder / "out"),
        "MODEL": {"META_ARCHITECTURE": "NoisyHiddenLabels", "DEVICE": "cpu", "RLE_ONESTAGE": {"NUM_KEYPOINTS": 3}},
        "DATASETS": {"TEST": files[:1], "KEYPOINT_FILES": [files]}, "INPUT": {"POSE": {"SIZE": SIZE}},
        "TEST": {"KEYPOINT_OKS_SIGMAS": SIGMAS}, "DATALOADER": {"NUM_WORKERS": 0},
    }  # fmt: skip
    path, weights = folder / "config.yaml", folder / "model.pth"
    path.write_text(json.dumps(config))
    torch.save({"model": NoisyHiddenLabels(None).state_dict()}, weights)
    return str(path), str(weights), files[0]


def people_of(path, weights, name):
    """All people that a model finds, in an order that does not depend on their scores."""
    found, _ = results_of(path, weights, name)
    found.sort(key=lambda result: (result["image_id"], result["bbox"]))
    return instances_from_results(found, (SIZE, SIZE), len(NAMES))


def test_a_joint_that_is_probably_hidden_gets_a_larger_covariance(made, tmp_path):
    path, weights, name = made
    output = str(tmp_path / "corrected.pth")
    cfg = load_config(path, ["MODEL.WEIGHTS", weights])
    report = calibrate(cfg, name, output=output, folder=str(tmp_path), resamples=10)
    # The model says 0.9 and 0.1, so that eight tenths of what surely hidden joints get lie between the two.
    factor = report["dependence"]["hidden"]
    assert factor == pytest.approx(math.log(FACTOR) / (2 * SAID - 1), abs=0.25)
    assert report["before"]["hidden"]["ellipse_90"] < 65
    for row in ("visible", "hidden"):
        assert report["after"][row]["ellipse_90"] == pytest.approx(90, abs=6)
    assert report["probabilities"]["all"]["visibility_auc"] == 1
    text = format_report(report)
    assert f"sigma of a hidden joint times {math.exp(factor):.2f}" in text and "visibility: AUC" in text

    before, people = (people_of(path, file, name) for file in (weights, output))
    sigmas, covariances = people.pred_keypoint_sigmas, people.pred_keypoint_covariances
    torch.testing.assert_close(covariances.diagonal(dim1=-2, dim2=-1).sqrt(), sigmas, rtol=1e-3, atol=2e-3)
    grown = sigmas / before.pred_keypoint_sigmas
    hidden = people.pred_keypoint_visibility < 0.5
    assert hidden.any() and not hidden.all()
    ratio = (grown[hidden].log().mean() - grown[~hidden].log().mean()).exp()
    assert ratio == pytest.approx(math.exp((2 * SAID - 1) * factor), rel=0.05) and ratio > 2
