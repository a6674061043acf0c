"""A user's own mapper, by config alone, and our mapper behind Detectron2's own loader."""

import importlib
import itertools
import traceback

import numpy as np
import pytest
import torch
from data_toys import make_config, toy_config, toy_content, write_set
from detectron2.data import DatasetMapper, build_detection_train_loader
from detectron2.data import transforms as T
from set_toys import limbs_content

from rle_onestage.data import MAPPER_REGISTRY, PoseMapper, build_test_loader, build_train_loader
from rle_onestage.data.handover import pack, unpack
from rle_onestage.errors import ConfigError, DataError, OwnCodeError
from rle_onestage.structures.skeleton import COCO

MODULE = '''
import numpy as np
from detectron2.data import transforms as T
from rle_onestage.data import AUGMENTATION_REGISTRY, MAPPER_REGISTRY, PoseMapper


@AUGMENTATION_REGISTRY.register()
class Dark(T.Augmentation):
    """Divides all grey levels."""

    def __init__(self, by=2):
        super().__init__()
        self._init(locals())

    def get_transform(self, image):
        return T.ColorTransform(lambda image: image // self.by)


@AUGMENTATION_REGISTRY.register()
class Odd(T.Augmentation):
    """Does to images what a line of Python says."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def get_transform(self, image):
        return T.ColorTransform(lambda image: eval(self.how, {"image": image, "np": np}))


@MAPPER_REGISTRY.register()
class OddMapper(PoseMapper):
    """Has a mistake."""

    def __call__(self, record, rng=None, others=()):
        return {**super().__call__(record, rng, others), "width": record["widht"]}


@MAPPER_REGISTRY.register()
class DarkMapper(PoseMapper):
    """Darkens by a subclass."""

    @classmethod
    def build_augmentation(cls, cfg):
        return [*super().build_augmentation(cfg), Dark()]


@MAPPER_REGISTRY.register()
def noting_mapper(cfg, is_train):
    """Adds a field to samples."""
    mapper = PoseMapper(cfg, is_train)

    def call(record):
        sample = mapper(record)
        sample["note"] = np.random.rand()
        sample["more"] = {"tensor": sample["image"].float().mean(dim=(1, 2))}
        return sample

    return call
'''


@pytest.fixture(scope="module", autouse=True)
def user_module(tmp_path_factory):
    """A user's module with mappers and an augmentation, imported once; their names go again afterwards."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "own_mappers_of_a_user.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setattr(MAPPER_REGISTRY, "_obj_map", dict(MAPPER_REGISTRY._obj_map))
        augmentations = importlib.import_module("rle_onestage.data.transforms.stock").AUGMENTATION_REGISTRY
        patch.setattr(augmentations, "_obj_map", dict(augmentations._obj_map))
        yield importlib.import_module("own_mappers_of_a_user")


def images(batches):
    return [sample["image"] for batch in batches for sample in batch]


def first(cfg, number=2, **options):
    return list(itertools.islice(build_train_loader(cfg, **options), number))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_subclass_reaches_the_batch_by_config_alone(tmp_path, workers):
    cfg = toy_config(tmp_path, "own_set", toy_content(8), DATALOADER__NUM_WORKERS=workers, INPUT__POSE__SIZE=48)
    plain = first(cfg)
    cfg.INPUT.MAPPER = "DarkMapper"
    dark = first(cfg)
    for a, b in zip(images(plain), images(dark)):
        assert torch.equal(a // 2, b) and a.max() > 200
    for a, b in zip(plain[0], dark[0]):
        assert torch.equal(a["instances"].gt_boxes.tensor, b["instances"].gt_boxes.tensor)
        assert torch.equal(a["instances"].gt_keypoints.tensor, b["instances"].gt_keypoints.tensor)
    # At test there is no augmentation.
    assert next(iter(build_test_loader(cfg, "own_set")))[0]["image"].max() > 200


def test_an_augmentation_of_the_user_by_config_alone(tmp_path):
    cfg = toy_config(tmp_path, "own_dark_set", INPUT__POSE__SIZE=48)
    plain = images(first(cfg))
    cfg.INPUT.AUGMENTATIONS = [["Dark", {"by": 4}]]
    assert all(torch.equal(a // 4, b) for a, b in zip(plain, images(first(cfg))))


@pytest.mark.parametrize(
    "how, words",
    [
        ("image / 255", "gives an image of float64 from 0"),
        ("np.float32(image)", "gives an image of float32 from "),  # in 0..255: dark images are in 0..1 too
        ("image > 9", "gives an image of bool for "),
        ("image.astype(int)", "gives an image of int64 from "),
        ("image[..., 0]", "gives an image of the shape (48, 48) for "),
        ("image[..., :2]", "gives an image of the shape (48, 48, 2) for "),
        ("image[:0]", "gives an image of the shape (0, 48, 3) for "),
        ("None", "gives an image of object for "),
    ],
)
def test_what_is_no_image_is_one_sentence_that_names_the_augmentation(tmp_path, how, words, request):
    name = f"own_odd_set_{request.node.callspec.indices['how']}"
    cfg = toy_config(tmp_path, name, toy_content(4), INPUT__POSE__SIZE=48)
    cfg.INPUT.AUGMENTATIONS = ["Dark", ["Odd", {"how": how}]]
    with pytest.raises(DataError) as caught:
        first(cfg, 1)
    said = str(caught.value)
    assert said.startswith(f"augmentation Odd {{'how': '{how}'}} (number 2 of INPUT.AUGMENTATIONS) {words}")
    assert ".png; let its apply_image give " in said and "\n" not in said


def test_the_remedy_of_that_sentence_is_one(tmp_path):
    cfg = toy_config(tmp_path, "own_remedy_set", toy_content(4), INPUT__POSE__SIZE=48)
    plain = images(first(cfg))
    for how in ("np.rint(np.float32(image)).clip(0, 255)", "np.rint(image / 255 * 255).clip(0, 255)"):
        cfg.INPUT.AUGMENTATIONS = [["Odd", {"how": f"{how}.astype(np.uint8)"}]]
        assert all(torch.equal(a, b) for a, b in zip(plain, images(first(cfg))))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_in_own_code_ends_with_a_sentence_that_names_it(tmp_path, workers):
    cfg = toy_config(tmp_path, f"own_mistake_set_{workers}", toy_content(4), INPUT__POSE__SIZE=48)
    cfg.DATALOADER.NUM_WORKERS = workers
    file = r"image \S+\.png: "
    cfg.INPUT.AUGMENTATIONS = [["Dark", {"by": "much"}]]
    words = rf"in augmentation Dark {{'by': 'much'}} \(number 1 of INPUT.AUGMENTATIONS\), {file}\w*TypeError: "
    with pytest.raises(OwnCodeError, match=words) as caught:
        first(cfg, 1)
    lines = "".join(traceback.format_exception(caught.value)).splitlines()
    assert any("own_mappers_of_a_user.py" in line for line in lines)  # the user's own line
    cfg.INPUT.AUGMENTATIONS = []
    cfg.INPUT.MAPPER = "OddMapper"
    with pytest.raises(OwnCodeError, match=rf"in mapper OddMapper \(INPUT.MAPPER\), {file}KeyError: 'widht'"):
        first(cfg, 1)


def test_an_augmentation_that_a_mapper_adds_is_named_by_its_class(tmp_path, user_module):
    cfg = toy_config(tmp_path, "own_added_set", toy_content(4), INPUT__POSE__SIZE=48)
    mapper = PoseMapper(cfg, True, augmentations=[T.NoOpTransform(), user_module.Odd("image / 255")])
    with pytest.raises(DataError, match=r"^augmentation Odd \(number 2\) gives an image of float64 from 0"):
        first(cfg, 1, mapper=mapper)


def test_a_function_adds_fields_and_a_resumed_run_draws_the_same(tmp_path):
    cfg = toy_config(tmp_path, "own_function_set", toy_content(8), INPUT__MAPPER="noting_mapper", INPUT__POSE__SIZE=48)
    np.random.seed(3)
    whole = first(cfg, 4)
    cfg.DATALOADER.NUM_WORKERS = 2
    np.random.seed(4)
    again = next(build_train_loader(cfg, start_iter=3))
    assert len({sample["note"] for batch in whole for sample in batch}) == 16
    for a, b in zip(whole[3], again):
        assert a["note"] == b["note"] and torch.equal(a["image"], b["image"])
        assert torch.equal(b["more"]["tensor"], b["image"].float().mean(dim=(1, 2)))
        assert a["instances"].gt_boxes.tensor.equal(b["instances"].gt_boxes.tensor)


def test_detectron2s_mapper_can_be_registered(tmp_path):
    MAPPER_REGISTRY.register(DatasetMapper)
    cfg = toy_config(tmp_path, "own_stock_set", toy_content(4), INPUT__MAPPER="DatasetMapper", MODEL__KEYPOINT_ON=True)
    cfg.DATALOADER.NUM_WORKERS = 1
    (batch,) = first(cfg, 1)
    assert len(batch) == 4 and all(len(s["instances"].gt_keypoints) == 1 for s in batch)
    cfg.INPUT.POSE.SIZE, cfg.INPUT.POSE.MOSAIC_PROB = 48, 0.5
    with pytest.raises(ConfigError, match="MOSAIC_PROB is 0.5, but the mapper is no PoseMapper"):
        build_train_loader(cfg)


def test_a_mapper_that_gives_none_takes_another_image(tmp_path):
    cfg = toy_config(tmp_path, "own_none_set", toy_content(6), INPUT__POSE__SIZE=48)
    mapper = PoseMapper(cfg, True)
    some = lambda record: None if record["image_id"] % 2 else mapper(record)  # noqa: E731
    batches = first(cfg, 3, mapper=some)
    assert {sample["image_id"] for batch in batches for sample in batch} == {0, 2, 4}
    loader = build_train_loader(cfg, mapper=lambda record: None)
    with pytest.raises(Exception, match="gives None"):
        next(loader)


def test_both_loaders_take_a_mapper(tmp_path):
    cfg = toy_config(tmp_path, "own_given_set", toy_content(4), INPUT__POSE__SIZE=48)
    by_keywords = PoseMapper(is_train=True, skeleton=COCO, side=32)
    (batch,) = first(cfg, 1, mapper=by_keywords)
    assert {sample["image"].shape for sample in batch} == {(3, 32, 32)}
    loader = build_test_loader(cfg, "own_given_set", mapper=lambda record: {"id": record["image_id"]})
    assert list(loader) == [[{"id": i}] for i in range(4)]


def test_an_unknown_mapper_is_one_sentence_with_the_names(tmp_path):
    cfg = toy_config(tmp_path, "own_unknown_set", INPUT__MAPPER="PosMapper")
    with pytest.raises(ConfigError, match="INPUT.MAPPER is .*PosMapper.*choose one of .*PoseMapper.*, or register"):
        build_train_loader(cfg)


def test_detectron2s_loader_with_our_mapper(tmp_path):
    """Two sets of other joints and other rules: each record is read by the rules of its own set."""
    sets = []
    for name, content in (("own_d2_coco", toy_content(4)), ("own_d2_limbs", limbs_content(4))):
        sets.append([name, *write_set(str(tmp_path / name), content)])
    sets[1].append({"partial": True})
    cfg = make_config(DATASETS__KEYPOINT_FILES=sets, DATASETS__TRAIN=("own_d2_coco", "own_d2_limbs"))
    cfg.INPUT.POSE.SIZE, cfg.DATALOADER.ASPECT_RATIO_GROUPING = 48, False
    loader = iter(build_detection_train_loader(cfg, mapper=PoseMapper(cfg, True)))
    samples = [sample for _ in range(6) for sample in next(loader)]
    joints = {"own_d2_coco": 17, "own_d2_limbs": 3}
    for sample in samples:
        name = "own_d2_limbs" if "own_d2_limbs" in sample["file_name"] else "own_d2_coco"
        found = int((sample["instances"].gt_keypoints.tensor[0, :, 2] > 0).sum())
        assert 0 < found <= joints[name] and ("regions" in sample) == (name == "own_d2_limbs")
    assert (
        len({s["image"].numpy().tobytes() for s in samples}) > 4
    )  # of four images: flips are random without our generator


def test_arguments_stand_in_place_of_the_config():
    cfg = make_config(INPUT__POSE__SIZE=64, INPUT__AUGMENTATIONS=["RandomFlip"])
    assert len(PoseMapper(cfg, True, skeleton=COCO).augmentations) == 1
    own = PoseMapper(cfg, True, skeleton=COCO, augmentations=[T.NoOpTransform()] * 2, side=32)
    assert len(own.augmentations) == 2 and own.side == 32
    assert PoseMapper(cfg, False, skeleton=COCO).augmentations == []


def test_whatever_a_sample_holds_comes_out_of_a_worker():
    half = torch.arange(6).reshape(2, 3).to(torch.bfloat16)
    sample = {"half": half, "nested": [{"a": torch.arange(3)[::2]}], "empty": torch.zeros(0, 4), "text": "a"}
    (again,) = unpack(pack([sample]))
    assert torch.equal(again["half"], half) and again["nested"][0]["a"].tolist() == [0, 2]
    assert again["empty"].shape == (0, 4) and again["text"] == "a"
    again["nested"][0]["a"] += 1  # memory of its own
    assert sample["nested"][0]["a"].tolist() == [0, 2]
