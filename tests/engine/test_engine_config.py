"""Configs: what is read, what is refused and in which words; nothing in them runs."""

import argparse
import logging
import os
from pathlib import Path

import pytest
import torch

from rle_onestage.data.mapper import TestResize
from rle_onestage.data.transforms.augmentation import shortest_edge_size
from rle_onestage.engine import load_config, setup
from rle_onestage.engine.config.conflicts import describe_size, input_sizes, other_size, schedule_conflicts
from rle_onestage.engine.setup import seed_everything, settle_seed
from rle_onestage.engine.takeover import begin_evaluation
from rle_onestage.errors import ConfigError


def write(path, text):
    path.write_text(text)
    return str(path)


def test_file_bases_and_options_lie_on_top_of_each_other(tmp_path):
    write(tmp_path / "base.yaml", "SOLVER: {MAX_ITER: 7, BASE_LR: 1e-4, STEPS: [3, 5]}\nSEED: 1\n")
    top = write(tmp_path / "top.yaml", "_BASE_: base.yaml\nSOLVER: {MAX_ITER: 9, GAMMA: 1}\n")
    cfg = load_config(top, ["SEED", "5", "DATASETS.TEST", "('a',)", "MODEL.WEIGHTS", "", "OUTPUT_DIR", "12"])
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR, cfg.SOLVER.STEPS, cfg.SEED) == (9, 1e-4, (3, 5), 5)
    assert cfg.DATASETS.TEST == ("a",) and cfg.MODEL.WEIGHTS == "" and cfg.OUTPUT_DIR == "12"
    assert isinstance(cfg.SOLVER.GAMMA, float)
    assert cfg.is_frozen()


def test_keys_that_do_not_fit_together_are_found_where_they_stand(tmp_path, monkeypatch):
    write(tmp_path / "base.yaml", "SEED: 1\nTEST: {KEYPOINT_OKS_SIGMAS: [0.1, 0.2]}\n")
    write(tmp_path / "top.yaml", "_BASE_: base.yaml\nMODEL: {RLE_ONESTAGE: {NUM_KEYPOINTS: 3}}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_config("top.yaml")
    said = str(caught.value)
    assert said.startswith("config file top.yaml: TEST.KEYPOINT_OKS_SIGMAS has 2 ")
    place = f"{tmp_path}/base.yaml, line 2 (a base of top.yaml)"
    assert said.endswith(f"; TEST.KEYPOINT_OKS_SIGMAS is from the config file {place}")
    with pytest.raises(ConfigError, match="; MODEL.RLE_ONESTAGE.NUM_KEYPOINTS is from the options given$"):
        load_config("base.yaml", ["MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", 4])


@pytest.mark.parametrize(
    "text, words",
    [
        ("SOLVER: {MAX_ITR: 3}", ["SOLVER.MAX_ITR", "SOLVER.MAX_ITER"]),
        ("MAX_ITER: 3", ["MAX_ITER", "SOLVER.MAX_ITER"]),
        ("SOLVER: {MAX_ITER: many}", ["SOLVER.MAX_ITER", "int", "str", "many"]),
        ("SOLVER: {MAX_ITER: 3.5}", ["SOLVER.MAX_ITER", "int", "float"]),
        ("SOLVER: 3", ["SOLVER", "group"]),
        ("SOLVER: {BASE_LR: fast}", ["SOLVER.BASE_LR", "float"]),
        ("SOLVER:\n  MAX_ITER: 3\n GAMMA: 2", ["line 3", "YAML"]),
        ("- a\n- b", ["list"]),
        ("_BASE_: other.yaml", ["other.yaml", "does not exist", "_BASE_"]),
        ("_BASE_: bad.yaml", ["circle"]),
        ("_BASE_: 3", ["_BASE_"]),
        ("MODEL: {RLE_ONESTAGE: {DENSITY: rel}}", ["DENSITY", "'rel'", "rle_released"]),
        ("MODEL: {RLE_ONESTAGE: {STYLE: yolo}}", ["STYLE", "centernet"]),
        ("MODEL: {RLE_ONESTAGE: {REFINE: {STEPS: -1}}}", ["REFINE.STEPS", "-1"]),
        ("MODEL: {RLE_ONESTAGE: {NUM_KEYPOINTS: 0}}", ["NUM_KEYPOINTS"]),
        ("MODEL: {DEVICE: gpu}", ["MODEL.DEVICE", "'gpu'"]),
        ("TEST: {KEYPOINT_OKS_SIGMAS: [0.1]}", ["KEYPOINT_OKS_SIGMAS", "17"]),
        ("SOLVER: {OPTIMIZER: Adam}", ["SOLVER.OPTIMIZER", "AdamW"]),
        ("SOLVER: {STEPS: [5, 3]}", ["SOLVER.STEPS"]),
    ],
)
def test_mistakes_in_files_are_named(tmp_path, text, words):
    path = write(tmp_path / "bad.yaml", text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize(
    "options, words",
    [
        (["SEED"], ["SEED", "pairs"]),
        (["SEED", "3", "--resume"], ["--resume", "before"]),
        (["SOLVER.MAX_ITR", "3"], ["SOLVER.MAX_ITR", "SOLVER.MAX_ITER"]),
        (["SOLVER.MAX_ITER", "x"], ["SOLVER.MAX_ITER", "int"]),
        (["SOLVER", "x"], ["SOLVER", "group"]),
        (["SEED.X", "1"], ["SEED"]),
        (["DATASETS.TEST", "(a"], ["DATASETS.TEST", "no list"]),
        (["SOLVER.BASE_LR", "-1"], ["SOLVER.BASE_LR", "positive"]),
        (["DATALOADER.NUM_WORKERS", "-2"], ["DATALOADER.NUM_WORKERS"]),
    ],
)
def test_mistakes_on_the_command_line_are_named(options, words):
    with pytest.raises(ConfigError) as caught:
        load_config("", options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_missing_file_is_named():
    with pytest.raises(ConfigError, match="nowhere.yaml does not exist"):
        load_config("nowhere.yaml")


@pytest.mark.parametrize("where", ["top", "base"])
def test_yaml_never_runs_code(tmp_path, where):
    trap = tmp_path / "trap"
    evil = f"SEED: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{trap}]]\n"
    path = write(tmp_path / "evil.yaml", evil)
    if where == "base":
        path = write(tmp_path / "top.yaml", "_BASE_: evil.yaml\n")
    with pytest.raises(ConfigError, match="evil.yaml.*Python tags"):
        load_config(path)
    assert not trap.exists()


def test_device_falls_back_to_cpu(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load_config("", ["MODEL.DEVICE", "cuda"]).MODEL.DEVICE == "cpu"
    assert "CUDA is not available" in caplog.text


def arguments(tmp_path, *opts, **flags):
    given = {
        "config_file": "",
        "opts": ["OUTPUT_DIR", str(tmp_path / "out"), *opts],
        "resume": False,
        "eval_only": False,
    }
    return argparse.Namespace(**{**given, **flags})


def test_setup_draws_a_seed_once_and_writes_it_where_nobody_has(tmp_path):
    assert setup(arguments(tmp_path, "MODEL.DEVICE", "cpu")).SEED >= 0
    assert not (tmp_path / "out" / "config.yaml").exists()  # a training writes it with its first batch
    cfg = setup(arguments(tmp_path, "MODEL.DEVICE", "cpu", eval_only=True))
    assert cfg.SEED >= 0 and cfg.is_frozen()
    written = Path(cfg.OUTPUT_DIR, "config.yaml")
    assert not written.exists()  # an evaluation with its model
    begin_evaluation(cfg)
    assert load_config(str(written)).SEED == cfg.SEED
    before = written.read_text()
    begin_evaluation(setup(arguments(tmp_path, "MODEL.DEVICE", "cpu", "SEED", "1", eval_only=True)))
    assert written.read_text() == before


def test_resume_keeps_the_seed_of_the_checkpoint(tmp_path):
    torch.save({"model": {"w": torch.zeros(1)}, "seed": 77}, tmp_path / "model_0000001.pth")
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    cfg = load_config("", ["OUTPUT_DIR", str(tmp_path)])
    assert settle_seed(cfg, resume=True).SEED == 77


def test_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigError, match="OUTPUT_DIR"):
        setup(arguments(tmp_path))


def test_seeding_depends_on_every_number():
    drawn = []
    for entropy in ((1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0), (1, 0, 0)):
        seed_everything(*entropy)
        drawn.append(float(torch.rand(())))
    assert len(set(drawn[:4])) == 4 and drawn[0] == drawn[4]


SIZES = ["INPUT.MIN_SIZE_TEST", "INPUT.MAX_SIZE_TEST"]


def test_size_at_test_that_was_left_open_is_that_of_training(caplog):
    """Runs of before, which named one size only, keep their figures; with stock tools too, which know the two keys."""
    cfg = load_config("", ["INPUT.POSE.SIZE", "320"])
    assert (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST) == (320, 320)
    assert "tested at INPUT.POSE.SIZE, 320" in caplog.text


@pytest.mark.parametrize("sizes", [("448", "448"), ("448", "640"), ("800", "1333")])
def test_size_at_test_that_was_given_is_the_size_at_test(caplog, sizes):
    """Whatever the canvas of training, and with a word about the difference."""
    shortest, longest = map(int, sizes)
    caplog.set_level(logging.INFO, "rle_onestage")
    cfg = load_config("", ["INPUT.POSE.SIZE", "320", SIZES[0], sizes[0], SIZES[1], sizes[1]])
    assert (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST) == (shortest, longest)
    size = TestResize(cfg).transform(240, 320)
    assert (size.height, size.width) == shortest_edge_size(240, 320, shortest, longest) != (240, 320)
    assert f"{longest} px" in caplog.text and "canvas of 320 px" in caplog.text


def test_one_size_for_both_needs_no_word(caplog):
    cfg = load_config("", ["MODEL.DEVICE", "cpu", "INPUT.POSE.SIZE", "320", SIZES[0], "320", SIZES[1], "320"])
    assert not caplog.text
    assert input_sizes(cfg) == {"train": {"canvas": 320}, "test": {"shortest": 320, "longest": 320}}
    assert describe_size(input_sizes(cfg)["test"]) == "a longest side of 320 px"
    stock = input_sizes(load_config("", ["INPUT.MIN_SIZE_TRAIN", "(640, 800)"]))
    assert describe_size(stock["train"]) == "a shortest side of 640 to 800 px and a longest of at most 1333 px"


REFINE, CENTERNET = "MODEL.RLE_ONESTAGE.REFINE.", ["MODEL.RLE_ONESTAGE.STYLE", "centernet"]
CENTERNET += ["MODEL.RLE_ONESTAGE.IN_FEATURES", "['p2']"]


@pytest.mark.parametrize(
    "options, key",
    [
        ([SIZES[0], "448", SIZES[1], "256"], SIZES[0]),
        (["INPUT.POSE.SIZE", "64", "INPUT.MIN_SIZE_TRAIN", "(64,)"], "INPUT.MIN_SIZE_TRAIN"),
        (["INPUT.POSE.ROTATE", "15"], "INPUT.POSE.ROTATE"),
        (["INPUT.RANDOM_FLIP", "none", "INPUT.POSE.FLIP_PROB", "0.3"], "INPUT.POSE.FLIP_PROB"),
        (["DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler"], "DATALOADER.SAMPLER_TRAIN"),
        ([f"{REFINE}STEPS", "2", f"{REFINE}TEST_STEPS", "1"], f"{REFINE}TEST_STEPS 1"),
        ([*CENTERNET, "MODEL.RLE_ONESTAGE.TEST.BOX_NMS", "0.5"], "TEST.BOX_NMS"),
        (["MODEL.RLE_ONESTAGE.DENSITY", "laplace", "MODEL.RLE_ONESTAGE.PRESET", "gaussian"], "PRESET gaussian"),
        (["SOLVER.BASE_LR_END", "0.001"], "SOLVER.BASE_LR_END"),
        (["TEST.BEST_METRIC", "keypoints/AP", "DATASETS.TEST", "()"], "TEST.BEST_METRIC"),
        (["TEST.BEST_METRIC", "keypoints/AP", "DATASETS.TEST", "('a',)"], "TEST.BEST_METRIC"),
    ],
)
def test_a_key_without_effect_is_said(caplog, options, key):
    load_config("", ["MODEL.META_ARCHITECTURE", "RLEOneStage", *options])
    said = [line for line in caplog.messages if "no effect" in line]
    assert len(said) == 1 and key in said[0]


def test_long_keys_do_not_fill_the_memory(tmp_path):
    """The names of the groups are kept with each key in them."""
    path = tmp_path / "a.yaml"
    path.write_text("? " + "k" * 1000 + "\n:\n" + "".join(f"  a{number}: 1\n" for number in range(5)))
    with pytest.raises(ConfigError, match="a.yaml, line 1: the key 'kkkk.* has more than 100 characters"):
        load_config(str(path))


@pytest.mark.parametrize(
    "density, steps, said",
    [("rle", 100, True), ("rle", 101, False), ("laplace", 100, False), ("student", 100, True), ("student", 101, False)],
)
def test_a_flow_that_would_not_be_trained_is_said(density, steps, said):
    prefix = "MODEL.RLE_ONESTAGE."
    options = [prefix + "FLOW.WARMUP_ITERS", 100, "SOLVER.MAX_ITER", steps, prefix + "DENSITY", density]
    cfg = load_config("", ["MODEL.META_ARCHITECTURE", "RLEOneStage", "DATASETS.TRAIN", ("a",), *options])
    what = "degrees of freedom are" if density == "student" else "flow is"
    assert any(f"the {what} not trained" in sentence for sentence in schedule_conflicts(cfg)) == said


def test_a_name_under_a_locale_without_utf8_is_no_damage():
    with pytest.raises(ConfigError, match="set PYTHONUTF8=1 or a UTF-8 locale"):
        load_config("", ["OUTPUT_DIR", os.fsencode("é").decode("ascii", "surrogateescape")])
    with pytest.raises(ConfigError, match="bytes that are no text"):
        load_config("", ["OUTPUT_DIR", b"\xff".decode("ascii", "surrogateescape")])


@pytest.mark.parametrize("canvas, other", [(240, True), (250, False), (416, False), (448, True)])
def test_a_size_at_test_that_is_clearly_another_is_told(canvas, other):
    cfg = load_config("", ["INPUT.POSE.SIZE", str(canvas), "INPUT.MIN_SIZE_TEST", "320", "INPUT.MAX_SIZE_TEST", "320"])
    words = f"tested at a longest side of 320 px, but the config trains at a canvas of {canvas} px"
    assert (words in other_size(input_sizes(cfg))) == other
    own = {**input_sizes(cfg), "test": {"shortest": 0, "longest": 9999}}  # the images' own sizes
    assert not other_size(own)
