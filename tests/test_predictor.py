"""The predictor, and Detectron2's own tools with our config."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from detectron2.engine import DefaultPredictor
from detectron2.modeling import build_model
from detectron2.utils.visualizer import Visualizer
from PIL import Image

from rle_onestage.engine.checkpoint import read_checkpoint, slim
from rle_onestage.engine.models import build_for_inference
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import CheckpointError, ConfigError, DataError
from rle_onestage.predictor import Predictor, skeleton_for
from rle_onestage.structures.skeleton import COCO, CROWDPOSE

CONFIG = os.path.join(os.path.dirname(__file__), "..", "configs", "quickstart.yaml")
# Every candidate is a detection, so that an untrained model finds somebody.
SIZE = ["INPUT.MIN_SIZE_TEST", 64, "INPUT.MAX_SIZE_TEST", 64]
TINY = ["MODEL.DEVICE", "cpu", *SIZE, "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", 0.0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with the weights of an untrained model."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    torch.save({"model": build_model(load_config(CONFIG, TINY)).state_dict()}, path)
    return str(path)


@pytest.fixture(scope="module")
def predictor(weights):
    return Predictor(load_config(CONFIG, TINY), weights)


def photo(height=48, width=80, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_people_are_in_the_pixels_of_the_image(predictor):
    people = predictor(photo(96, 160))
    assert len(people) > 0 and people.image_size == (96, 160)
    assert people.pred_keypoints.shape == (len(people), 17, 3)
    assert people.pred_keypoint_sigmas.shape == (len(people), 17, 2)
    assert people.scores.tolist() == sorted(people.scores.tolist(), reverse=True)
    # The same image at twice the size is resized to the same input: everything doubles.
    image = photo(32, 64)
    small, large = predictor(image), predictor(image.repeat(2, 0).repeat(2, 1))
    assert len(small) == len(large)
    torch.testing.assert_close(2 * small.pred_keypoints[..., :2], large.pred_keypoints[..., :2], rtol=0.02, atol=1.0)
    torch.testing.assert_close(2 * small.pred_keypoint_sigmas, large.pred_keypoint_sigmas, rtol=0.02, atol=0.1)


def test_batch_of_different_sizes_is_each_alone(predictor):
    images = [photo(64, 64, 1), photo(64, 64, 2)]
    for alone, together in zip(map(predictor, images), predictor.batch(images)):
        torch.testing.assert_close(alone.scores, together.scores, rtol=1e-4, atol=1e-5)
    # Padding to a common size would change what is found.
    images = [photo(30, 90), photo(90, 30, 1), photo(30, 90, 2)]
    together = predictor.batch(images)
    assert [people.image_size for people in together] == [(30, 90), (90, 30), (30, 90)]
    for alone, people in zip(map(predictor, images), together):
        assert len(alone) == len(people) > 0
        torch.testing.assert_close(alone.pred_keypoints, people.pred_keypoints, rtol=1e-4, atol=1e-2)
    assert predictor.batch([]) == []


def test_bfloat16_is_close(weights, predictor):
    image = photo(64, 64)
    half = Predictor(load_config(CONFIG, TINY), weights, precision="bfloat16")(image)
    assert half.pred_keypoints.dtype == torch.float32
    assert half.scores[0].item() == pytest.approx(predictor(image).scores[0].item(), rel=0.2)


@pytest.mark.parametrize(
    "image, message",
    [
        ("photo.jpg", "cv2.imread"),
        (None, "the image is None, which cv2.imread gives for a file that is missing"),
        (Image.new("RGB", (4, 4)), r"not Image; give numpy.asarray\(image"),
        ([np.zeros((4, 4, 3), np.uint8)], "not list; give several images to Predictor.batch"),
        (np.zeros((4, 4), np.uint8), "cvtColor"),
        (np.zeros((4, 4, 4), np.uint8), "cvtColor"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.float32), "uint8"),
    ],
)
def test_other_input_is_an_error(predictor, image, message):
    with pytest.raises(DataError, match=message):
        predictor(image)


def test_a_path_is_no_config(weights):
    with pytest.raises(ConfigError, match=r"cfg is '.*quickstart.yaml'; give a config, as rle_onestage.load_config"):
        Predictor(CONFIG, weights)


def test_the_category_is_that_of_the_data(weights, tmp_path):
    assert Predictor(load_config(CONFIG, TINY), weights).category == (1, "person")
    joints = load_config(CONFIG, TINY).MODEL.RLE_ONESTAGE.NUM_KEYPOINTS
    category = {"id": 7, "name": "cat", "keypoints": [f"joint{i}" for i in range(joints)]}
    path = tmp_path / "set.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": [category]}))
    files = [["category_of_cats", str(path), str(tmp_path)]]
    keys = ["DATASETS.KEYPOINT_FILES", files, "DATASETS.TRAIN", ["category_of_cats"]]
    assert Predictor(load_config(CONFIG, [*TINY, *keys]), weights).category == (7, "cat")
    metadata = MetadataCatalog.get("category_of_cats")
    assert metadata.thing_classes == ["cat"] and pickle.loads(pickle.dumps(metadata)).thing_classes == ["cat"]


def test_the_argument_is_blamed_for_weights_that_are_not_there():
    with pytest.raises(CheckpointError, match="nosuch.pth does not exist; check Predictor's argument checkpoint$"):
        Predictor(load_config(CONFIG, TINY), "nosuch.pth")


def test_other_defaults_of_torch_are_named(weights):
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ConfigError, match=r"default dtype is torch.float64.* torch.set_default_dtype"):
            Predictor(load_config(CONFIG, TINY), weights)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"), pytest.raises(ConfigError, match="default device is meta.* MODEL.DEVICE"):
        Predictor(load_config(CONFIG, TINY), weights)


def test_weights_are_needed_and_must_fit(weights):
    with pytest.raises(ConfigError, match="MODEL.WEIGHTS"):
        Predictor(load_config(CONFIG, TINY))
    with pytest.raises(CheckpointError):
        Predictor(load_config(CONFIG, [*TINY, "MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", 14]), weights)
    with pytest.raises(ConfigError, match="bfloat16"):
        Predictor(load_config(CONFIG, TINY), weights, precision="int4")


def test_skeleton_without_data_sets(monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    missing = ["DATASETS.TEST", ("rle_lspet_val",), "DATASETS.TRAIN", ("rle_lspet_train",)]
    key = "MODEL.RLE_ONESTAGE.NUM_KEYPOINTS"
    assert skeleton_for(load_config(CONFIG, [*TINY, *missing])) == COCO
    assert skeleton_for(load_config(CONFIG, [*TINY, *missing, key, 14])) == CROWDPOSE
    assert skeleton_for(load_config(CONFIG, [*TINY, *missing, key, 5])).num_joints == 5


def test_default_predictor_and_visualizer(weights):
    cfg = load_config(CONFIG, [*TINY, "MODEL.WEIGHTS", weights, "DATASETS.TEST", ("rle_coco_2017_val",)])
    image = photo(64, 64)
    predictions = DefaultPredictor(cfg)(image)["instances"]
    assert len(predictions) > 0
    drawn = Visualizer(image[:, :, ::-1], MetadataCatalog.get("rle_coco_2017_val")).draw_instance_predictions(
        predictions
    )
    assert drawn.get_image().shape == image.shape and (drawn.get_image() != image[:, :, ::-1]).any()


def test_stock_config_code_reads_our_configs():
    """Detectron2's demo and train_net make their config this way, and know nothing of us but the import."""
    before = get_cfg()
    cfg = get_cfg()
    cfg.merge_from_file(CONFIG)
    assert cfg.MODEL.META_ARCHITECTURE == "RLEOneStage" and cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS == 17
    # Other people's defaults are left alone.
    assert before.TEST.DETECTIONS_PER_IMAGE == 100 and before.MODEL.META_ARCHITECTURE == "GeneralizedRCNN"


def same_people(first, second):
    assert len(first) == len(second) > 0
    for name, value in first.get_fields().items():
        other = second.get(name)
        assert torch.equal(*(x.tensor if hasattr(x, "tensor") else x for x in (value, other))), name


def test_the_flow_is_not_loaded_and_not_missed(tmp_path, weights, predictor):
    """With the training's parts in the file, without them, and with them in the model: the same people."""
    slim_file = tmp_path / "slim.pth"
    content = read_checkpoint(weights)
    torch.save(slim(content), slim_file)
    assert any("flow" in key for key in content["model"])
    assert not any("flow" in key or "criterion" in key for key in slim(content)["model"])
    without = Predictor(load_config(CONFIG, TINY), str(slim_file))
    for each in (predictor, without):
        assert each.model.criterion is None and not any("flow" in name for name, _ in each.model.named_modules())
    whole = build_model(load_config(CONFIG, TINY))
    whole.load_state_dict(content["model"])
    image = photo(64, 64)
    same_people(predictor(image), without(image))
    bare = build_for_inference(load_config(CONFIG, TINY), str(slim_file))
    same_people(*(Predictor(load_config(CONFIG, TINY), model=model)(image) for model in (bare, whole)))


def test_a_correction_of_sigma_comes_with_the_checkpoint(tmp_path, weights, predictor):
    content = read_checkpoint(weights)
    content["model"]["decoder.correction"] = torch.tensor([0.7, 1.0]).expand(17, 2)
    path = tmp_path / "calibrated.pth"
    torch.save(content, path)
    corrected = Predictor(load_config(CONFIG, TINY), str(path))
    # Suppression goes by the score, which goes by sigma: compare all candidates.
    image = torch.as_tensor(photo(64, 64).transpose(2, 0, 1).copy())
    people = []
    for model in (predictor.model, corrected.model):
        batch = model.preprocess_image([{"image": image}]).tensor
        people.append(model.decode(model.backbone(batch)))
    before, after = people
    torch.testing.assert_close(after.sigmas, before.sigmas * np.exp(0.7), rtol=1e-4, atol=1e-5)
    assert torch.equal(after.joints[..., :2], before.joints[..., :2])
    assert (after.joints[..., 2] < before.joints[..., 2]).all()
    assert (after.factors[..., 2] < before.factors[..., 2]).all()


def test_a_correction_does_not_survive_other_weights(weights):
    model = build_model(load_config(CONFIG, TINY))
    model.decoder.set_correction(torch.ones(17), torch.ones(17), torch.ones_like(model.decoder.intervals))
    model.prepare_for_inference()
    assert model.decoder.correction[:, 0].abs().max() == 0 and not model.decoder.intervals.any()


def test_joints_in_space_with_a_camera_and_without():
    cfg = load_config(CONFIG, [*TINY, "MODEL.RLE_ONESTAGE.DEPTH.ENABLED", True])
    model = build_model(cfg)
    untaught = Predictor(cfg, model=model)
    assert not untaught.tells_depth and not untaught(photo(64, 96)).has("pred_keypoints_3d")
    model.head.depth.taught.fill_(1)
    given = Predictor(cfg, model=model)
    camera = {"focal": 80.0, "principal_point": [48.0, 32.0]}
    without, within = given(photo(64, 96)), given(photo(64, 96), camera=camera)
    assert given.tells_depth and not without.has("pred_roots_3d")
    points = within.pred_keypoints_3d + within.pred_roots_3d[:, None]
    pixels = points[..., :2] / points[..., 2:] * 80 + torch.tensor([48.0, 32.0])
    ahead = (points[..., 2] > 50).all(1)
    assert ahead.any() and torch.allclose(pixels[ahead], within.pred_keypoints[ahead][..., :2], atol=0.05)
    assert given.space_density.half_width(0.8).shape == (17, 3)
    with pytest.raises(ConfigError, match="camera is .*give its intrinsics in pixels"):
        given(photo(64, 96), camera={"focal": 80.0})
    plain = load_config(CONFIG, TINY)
    with pytest.raises(ConfigError, match="predicts no depth; set MODEL.RLE_ONESTAGE.DEPTH.ENABLED"):
        _ = Predictor(plain, model=build_model(plain)).space_density
