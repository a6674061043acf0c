"""Lists and names on the command line: what is taken for a list, and what is said of the rest."""

import pytest

from rle_onestage.data.datasets import get_metadata
from rle_onestage.engine import load_config
from rle_onestage.errors import ConfigError


@pytest.mark.parametrize(
    "word", ["('a', 'b')", '["a", "b"]', "[a, b]", "a,b", "a, b", "(a,b)", "('a','b',)", "'a','b'", "[a, b,]"]
)
def test_lists_of_names_in_any_reasonable_form(word):
    assert load_config("", ["DATASETS.TRAIN", word]).DATASETS.TRAIN == ("a", "b")


@pytest.mark.parametrize("word", ["a", "'a'", "('a')", "[a]", "(a)"])
def test_one_name_is_a_list_of_one(word):
    assert load_config("", ["DATASETS.TRAIN", word]).DATASETS.TRAIN == ("a",)


@pytest.mark.parametrize(
    "key, word, expected",
    [
        ("DATASETS.TEST", "", ()),
        ("DATASETS.TEST", "[]", ()),
        ("SOLVER.STEPS", "3,5", (3, 5)),
        ("SOLVER.STEPS", "3", (3,)),
        ("INPUT.AUGMENTATIONS", "RandomFlip", ["RandomFlip"]),
        ("DATASETS.TEST", "2017", ("2017",)),
        ("DATASETS.TEST", "2017, yes", ("2017", "yes")),
        ("DATASETS.TEST", "(2016,2017)", ("2016", "2017")),
        ("DATASETS.KEYPOINT_FILES", "[a, b, c], [d, e, f]", [["a", "b", "c"], ["d", "e", "f"]]),
        ("INPUT.AUGMENTATIONS", "[[RandomFlip, {prob: 0.5}]]", [["RandomFlip", {"prob": 0.5}]]),
        ("DATASETS.KEYPOINT_FILES", "[[a, b/c.json, http://d]]", [["a", "b/c.json", "http://d"]]),
        ("TEST.EXPECTED_RESULTS", "[[keypoints, AP, 38.5, 0.2]]", [["keypoints", "AP", 38.5, 0.2]]),
    ],
)
def test_lists_of_other_things(key, word, expected):
    node = load_config("", [key, word])
    for part in key.split("."):
        node = node[part]
    assert node == expected


@pytest.mark.parametrize("word", ["['a'", "('a', 'b'", "a']", "'a,b", "[a, b", "{a: b", "*a", "a],[b"])
def test_what_is_no_list_is_told_the_form(word):
    with pytest.raises(ConfigError, match="DATASETS.TRAIN is .*no list; write DATASETS.TRAIN a,b or DATASETS.TRAIN"):
        load_config("", ["DATASETS.TRAIN", word])


def test_other_mistakes_with_lists_are_told_the_form_too(tmp_path):
    with pytest.raises(ConfigError, match="the last one, 'b', has no partner; a list is one word, such as a,b"):
        load_config("", ["DATASETS.TRAIN", "a", "b"])
    for words in (["SEED", "1", "MODEL.WEIGHTS=a=b"], ["MODEL.WEIGHTS=a=b", "SEED=1"]):
        with pytest.raises(ConfigError, match="is one word; write the key and its value apart: MODEL.WEIGHTS a=b"):
            load_config("", words)
    for words in (["own.yaml"], ["own.yaml", "SEED", "1"], ["SEED", "1", "own.yml"]):
        with pytest.raises(ConfigError, match=r"own.ya?ml stands where a key is due; did you mean --config-file own"):
            load_config("", words)
    (tmp_path / "c.yaml").write_text("DATASETS: {TRAIN: a}")
    with pytest.raises(ConfigError, match=r"c.yaml, line 1: DATASETS.TRAIN must be .*, such as \['a'\]$"):
        load_config(str(tmp_path / "c.yaml"))
    with pytest.raises(ConfigError, match="into a list of their own, as in .*RandomRotation"):
        load_config("", ["INPUT.AUGMENTATIONS", "[RandomFlip, {prob: 0.5}]"])
    with pytest.raises(ConfigError, match="TRAIN must be of type list or tuple, got dict"):
        load_config("", ["DATASETS.TRAIN", "{'a': 1}"])


def test_text_stays_text():
    assert load_config("", ["OUTPUT_DIR", "a,b"]).OUTPUT_DIR == "a,b"


def test_a_mistyped_set_is_named():
    with pytest.raises(
        ConfigError, match="'keypoints_coco_2017_vla'; did you mean keypoints_coco_2017_val[?] Else add it"
    ):
        get_metadata("keypoints_coco_2017_vla")


def test_a_mistyped_choice_is_named():
    with pytest.raises(ConfigError, match="did you mean laplace[?] choose one of"):
        load_config("", ["MODEL.RLE_ONESTAGE.DENSITY", "laplce"])
    with pytest.raises(ConfigError, match="did you mean AdamW[?] choose one of"):
        load_config("", ["SOLVER.OPTIMIZER", "adamw"])
