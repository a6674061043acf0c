"""The expected OKS of a model goes by the OKS sigmas of its data sets' evaluation, also on machines without these."""

import json
import math

import engine_toy
import pytest
import torch

from rle_onestage.data.datasets import get_skeleton
from rle_onestage.engine import Trainer, load_config, read_checkpoint
from rle_onestage.engine.checkpoint import slim
from rle_onestage.engine.checkpoint.joints import model_oks_sigmas
from rle_onestage.engine.models import build_architecture, build_for_inference
from rle_onestage.structures.skeleton import COCO, stand_in_oks_sigmas

NONE = ["TEST.KEYPOINT_OKS_SIGMAS", "[]"]
WITHOUT_SETS = ["DATASETS.TRAIN", "()", "DATASETS.TEST", "()", "DATASETS.KEYPOINT_FILES", "[]"]
OF_FILE = [0.03, 0.04, 0.05]


def toy(folder, **category):
    """A toy's config file, whose label file's category has more entries."""
    path = engine_toy.write_config(folder, MAX_ITER=1)
    name, labels, images = json.loads(path.read_text())["DATASETS"]["KEYPOINT_FILES"][0][:3]
    content = json.loads((folder / labels).read_text())
    content["categories"][0].update(category)
    (folder / labels).write_text(json.dumps(content))
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Config file and checkpoint of a training whose label file has OKS sigmas."""
    folder = tmp_path_factory.mktemp("oks")
    config = toy(folder, oks_sigmas=OF_FILE)
    Trainer(load_config(config, [*engine_toy.REAL, *NONE])).train()
    return config, str(folder / "out" / "model_final.pth")


@pytest.mark.parametrize(
    "category, options, expected",
    [
        ({}, NONE, stand_in_oks_sigmas(engine_toy.NAMES)),
        ({"oks_sigmas": OF_FILE}, NONE, OF_FILE),
        ({"oks_sigmas": OF_FILE}, ["TEST.KEYPOINT_OKS_SIGMAS", "[0.07, 0.08, 0.09]"], [0.07, 0.08, 0.09]),
        ({"keypoints": ["left_ankle", "tail", "nose"]}, NONE, stand_in_oks_sigmas(["left_ankle", "tail", "nose"])),
    ],
)
def test_a_model_has_those_of_the_evaluation(tmp_path, category, options, expected):
    cfg = load_config(toy(tmp_path, **category), [*engine_toy.REAL, *options])
    found = model_oks_sigmas(build_architecture(cfg))
    assert found == pytest.approx(expected) and len(set(found)) > 1
    assert found == pytest.approx(get_skeleton(cfg, "toy_people").oks_sigmas)


def test_joints_of_nobody(tmp_path):
    """Without data sets: COCO's for 17 joints, the mean of these for others."""
    mean = sum(COCO.oks_sigmas) / 17
    for joints, expected in ((17, COCO.oks_sigmas), (4, [mean] * 4)):
        number = ["MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", str(joints)]
        cfg = load_config(toy(tmp_path / str(joints)), [*engine_toy.REAL, *NONE, *WITHOUT_SETS, *number])
        assert model_oks_sigmas(build_architecture(cfg)) == pytest.approx(expected)


def test_a_model_takes_its_own_along(trained, tmp_path):
    config, path = trained
    content = read_checkpoint(path)
    assert content["oks_sigmas"] == pytest.approx(OF_FILE)
    away = load_config(config, [*engine_toy.REAL, *NONE, *WITHOUT_SETS])
    torch.save(slim(content), tmp_path / "slim.pth")
    for weights in (path, str(tmp_path / "slim.pth")):
        model = build_for_inference(away, weights)
        assert model.decoder.oks_sigmas.tolist() == pytest.approx(OF_FILE)
    given = load_config(config, [*engine_toy.REAL, *WITHOUT_SETS])  # the config goes before the file
    assert build_for_inference(given, path).decoder.oks_sigmas.tolist() == pytest.approx([0.05, 0.06, 0.07])


@pytest.mark.parametrize(
    "recorded", [None, [0.05, 0.06], [0.05, 0.06, 0.07, 0.08], [math.nan] * 3, [0.0] * 3, ["a"] * 3, 5, [], [[0.1]] * 3]
)
def test_entries_that_are_damaged_or_of_earlier_versions(trained, tmp_path, recorded):
    """Names tell then; a number that is not the joints' is left alone."""
    config, path = trained
    content = read_checkpoint(path) | {"oks_sigmas": recorded}
    torch.save(content, tmp_path / "model.pth")
    model = build_for_inference(
        load_config(config, [*engine_toy.REAL, *NONE, *WITHOUT_SETS]), str(tmp_path / "model.pth")
    )
    mean = sum(COCO.oks_sigmas) / 17
    kept = isinstance(recorded, list) and len(recorded) in (2, 4)
    expected = [mean] * 3 if kept else stand_in_oks_sigmas(engine_toy.NAMES)
    assert model.decoder.oks_sigmas.tolist() == pytest.approx(expected)
