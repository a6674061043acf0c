"""The weights that come with the package."""

import os
import runpy

import cv2
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.engine import DefaultPredictor
from detectron2.utils.file_io import PathManager
from synthetic_people.writer import make_dataset

from rle_onestage.data.coco.json_files import read_json
from rle_onestage.engine.checkpoint import read_checkpoint, slim
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import CheckpointError
from rle_onestage.evaluation import read_results, score_results
from rle_onestage.evaluation.results import instances_to_coco, write_json
from rle_onestage.predictor import Predictor
from rle_onestage.structures.skeleton import COCO
from rle_onestage.utils.cards import card_of
from rle_onestage.utils.images import read_image

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
EXAMPLES = os.path.join(ROOT, "datasets", "examples")
DEMO, SYNTHETIC_DEMO = (os.path.join(ROOT, "configs", f"{name}.yaml") for name in ("demo", "demo_synthetic"))
PEOPLE, SYNTHETIC = "rle-onestage://people.pth", "rle-onestage://people_synthetic.pth"


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    """Folder of images of another seed than those that were trained on."""
    folder = str(tmp_path_factory.mktemp("unseen"))
    make_dataset(folder, train=1, val=12, videos=0, size=320, seed=4242, workers=1, quiet=True)
    return folder


@pytest.mark.parametrize("address", [PEOPLE, SYNTHETIC])
def test_the_file_is_small_and_has_nothing_for_training(address):
    assert PathManager.isfile(address) and os.path.getsize(PathManager.get_local_path(address)) < 15e6
    content = read_checkpoint(address)
    assert set(content) == {"model", "iteration", "joints", "origin"} and content["joints"] == list(COCO.names)
    assert content["origin"] == [address]
    card = card_of(address)
    assert card.licence.startswith({PEOPLE: "For research only. ", SYNTHETIC: "Apache-2.0, as the code. "}[address])
    assert "|" not in card.licence and card.licence.endswith(("no licence.", "weights.")) and card.training_data
    assert not [key for key in content["model"] if key.startswith("criterion.")]


def test_it_finds_people_who_were_not_trained_on(unseen, tmp_path):
    predictor = Predictor(load_config(SYNTHETIC_DEMO))
    labels = os.path.join(unseen, "annotations", "person_keypoints_val.json")
    rows = []
    for image in read_json(labels)["images"]:
        people = predictor(read_image(os.path.join(unseen, "val", image["file_name"])))
        rows += instances_to_coco(people, image["id"])
    write_json(rows, str(tmp_path / "r.json"))
    assert score_results(labels, str(tmp_path / "r.json"))["keypoints"]["AP50"] > 50


def test_stored_in_half_it_finds_the_same_people(unseen, tmp_path):
    torch.save(slim(read_checkpoint(SYNTHETIC), half=True), tmp_path / "half.pth")
    assert os.path.getsize(tmp_path / "half.pth") < 0.6 * os.path.getsize(PathManager.get_local_path(SYNTHETIC))
    cfg = load_config(SYNTHETIC_DEMO)
    full, half = Predictor(cfg), Predictor(cfg, str(tmp_path / "half.pth"))
    distances = []
    for name in sorted(os.listdir(os.path.join(unseen, "val"))):
        image = read_image(os.path.join(unseen, "val", name))
        before, after = full(image), half(image)
        before = before[before.scores > 0.3]
        apart = (before.pred_keypoints[:, None, :, :2] - after.pred_keypoints[None, ..., :2]).abs()  # (N, M, K, 2)
        nearest = apart.flatten(2).mean(2).argmin(1)
        assert (after.scores[nearest] - before.scores).abs().max() < 3e-3
        distances.append(apart[torch.arange(len(before)), nearest].flatten())
    distances = torch.cat(distances)
    assert len(distances) > 500 and distances.quantile(0.99) < 0.1


def found_on(name, predictor, threshold=0.35):
    people = predictor(cv2.imread(os.path.join(EXAMPLES, name)))
    return people[people.scores > threshold]


def check_skiers(people):
    """Five stand there, one of them half behind another: four at least are found, nobody twice, heads above feet."""
    assert len(people) in (4, 5)
    nose, ankles = people.pred_keypoints[:, 0, :2], people.pred_keypoints[:, 15:, :2].mean(1)
    assert (torch.pdist(nose) > 15).all() and (ankles[:, 1] - nose[:, 1] > 100).all()


def test_the_default_weights_find_people_on_photographs():
    predictor = Predictor(load_config(DEMO))
    check_skiers(found_on("skiers.jpg", predictor))
    assert predictor.error_density.intervals is not None  # the sigmas are calibrated
    assert len(found_on("river.jpg", predictor)) >= 4  # of ten or so, who are 50 pixels tall


def test_demo_needs_no_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no config is, but one of another model with the name of ours
    (tmp_path / "demo.yaml").write_text("MODEL: {WEIGHTS: none.pth}")
    main = runpy.run_path(os.path.join(ROOT, "tools", "demo.py"))["main"]
    assert main(["--input", os.path.join(EXAMPLES, "skiers.jpg"), "--output", "out", "--json", "out.json"]) == 0
    assert os.listdir("out") == ["skiers.jpg"] and len(read_results("out.json")) >= 4


def test_stock_detectron2_finds_the_same_people_by_the_address():
    cfg = get_cfg()
    cfg.merge_from_other_cfg(load_config(DEMO))
    image = cv2.imread(os.path.join(EXAMPLES, "skiers.jpg"))
    stock, ours = DefaultPredictor(cfg)(image)["instances"], Predictor(load_config(DEMO))(image)
    assert (stock.scores > 0.35).sum() == (ours.scores > 0.35).sum() > 0
    check_skiers(stock[stock.scores > 0.35])


def test_other_names_are_refused_with_those_that_are_there():
    with pytest.raises(CheckpointError, match="people_x.pth.*people.pth, people_synthetic.pth"):
        read_checkpoint("rle-onestage://people_x.pth")
