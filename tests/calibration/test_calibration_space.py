"""The correction of sigmas in space: what it holds on other people, of a model whose sigmas are wrong."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import tiny_config
from space_toys import annotation, content, standing

from rle_onestage.calibration.samples import Sample
from rle_onestage.calibration.space import calibrate_space, fit_space, format_space
from rle_onestage.errors import DataError
from rle_onestage.evaluation import GroundTruth, ground_truth_as_predictions
from rle_onestage.evaluation.space import match_in_space
from rle_onestage.structures.error_density import LEVELS
from rle_onestage.structures.skeleton import COCO


def sample(seed, people=60):
    """Results with Laplace errors of 20, 30 and 80 mm whose sigmas say 40 mm each; the left wrist's depth is worse."""
    rng = np.random.default_rng(seed)
    truth = GroundTruth(
        dataset=content([[annotation(i, i, standing(seed + i))] for i in range(1, people)]), num_joints=17
    )
    results = ground_truth_as_predictions(truth)
    spread = np.tile([20.0, 30.0, 80.0], (17, 1))
    spread[9, 2] = 240
    for result in results:
        error = rng.laplace(0, spread / np.sqrt(2))
        result["keypoints_3d"] = (np.array(result["keypoints_3d"]) + error).ravel().tolist()
        result["keypoint_3d_sigmas"] = np.full(51, 40.0).tolist()
    return Sample(truth, results, np.array(COCO.oks_sigmas))


def test_intervals_hold_on_other_people():
    torch.manual_seed(0)
    decoder = build_model(tiny_config("MODEL.RLE_ONESTAGE.DEPTH.ENABLED", "True")).decoder
    report = calibrate_space(decoder, sample(0, 200), sample(1000, 200), COCO.names)
    for axis in ("x", "y", "depth"):
        for level, held in report["after"][axis].items():
            assert held == pytest.approx(float(level), abs=2.5)
    assert abs(report["before"]["depth"]["80"] - 80) > 15
    log_scale, intervals = decoder.space.correction, decoder.space.intervals
    assert torch.allclose(log_scale[9, 2].exp(), torch.tensor(6.0), rtol=0.3)
    assert torch.allclose(log_scale[5].exp(), torch.tensor([0.5, 0.75, 2.0]), rtol=0.2)
    assert (intervals.diff() > 0).all() and intervals.shape == (17, 3, len(LEVELS))
    text = format_space(report)
    assert "depth, before" in text and "95 %" in text


def test_nobody_in_space_is_one_sentence():
    nothing = sample(0, 3)._replace(results=[])
    with pytest.raises(DataError, match="nobody with joints in space was found"):
        fit_space(match_in_space(nothing.truth, nothing.results, COCO.names))
