"""What is wrong with data sets is said before a model is built, and what a schedule never comes to at its start."""

import json
import re

import engine_toy
import pytest
from engine_toy import REAL

from rle_onestage.cli.train import train
from rle_onestage.data import MAPPER_REGISTRY, PoseMapper, build_train_loader
from rle_onestage.data.image_presence import missing_files
from rle_onestage.data.lookup import check_sets
from rle_onestage.engine import Trainer, argument_parser, load_config
from rle_onestage.engine.config.conflicts import schedule_conflicts
from rle_onestage.errors import DataError


@pytest.fixture
def config(tmp_path):
    """The toy's config with a test set of its own, whose file is ``test/people.json``."""
    path = engine_toy.write_config(tmp_path)
    people = engine_toy.make_data(tmp_path / "test", images=2)
    content = json.loads(path.read_text())
    content["DATASETS"]["KEYPOINT_FILES"].append(["toy_early", str(people), str(people.parent / "images")])
    content["DATASETS"]["TEST"] = ["toy_early"]
    path.write_text(json.dumps(content))
    return path


def nan(content):
    content["annotations"][1]["keypoints"][4] = float("nan")


def twice(content):
    content["annotations"][1]["id"] = 1


def images_twice(content):
    content["images"][1]["id"] = 1


def fourth_joint(content):
    content["categories"][0]["keypoints"].append("tail")
    for annotation in content["annotations"]:
        annotation["keypoints"] += [0, 0, 0]


def mirrored(content):
    content["categories"][0]["keypoints"] = ["nose", "right_hand", "left_hand"]


ANYWHERE = [
    (nan, "people.json: annotation 2 has NaN or infinity in `keypoints`, joint 'left_hand'; correct it, or write 0, 0"),
    (twice, "has the annotation id 1 twice"),
    (images_twice, "has the image id 1 twice"),
]
WRONG = [("data", *kind) for kind in ANYWHERE] + [("test", *kind) for kind in ANYWHERE]
WRONG += [
    ("test", fourth_joint, "the test set 'toy_early' has the joints nose, left_hand, right_hand, tail, but"),
    ("test", mirrored, "the test set 'toy_early' has the joints nose, right_hand, left_hand, but"),
]


def refusal(config, monkeypatch):
    """What a training says that builds no model."""
    monkeypatch.setattr(Trainer, "build_model", lambda *_: pytest.fail("the model was built"))
    with pytest.raises(DataError) as caught:
        train(argument_parser().parse_args(["--config-file", str(config)]))
    return str(caught.value)


@pytest.mark.parametrize("folder, spoil, words", WRONG, ids=[f"{kind[0]}-{kind[1].__name__}" for kind in WRONG])
def test_labels_are_looked_at_before_a_model_is_built(config, tmp_path, monkeypatch, folder, spoil, words):
    path = tmp_path / folder / "people.json"
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    assert words in refusal(config, monkeypatch)


def test_the_number_of_joints_is_compared_before_a_model_is_built(config, monkeypatch):
    content = json.loads(config.read_text())
    content["MODEL"]["RLE_ONESTAGE"]["NUM_KEYPOINTS"] = 4
    config.write_text(json.dumps({**content, "TEST": {}}))
    assert "people.json has 3 joints but the config expects 4; set MODEL" in refusal(config, monkeypatch)


@pytest.mark.parametrize("folder", ["data", "test"])
def test_image_folders_are_looked_for_before_anything_is_made(config, tmp_path, monkeypatch, folder):
    (tmp_path / folder / "images").rename(tmp_path / "away")
    assert f"there is no image folder {tmp_path / folder / 'images'}; put" in refusal(config, monkeypatch)
    assert not (tmp_path / "out").exists()
    check_sets(load_config(str(config)), [], needed=["toy_people", "toy_early"])  # of those who need no images


def test_a_loader_that_was_made_first_is_the_one_that_trains(config, monkeypatch):
    made, build = [], Trainer.build_train_loader
    monkeypatch.setattr(Trainer, "build_train_loader", lambda _, cfg: made.append(build(cfg)) or made[-1])
    cfg = load_config(str(config), ["DATASETS.TEST", "()", "SOLVER.MAX_ITER", "2"])
    trainer = Trainer(cfg, data_first=True)
    assert len(made) == 1
    trainer.train()
    assert len(made) == 1 and made[0]._batches is not None


@pytest.mark.parametrize(
    "options, words",
    [
        ("WARMUP_ITERS 8", "WARMUP_ITERS 8 is not below SOLVER.MAX_ITER 8: the learning rate rises to the end"),
        ("WARMUP_ITERS 9 SOLVER.WARMUP_METHOD constant", "stays at WARMUP_FACTOR 0.001 of SOLVER.BASE_LR 0.05"),
        ("WARMUP_ITERS 8 SOLVER.WARMUP_FACTOR 1.0", ""),
        ("WARMUP_ITERS 7", ""),
        # 1 - 0.9998 (1 - exp(-8 / 16)) = 0.607
        ("EMA.WARMUP 16", "EMA.WARMUP 16 is not below SOLVER.MAX_ITER 8: the average, which is evaluated and saved, is "
                          "one of about the last 1.6 iterations"),
        ("EMA.WARMUP 16 SOLVER.EMA.ENABLED False", ""),
        ("LR_SCHEDULER_NAME WarmupMultiStepLR SOLVER.STEPS 8,9", "STEPS [8, 9] is not below SOLVER.MAX_ITER 8: the"),
        ("LR_SCHEDULER_NAME WarmupMultiStepLR SOLVER.STEPS 7,9", ""),
        ("LR_SCHEDULER_NAME WarmupMultiStepLR SOLVER.STEPS []", ""),
    ],
)  # fmt: skip
def test_a_schedule_beyond_the_training_is_said(config, options, words):
    cfg = load_config(str(config), f"SOLVER.{options}".split())
    said = list(schedule_conflicts(cfg))
    assert len(said) == bool(words) and words in "".join(said)


def test_test_images_that_are_missing_are_said_before_the_training(config, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "run_step", lambda _: pytest.fail("the training began"))
    images = tmp_path / "test" / "images"
    (images / "002.png").unlink()
    words = rf"^1 of 2 images of the test set 'toy_early' are missing, the first is {images}/002.png; put them there, "
    with pytest.raises(DataError, match=words):
        train(argument_parser().parse_args(["--config-file", str(config)]))
    assert not (tmp_path / "out" / "config.yaml").exists()
    (images / "001.png").unlink()
    with pytest.raises(DataError, match=rf"^2 of 2 images .* {images}/001.png"):
        Trainer(load_config(str(config))).train()


def test_training_images_that_are_missing_are_said_before_the_training(config, tmp_path, monkeypatch, caplog):
    """All of them are counted. So many as may be unreadable are a warning, as nothing else comes of them."""
    images = tmp_path / "data" / "images"
    for number in (2, 3, 5, 8):
        (images / f"00{number}.png").unlink()
    names = f"{images}/002.png, {images}/003.png, {images}/005.png and 1 more"
    build_train_loader(load_config(str(config), ["INPUT.POSE.MAX_UNREADABLE", "0.5"]))
    assert f"4 of 8 training images are missing: {names}; INPUT.POSE.MAX_UNREADABLE (0.5) allows it" in caplog.text
    build_train_loader(load_config(str(config)), mapper=lambda record: record)  # which may read something else
    said = refusal(config, monkeypatch)
    assert said.startswith(f"4 of 8 training images are missing: {names}; put them there, take them out of")


class Elsewhere(Trainer):
    @classmethod
    def build_test_loader(cls, cfg, name):
        raise NotImplementedError


class OwnReader(PoseMapper):
    def __call__(self, record, rng=None, others=()):
        return super().__call__(record, rng, others)


@pytest.mark.parametrize("way", ["no evaluation", "a loader of one's own", "a mapper of one's own"])
def test_test_images_that_are_not_read_in_our_way_are_not_looked_for(config, tmp_path, monkeypatch, way):
    (tmp_path / "test" / "images" / "002.png").unlink()
    options = ["DATASETS.TEST", "()"] if way == "no evaluation" else []
    if way == "a mapper of one's own":
        monkeypatch.setattr(MAPPER_REGISTRY, "_obj_map", {**MAPPER_REGISTRY._obj_map, "OwnReader": OwnReader})
        options = ["INPUT.MAPPER", "OwnReader"]
    kind = Elsewhere if way == "a loader of one's own" else Trainer
    began = []
    monkeypatch.setattr(kind, "run_step", lambda _: began.append(1) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        kind(load_config(str(config), options)).train()
    assert began


def test_missing_files_are_told_from_those_that_are_there(tmp_path):
    (tmp_path / "a b").mkdir()
    for name in ("a b/1.png", "2.png"):
        (tmp_path / name).touch()
    (tmp_path / "3.png").symlink_to("2.png")
    (tmp_path / "4.png").symlink_to("1.png")
    there = [str(tmp_path / name) for name in ("a b/1.png", "2.png", "3.png", "a b/../2.png")]
    gone = [str(tmp_path / name) for name in ("1.png", "a b/2.png", "c/2.png", "2.pn", "4.png")]
    assert missing_files([*gone, *there, "https://example.org/a.png"]) == gone


@pytest.mark.parametrize("length", [2, 8, 40, 1000])
def test_the_values_that_are_said_of_a_schedule_end_it(config, length):
    options = f"SOLVER.MAX_ITER {length} SOLVER.WARMUP_ITERS 1000 SOLVER.EMA.WARMUP 1000 SOLVER.STEPS 1000,2000"
    options = [*REAL, *f"{options} SOLVER.LR_SCHEDULER_NAME WarmupMultiStepLR".split()]
    options += ["MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "1000"]
    said = list(schedule_conflicts(load_config(str(config), options)))
    assert len(said) == 4
    for sentence in said:
        key, value = re.match(r"(\S+) .*; set (?:it|them) to (.*)$", sentence).groups()
        options += [key, value]
    assert not list(schedule_conflicts(load_config(str(config), options)))


def test_the_warm_up_is_said_when_a_training_starts(config, caplog):
    Trainer(load_config(str(config), ["DATASETS.TEST", "()", "SOLVER.MAX_ITER", "2"])).train()
    assert "SOLVER.WARMUP_ITERS 2 is not below SOLVER.MAX_ITER 2" in caplog.text
