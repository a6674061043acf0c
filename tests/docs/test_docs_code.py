"""The documentation's Python runs as it stands, its configs load, and its example of a label file is one."""

import functools
import importlib.util
import itertools
import json
import logging
import re
import shutil
import sys

import cv2
import numpy as np
import pytest
import torch
import yaml
from calibration_toys import laplace_density
from detectron2.config.defaults import _C
from detectron2.modeling import build_model
from doc_pages import ROOT, blocks, pages
from exported_people import exported, exported_openvino
from interop_people import fiftyone_stand_in

from rle_onestage import Predictor, Trainer, load_config, model_zoo
from rle_onestage.data import load_coco_keypoints
from rle_onestage.data.mapper import build_mapper
from rle_onestage.data.yolo.description import read_description
from rle_onestage.data.yolo.reading import read_categories
from rle_onestage.evaluation.joint_factors import joint_factors
from rle_onestage.structures.skeleton import COCO, find_flip_pairs, skeleton_from_category
from rle_onestage.utils.packaged_files import CHECKPOINTS
from rle_onestage.video.io import VideoReader, VideoWriter

PYTHON = [page for page in pages() if blocks(page, "python")]
YAML = [
    pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")
    for page in pages()
    for number, text in enumerate(blocks(page, "yaml"))
]
SMALL = ["INPUT.MIN_SIZE_TEST", 96, "INPUT.MAX_SIZE_TEST", 96]
# The quick start's model at a hundredth of its cost.
TINY = """
_BASE_: configs/quickstart.yaml
DATASETS:
  KEYPOINT_FILES: [[docs_toy, {folder}/toy.json, {folder}]]
  TRAIN: ["docs_toy"]
  TEST: ["docs_toy"]
INPUT: {{MIN_SIZE_TEST: 64, MAX_SIZE_TEST: 64, POSE: {{SIZE: 64}}}}
MODEL: {{RLE_ONESTAGE: {{HEAD: {{CHANNELS: 8, EMBEDDING: 8}}, REFINE: {{CHANNELS: 8}}, TIMM: {{FPN_CHANNELS: 8}}}}}}
SOLVER: {{IMS_PER_BATCH: 2, MAX_ITER: 2, EMA: {{WARMUP: 1}}}}
OUTPUT_DIR: {folder}/run
"""


def label_file(images):
    """COCO's format: one person of COCO's joints in each of these images of 128 x 96 pixels."""
    category = {"id": 1, "name": "person", "keypoints": list(COCO.names), "skeleton": []}
    joints = [value for joint in range(17) for value in (20 + 5 * joint, 20 + 3 * joint, 2)]
    person = {"category_id": 1, "bbox": [10, 10, 100, 80], "area": 4000, "iscrowd": 0, "keypoints": joints}
    person["num_keypoints"] = 17  # pycocotools asks for it
    return {
        "images": [{"id": n, "file_name": name, "width": 128, "height": 96} for n, name in enumerate(images)],
        "annotations": [{"id": n + 1, "image_id": n, **person} for n in range(len(images))],
        "categories": [category],
    }


@pytest.fixture
def loggers():
    """What a page does to loggers is undone: its handlers write to the output that a test captures."""
    there = [logging.getLogger(name) for name in ("rle_onestage", "detectron2")]
    before = [(list(each.handlers), each.propagate, each.level) for each in there]
    yield
    for each, (handlers, propagate, level) in zip(there, before):
        each.handlers[:], each.propagate, each.level = handlers, propagate, level


@pytest.fixture
def workplace(tmp_path, monkeypatch, loggers):
    """A folder with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    for name in ("a.jpg", "b.jpg"):
        cv2.imwrite(name, noise)
    with VideoWriter("clip.mp4", 25.0) as video:
        for shade in range(4):
            video.write(np.full((120, 160, 3), 60 * shade, np.uint8))
    person = {"image_id": 0, "frame": 0, "time": 0.0, "track_id": 3, "category_id": 1, "score": 0.9, "predicted": False}
    person |= {"bbox": [0, 0, 9, 9], "keypoints": [1.0] * 51, "keypoint_sigmas": [1.0] * 34}
    (tmp_path / "clip.jsonl").write_text(json.dumps(person) + "\n")
    (tmp_path / "people.json").write_text(json.dumps([{**person, "file_name": "a.jpg"}]))
    (tmp_path / "people_joints.json").write_text(json.dumps(joint_factors(COCO, laplace_density(17))))
    toy = [["docs_toy", str(tmp_path / "toy.json"), str(tmp_path)]]
    sets = ["DATASETS.KEYPOINT_FILES", str(toy), "DATASETS.TRAIN", "('docs_toy',)", "DATASETS.TEST", "('docs_toy',)"]
    cfg = load_config("configs/demo_synthetic.yaml", [*sets, *SMALL])
    for run in (tmp_path / "output" / "quickstart", tmp_path / "output" / "own"):
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(cfg.dump())
        shutil.copy(CHECKPOINTS / "people_synthetic.pth", run / "model_final.pth")
    (tmp_path / "toy.json").write_text(json.dumps(label_file(["a.jpg", "b.jpg"])))
    (tmp_path / "my.yaml").write_text(TINY.format(folder=tmp_path))
    return tmp_path


def make_space_run(folder):
    """A run of a model with depth, as the page on three dimensions has it."""
    config = folder / "output" / "quickstart" / "config.yaml"
    cfg = load_config(str(config), ["MODEL.RLE_ONESTAGE.DEPTH.ENABLED", "True"])
    model = build_model(cfg)
    model.head.depth.taught.fill_(1)
    (folder / "output" / "space").mkdir()
    (folder / "output" / "space" / "config.yaml").write_text(cfg.dump())
    torch.save({"model": model.state_dict()}, folder / "output" / "space" / "model_final.pth")


def make_top_down_run(folder):
    """A run of a model that needs boxes, as the page on two stages has it, but small."""
    name = ROOT / "projects" / "loss_comparison" / "configs" / "topdown_rle_synthetic.yaml"
    cfg = load_config(str(name), ["MODEL.DEVICE", "cpu"])
    run = folder / "output" / "coco_topdown_R50_256x192_rle"
    run.mkdir()
    (run / "config.yaml").write_text(cfg.dump())
    torch.save({"model": build_model(cfg).state_dict()}, run / "model_final.pth")


@functools.cache
def small_predictor(name):
    """A model of the zoo on small images."""
    return Predictor(load_config(model_zoo.get_config_file(name), SMALL))


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_python(page, workplace, monkeypatch, capsys):
    if page.name != "model_zoo.md":
        monkeypatch.setattr(model_zoo, "get_predictor", small_predictor)
    if page.name == "three_dimensions.md":
        make_space_run(workplace)
    if page.name == "two_stage.md":
        make_top_down_run(workplace)
    if page.name in ("deploy.md", "export.md"):
        shutil.copy(exported(), workplace / "people.onnx")
        for ending in (".xml", ".bin") if page.name == "deploy.md" else ():
            shutil.copy(exported_openvino().with_suffix(ending), workplace)
    names = {"__name__": "page"}
    for block in blocks(page, "python"):
        if block.startswith("# my_parts.py"):  # of a module; see below
            continue
        if "import supervision" in block:
            pytest.importorskip("supervision", reason="the extra supervision is not installed")
        if "import duckdb" in block or "rle_onestage.scale" in block:
            pytest.importorskip("duckdb", reason="no part of the set-up")
            pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
        if "import fiftyone" in block and importlib.util.find_spec("fiftyone") is None:  # no part of the set-up
            monkeypatch.setitem(sys.modules, "fiftyone", fiftyone_stand_in())
        exec(compile(block, str(page), "exec"), names)
        if "PoseTracker" in block and page.name == "video.md":
            lines = capsys.readouterr().out.splitlines()
            assert len(lines) == 4 and lines[1].startswith("0.04 ") and "[0, 17, 3]" in lines[1]


def test_the_recipe_of_the_stock_trainer_tells_and_leaves_its_config(workplace, capfd):
    (recipe,) = [block for block in blocks(ROOT / "docs" / "training.md", "python") if "DefaultTrainer" in block]
    exec(compile(recipe, "training.md", "exec"), {"__name__": "page"})
    told = " ".join([*capfd.readouterr(), (workplace / "run" / "log.txt").read_text()])
    # The table of metrics, which no other logger has; another test may have shortened the name.
    assert "rle_onestage.evaluation" in told or "rle.evaluation" in told
    given = load_config("my.yaml", ["SOLVER.AMP.ENABLED", False])
    assert yaml.safe_load((workplace / "run" / "config.yaml").read_text()) == yaml.safe_load(given.dump())


def test_supervision_draws_people_by_the_page(workplace, monkeypatch):
    """The page's code on real people: joints in the image, and identities and traces in every frame of the clip."""
    pytest.importorskip("supervision", reason="the extra supervision is not installed")
    examples = ROOT / "datasets" / "examples"
    shutil.copy(examples / "office.jpg", "a.jpg")
    with VideoReader(str(examples / "handover.mp4")) as video, VideoWriter("clip.mp4", video.fps) as shorter:
        for frame in itertools.islice(video, 5):
            shorter.write(frame.image)
    size = ["INPUT.MIN_SIZE_TEST", 224, "INPUT.MAX_SIZE_TEST", 224]
    larger = Predictor(load_config(model_zoo.get_config_file("people"), size))
    monkeypatch.setattr(model_zoo, "get_predictor", lambda name: larger)
    names = {"__name__": "page"}
    for block in blocks(ROOT / "docs" / "interop.md", "python"):
        if "fiftyone" not in block:
            exec(compile(block, "interop.md", "exec"), names)
    before, after = (cv2.imread(name).astype(int) for name in ("a.jpg", "a_people.jpg"))
    assert (np.abs(before - after).max(-1) > 100).sum() > 200
    with VideoReader("clip_people.mp4") as video:
        frames = sum(1 for _ in video)
    assert frames == 5 and {1, 2} <= set(names["boxes"].tracker_id.tolist())


def my_parts():
    """The module and the config that the page on extending builds up."""
    page = ROOT / "docs" / "extending.md"
    module = "\n".join(block for block in blocks(page, "python") if block.startswith("# my_parts.py"))
    (config,) = [block for block in blocks(page, "yaml") if block.startswith("# my_parts.yaml")]
    return module, config


@pytest.fixture
def forgotten():
    """What a module registers in a test is not known after it."""
    names = re.findall(r"`([\w.]+)\.(\w+_REGISTRY)`", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"))
    assert len(names) == 9
    registries = [getattr(importlib.import_module(module), name) for module, name in names]
    before = [dict(registry._obj_map) for registry in registries]
    yield
    for registry, known in zip(registries, before):
        registry._obj_map.clear()
        registry._obj_map.update(known)
    _C.pop("MY", None)
    sys.modules.pop("my_parts", None)


def test_parts_of_a_module_train_by_config_alone(workplace, monkeypatch, forgotten):
    module, config = my_parts()
    (workplace / "my_parts.py").write_text(module)
    (workplace / "my_parts.yaml").write_text(config.replace("configs/quickstart.yaml", "my.yaml").replace("100", "1"))
    monkeypatch.syspath_prepend(workplace)
    cfg = load_config("my_parts.yaml")
    assert cfg.MY.TEMPERATURE == 1.0
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    model = trainer.model
    parts = [type(part).__name__ for part in (model.criterion.density, model.backbone, model.head)]
    assert parts == ["StudentT", "FewConvs", "WideningHead"]
    assert type(build_mapper(cfg, False)).__name__ == "SometimesGrey"
    assert "mean" in trainer.train()["people"]
    lines = (workplace / "run" / "training.jsonl").read_text().splitlines()
    assert "seconds" in json.loads(lines[0])


@pytest.mark.parametrize("text", YAML)
def test_config(text, tmp_path):
    if "IMPORTS" in text or "kpt_names" in text:  # see above and below
        return
    base = "" if "_BASE_" in text else "_BASE_: configs/quickstart.yaml\n"
    for own in (
        block for block in blocks(ROOT / "docs" / "own_joints.md", "yaml") if block.startswith("# own.yaml")
    ):  # which another one is based on
        (tmp_path / "own.yaml").write_text(own)
    (tmp_path / "my.yaml").write_text(base + text)
    load_config(str(tmp_path / "my.yaml"))


def test_the_data_yaml_of_the_page_names_its_joints(tmp_path):
    (text,) = [block for block in blocks(ROOT / "docs" / "datasets.md", "yaml") if "kpt_names" in block]
    (tmp_path / "data.yaml").write_text(text)
    (category,) = read_categories(str(tmp_path / "data.yaml"))
    skeleton = skeleton_from_category(category)
    assert skeleton.names[0] == "left_paw" and skeleton.flip_pairs == find_flip_pairs(skeleton.names) != ()
    assert set(read_description(str(tmp_path / "data.yaml")).splits) == {"train", "val"}


def test_the_sizes_on_the_page_are_those_of_the_configs(tmp_path):
    """Also what it says for scenes of many people: the augmentation and sizes of people.yaml."""
    text = (ROOT / "docs" / "own_joints.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(configs/[^`]*)`.* \| (\d+) \| (\d+) \|$", text, re.M)
    assert len(rows) == 4
    for path, canvas, longest in rows:
        given = load_config(path).INPUT
        assert (given.POSE.SIZE, given.MIN_SIZE_TEST, given.MAX_SIZE_TEST) == (int(canvas), int(longest), int(longest))
    own, block = [
        block for block in blocks(ROOT / "docs" / "own_joints.md", "yaml") if block.startswith(("# own", "# scenes"))
    ]
    (tmp_path / "own.yaml").write_text(own)
    (tmp_path / "scenes.yaml").write_text(block.replace("# COPY_PASTE", "COPY_PASTE"))
    many, people = load_config(str(tmp_path / "scenes.yaml")), load_config("configs/people/people.yaml")
    assert many.INPUT == people.INPUT and many.MODEL.RLE_ONESTAGE.TEST == people.MODEL.RLE_ONESTAGE.TEST


def test_the_example_of_labels_in_space(tmp_path):
    (text,) = blocks(ROOT / "docs" / "three_dimensions.md", "json")
    (tmp_path / "labels.json").write_text(text)
    (record,), problems = load_coco_keypoints(str(tmp_path / "labels.json"), str(tmp_path))
    assert record["camera"].focal == (145.4, 145.4)
    assert record["annotations"][0]["pixel_size"] == pytest.approx(2100.45 / 145.4)
    assert not [reason for reason in problems.counts() if "without area" not in reason]


def test_the_example_of_a_label_file(tmp_path):
    (text,) = blocks(ROOT / "docs" / "own_joints.md", "json")
    (tmp_path / "labels.json").write_text(text)
    (record,), _ = load_coco_keypoints(str(tmp_path / "labels.json"), str(tmp_path))
    (person,) = record["annotations"]
    assert len(person["keypoints"]) == 15 and person["bbox"] == [210, 60, 180, 390]
