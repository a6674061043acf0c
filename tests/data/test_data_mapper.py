import cv2
import numpy as np
import pytest
import torch
from data_toys import make_config, person
from detectron2.data.detection_utils import read_image as d2_read_image
from detectron2.structures import BoxMode
from PIL import Image

from rle_onestage.data import PoseMapper, UnreadableImage, read_image
from rle_onestage.data.transforms import augmentation as aug
from rle_onestage.engine.config.schema import check_values
from rle_onestage.errors import ConfigError
from rle_onestage.structures.skeleton import COCO
from rle_onestage.utils.images import ImageCache

AFFINE = dict(
    INPUT__POSE__SIZE=96,
    INPUT__POSE__SCALE=[0.6, 1.4],
    INPUT__POSE__ROTATE=40.0,
    INPUT__POSE__TRANSLATE=0.1,
)
EDGE = dict(INPUT__MIN_SIZE_TRAIN=(80, 110), INPUT__MAX_SIZE_TRAIN=200)
CROP = dict(INPUT__CROP__ENABLED=True, INPUT__CROP__TYPE="relative_range", INPUT__CROP__SIZE=[0.6, 0.6], **EDGE)


def make_mapper(is_train=True, annotations=False, **keys):
    return PoseMapper(make_config(**keys), is_train, skeleton=COCO, annotations=annotations)


def make_record(path, annotations, image=None, height=120, width=160):
    if image is None:
        image = np.full((height, width, 3), 50, np.uint8)
    cv2.imwrite(str(path), image)
    annotations = [{**a, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0} for a in annotations]
    height, width = image.shape[:2]
    return {"file_name": str(path), "image_id": 4, "height": height, "width": width, "annotations": annotations}


@pytest.mark.parametrize("keys", [AFFINE, EDGE, CROP], ids=["affine", "edge", "crop"])
def test_joints_are_where_their_pixels_are(tmp_path, keys):
    """A bright dot at the left wrist (9) is found at the joint of the same name after everything, mirrored or not."""
    image = np.zeros((120, 160, 3), np.uint8)
    image[58:63, 78:83] = 255  # centre (80.5, 60.5) from the corner of the first pixel
    joints = np.zeros((17, 3))
    joints[9] = 80.5, 60.5, 2
    record = make_record(
        tmp_path / "a.png", [person(1, 4, box=(60, 40, 40, 40), keypoints=joints.ravel().tolist())], image
    )
    mapper = make_mapper(**keys, MODEL__PIXEL_MEAN=[0.0, 0.0, 0.0])
    sides = set()
    for seed in range(12):
        sample = mapper(record, np.random.default_rng(seed))
        instances = sample["instances"]
        keypoints = instances.gt_keypoints.tensor[0].numpy()
        labelled = np.flatnonzero(keypoints[:, 2])
        assert len(labelled) == 1 and labelled[0] in (9, 10)
        sides.add(int(labelled[0]))
        weight = sample["image"][0].double().numpy()
        assert weight.shape == instances.image_size
        yy, xx = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
        found = np.array([(xx * weight).sum(), (yy * weight).sum()]) / weight.sum()
        assert np.abs(found - keypoints[labelled[0], :2]).max() < 0.6
        x0, y0, x1, y1 = instances.gt_boxes.tensor[0].tolist()
        assert x0 <= found[0] <= x1 and y0 <= found[1] <= y1
    assert sides == {9, 10}


def test_crowds_and_slivers_are_ignored_but_never_learnt(tmp_path):
    record = make_record(
        tmp_path / "a.png",
        [
            person(1, 4, box=(10, 10, 50, 80)),
            person(2, 4, box=(70, 10, 50, 80), iscrowd=1),
            person(3, 4, box=(155, 10, 80, 80)),  # 5 of 80 px in the image
            person(4, 4, box=(20, 20, 2, 30)),
            person(5, 4, box=(100, 60, 30, 50), keypoints=[0.5, 0.5, 0] * 17),
        ],
    )
    mapper = make_mapper(INPUT__MIN_SIZE_TRAIN=(120,), INPUT__RANDOM_FLIP="none")
    sample = mapper(record, np.random.default_rng(0))
    instances = sample["instances"]
    assert instances.gt_boxes.tensor.tolist() == [[10, 10, 60, 90], [100, 60, 130, 110]]
    assert instances.gt_area.tolist() == [0.5 * 50 * 80, 0.5 * 30 * 50]
    assert instances.gt_classes.tolist() == [0, 0]
    keypoints = instances.gt_keypoints.tensor
    assert keypoints.shape == (2, 17, 3) and (keypoints[0, :, 2] > 0).all() and (keypoints[1] == 0).all()
    assert sample["ignore_boxes"].tensor.tolist() == [[70, 10, 120, 90], [155, 10, 160, 90], [20, 20, 22, 50]]
    assert (sample["height"], sample["width"], sample["image_id"]) == (120, 160, 4)
    assert sample["file_name"] == record["file_name"]


def test_area_follows_scale_and_clipping(tmp_path):
    record = make_record(tmp_path / "a.png", [person(1, 4, box=(120, 10, 80, 80), area=1000.0)])
    mapper = make_mapper(INPUT__MIN_SIZE_TRAIN=(240,), INPUT__RANDOM_FLIP="none")
    instances = mapper(record, np.random.default_rng(0))["instances"]
    assert instances.gt_boxes.tensor.tolist() == [[240, 20, 320, 180]]
    assert instances.gt_area.item() == pytest.approx(1000 * 4 / 2)


def test_images_without_people(tmp_path):
    record = make_record(tmp_path / "a.png", [])
    for keys in (AFFINE, EDGE, CROP):
        instances = make_mapper(**keys)(record, np.random.default_rng(0))["instances"]
        assert len(instances) == 0 and instances.gt_keypoints.tensor.shape == (0, 17, 3)
        assert instances.gt_boxes.tensor.shape == (0, 4) and instances.gt_area.shape == (0,)
    del record["annotations"]
    assert len(make_mapper(**AFFINE)(record, np.random.default_rng(0))["instances"]) == 0


def test_canvas_border_is_the_mean_colour(tmp_path):
    record = make_record(tmp_path / "a.png", [person(1, 4)], np.full((40, 160, 3), 200, np.uint8))
    for image_format in ("BGR", "RGB"):
        mapper = make_mapper(INPUT__POSE__SIZE=64, MODEL__PIXEL_MEAN=[10.0, 20.0, 30.0], INPUT__FORMAT=image_format)
        image = mapper(record, np.random.default_rng(0))["image"]
        assert image.shape == (3, 64, 64) and image.dtype == torch.uint8
        assert image[:, 0, 0].tolist() == [10, 20, 30] and image[:, 32, 32].tolist() == [200] * 3


def test_format_orders_the_channels(tmp_path):
    record = make_record(tmp_path / "a.png", [], np.full((40, 60, 3), (1, 2, 3), np.uint8))
    assert make_mapper(False)(record)["image"][:, 0, 0].tolist() == [1, 2, 3]
    assert make_mapper(False, INPUT__FORMAT="RGB")(record)["image"][:, 0, 0].tolist() == [3, 2, 1]


def test_at_test_time_the_longest_side_gets_the_size(tmp_path):
    record = make_record(tmp_path / "a.png", [person(1, 4, box=(10, 10, 40, 60))])
    sizes = {"INPUT__MIN_SIZE_TEST": 320, "INPUT__MAX_SIZE_TEST": 320}
    sample = make_mapper(False, annotations=True, INPUT__POSE__SIZE=64, **sizes)(record)
    assert sample["image"].shape == (3, 240, 320) and (sample["height"], sample["width"]) == (120, 160)
    assert sample["instances"].gt_boxes.tensor.tolist() == [[20, 20, 100, 140]]
    sample = make_mapper(False, INPUT__MIN_SIZE_TEST=60, INPUT__MAX_SIZE_TEST=100)(record)
    assert sample["image"].shape == (3, 60, 80) and "instances" not in sample and "ignore_boxes" not in sample
    assert make_mapper(False, INPUT__MIN_SIZE_TEST=0)(record)["image"].shape == (3, 120, 160)


def test_sample_is_a_function_of_the_generator_with_and_without_cache(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (120, 260, 3), dtype=np.uint8)
    record = make_record(tmp_path / "a.png", [person(1, 4)], image)
    colour = dict(INPUT__POSE__BRIGHTNESS=0.3, INPUT__POSE__HUE=10.0)
    plain, cached = make_mapper(**AFFINE, **colour), make_mapper(**AFFINE, **colour, INPUT__POSE__CACHE_MB=10)
    for _ in range(2):
        a, b = (m(record, np.random.default_rng(3)) for m in (plain, cached))
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["instances"].gt_keypoints.tensor, b["instances"].gt_keypoints.tensor)
    assert not torch.equal(plain(record, np.random.default_rng(4))["image"], a["image"])
    assert record["annotations"][0]["bbox"] == [10, 10, 20, 40]


def test_cache_keeps_to_its_limit(tmp_path):
    records = [make_record(tmp_path / f"{i}.png", []) for i in range(3)]
    cache = ImageCache(2.5 * 120 * 160 * 3 / 2**20)
    first = [cache.read(r) for r in records]
    again = [cache.read(r) for r in records]
    assert [a is b for a, b in zip(first, again)] == [True, True, False]
    with pytest.raises(ValueError):
        first[0][0] = 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_detectron2s(tmp_path, orientation):
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16, :24] = 250
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = str(tmp_path / "a.jpg")
    Image.fromarray(image).save(path, exif=exif, quality=95)
    reference = d2_read_image(path, "BGR")
    ours = read_image(path)
    assert ours.shape == reference.shape
    assert np.abs(ours.astype(int) - reference.astype(int)).max() <= 3  # two JPEG decoders


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_damage_is_noticed(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    whole = path.read_bytes()
    path.write_bytes(
        whole + b"a few words behind the end, as some cameras leave, longer than the tail that is looked at first"
    )
    assert read_image(str(path)).shape == (64, 64, 3)
    for data, reason in [
        (whole[: len(whole) // 2], "truncated"),
        (whole[:-20], "truncated|damaged"),
        (b"", "empty"),
        (b"not an image", "not an image"),
        (whole[:2], "truncated|not an image"),
    ]:
        path.write_bytes(data)
        with pytest.raises(UnreadableImage, match=reason) as error:
            read_image(str(path))
        assert str(path) in str(error.value)
    path.unlink()
    with pytest.raises(UnreadableImage, match="No such file"):
        read_image(str(path))


def test_size_must_be_that_of_the_annotation_file(tmp_path):
    record = make_record(tmp_path / "a.png", [])
    record["width"] = 161
    with pytest.raises(UnreadableImage, match="size is 160 x 120 but the annotation file says 161 x 120"):
        make_mapper(False)(record)


def test_turned_people_stay_in_their_boxes_and_in_the_image(tmp_path):
    rng = np.random.default_rng(0)
    people = [person(i, 4, box=(*rng.uniform(0, 90, 2), *rng.uniform(10, 60, 2))) for i in range(8)]
    record = make_record(tmp_path / "a.png", people)
    mapper = make_mapper(**AFFINE)
    for seed in range(20):
        sample = mapper(record, np.random.default_rng(seed))
        instances = sample["instances"]
        boxes, keypoints = instances.gt_boxes.tensor, instances.gt_keypoints.tensor
        assert len(instances) + len(sample["ignore_boxes"]) <= 8
        assert (boxes >= 0).all() and (boxes <= 96).all()
        assert (boxes[:, 2:] - boxes[:, :2]).min() >= aug.MIN_BOX_SIDE
        labelled = keypoints[..., 2] > 0
        assert (keypoints[~labelled] == 0).all()
        inside = (keypoints[..., :2] >= boxes[:, None, :2] - 1e-3) & (keypoints[..., :2] <= boxes[:, None, 2:] + 1e-3)
        assert inside.all(-1)[labelled].all()
        assert (instances.gt_area > 0).all() and (instances.gt_area <= boxes.diff().new_tensor(96 * 96)).all()


@pytest.mark.parametrize(
    "keys, words",
    [
        (dict(INPUT__FORMAT="YUV-BT.601"), "INPUT.FORMAT"),
        (dict(INPUT__POSE__SCALE=[1.5, 0.5]), "INPUT.POSE.SCALE"),
        (dict(INPUT__POSE__FLIP_PROB=1.5), "FLIP_PROB"),
        (dict(INPUT__POSE__BRIGHTNESS=2.0), "BRIGHTNESS"),
        (dict(INPUT__RANDOM_FLIP="vertical"), "RANDOM_FLIP"),
        (dict(INPUT__CROP__ENABLED=True, INPUT__CROP__TYPE="round"), "INPUT.CROP.TYPE"),
        (dict(INPUT__AUGMENTATIONS=[3]), "INPUT.AUGMENTATIONS has 3; give a list of names"),
        (dict(INPUT__AUGMENTATIONS=[["RandomFlip", 0.5]]), "INPUT.AUGMENTATIONS has"),
    ],
)
def test_values_out_of_range_are_one_sentence_of_the_schema(keys, words):
    with pytest.raises(ConfigError, match=words):
        check_values(make_config(**keys))


def test_a_crop_does_not_go_with_a_canvas():
    with pytest.raises(ConfigError, match="INPUT.CROP.ENABLED does nothing"):
        make_mapper(INPUT__POSE__SIZE=64, INPUT__CROP__ENABLED=True)
