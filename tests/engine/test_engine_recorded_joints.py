"""What a model knows of its joints beside their names: OKS sigmas, as its evaluation has them, limbs and flips."""

import json
import math

import engine_toy
import pytest
import torch

from rle_onestage.data.datasets import get_skeleton
from rle_onestage.engine import Trainer, load_config, read_checkpoint
from rle_onestage.engine.checkpoint import slim
from rle_onestage.engine.models import build_architecture
from rle_onestage.predictor import Predictor
from rle_onestage.structures.skeleton import COCO, stand_in_oks_sigmas

NONE = ["TEST.KEYPOINT_OKS_SIGMAS", "[]"]
WITHOUT_SETS = ["DATASETS.TRAIN", "()", "DATASETS.TEST", "()", "DATASETS.KEYPOINT_FILES", "[]"]
OF_FILE = [0.03, 0.04, 0.05]


def oks_sigmas(model):
    """Those of all its parts, which are the same."""
    found = [values.tolist() for name, values in model.named_buffers() if name.endswith("oks_sigmas")]
    assert found and all(values == found[0] for values in found)
    return found[0]


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
    config = toy(folder, oks_sigmas=OF_FILE, skeleton=[[3, 1]], flip_idx=[1, 0, 2])
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
    found = oks_sigmas(build_architecture(cfg))
    assert found == pytest.approx(expected) and len(set(found)) > 1
    assert found == pytest.approx(get_skeleton(cfg, "toy_people").oks_sigmas)


def test_joints_of_nobody(tmp_path):
    """Without data sets: COCO's for 17 joints, the mean of these for others."""
    mean = sum(COCO.oks_sigmas) / 17
    for joints, expected in ((17, COCO.oks_sigmas), (4, [mean] * 4)):
        number = ["MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", str(joints)]
        cfg = load_config(toy(tmp_path / str(joints)), [*engine_toy.REAL, *NONE, *WITHOUT_SETS, *number])
        assert oks_sigmas(build_architecture(cfg)) == pytest.approx(expected)


def test_a_model_takes_its_own_along(trained, tmp_path):
    config, path = trained
    content = read_checkpoint(path)
    there = get_skeleton(load_config(config, [*engine_toy.REAL, *NONE]), "toy_people")
    assert there.limbs == ((2, 0),) and there.flip_pairs == ((0, 1),) and there.oks_sigmas == tuple(OF_FILE)
    away = [*engine_toy.REAL, *NONE, *WITHOUT_SETS]
    torch.save(slim(content), tmp_path / "slim.pth")
    for weights in (path, str(tmp_path / "slim.pth")):
        predictor = Predictor(load_config(config, [*away, "MODEL.WEIGHTS", weights]))
        assert predictor.skeleton == there
        assert predictor.model.decoder.oks_sigmas.tolist() == pytest.approx(OF_FILE)
    # The config goes before the file.
    given = load_config(config, [*engine_toy.REAL, *WITHOUT_SETS, "MODEL.WEIGHTS", path])
    predictor = Predictor(given)
    assert predictor.model.decoder.oks_sigmas.tolist() == pytest.approx([0.05, 0.06, 0.07])
    assert predictor.skeleton.oks_sigmas == (0.05, 0.06, 0.07) and predictor.skeleton.limbs == there.limbs


@pytest.mark.parametrize(
    "key, value",
    [
        *(("oks_sigmas", value) for value in ([0.05] * 2, [math.nan] * 3, [0.0] * 3, ["a"] * 3, 5, [[0.1]] * 3)),
        *(("limbs", value) for value in (None, [[0, 3]], [[0, -1]], [[0]], [0], [[0.0, 1.0]], {"a": 1})),
        ("flip_pairs", [[True, 2]]), ("has_oks_sigmas", 1), ("name", 3), ("oks_source", None), (None, None),
        (None, [1]),
    ],
)  # fmt: skip
def test_entries_that_are_damaged_or_of_earlier_versions(trained, tmp_path, key, value):
    """Names tell then, of each part alike."""
    config, path = trained
    content = read_checkpoint(path)
    content["skeleton"] = value if key is None else {**content["skeleton"], key: value}
    torch.save(content, tmp_path / "model.pth")
    weights = ["MODEL.WEIGHTS", str(tmp_path / "model.pth")]
    predictor = Predictor(load_config(config, [*engine_toy.REAL, *NONE, *WITHOUT_SETS, *weights]))
    assert predictor.model.decoder.oks_sigmas.tolist() == pytest.approx(stand_in_oks_sigmas(engine_toy.NAMES))
    assert list(predictor.skeleton.names) == engine_toy.NAMES and not predictor.skeleton.has_oks_sigmas
