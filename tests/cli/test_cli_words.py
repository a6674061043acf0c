"""Words of a command line: what was meant, where options may stand, and what is looked at before anything is loaded."""

import sys

import cv2
import numpy as np
import pytest

from rle_onestage import cli
from rle_onestage.cli import calibrate, demo, label_errors, label_images, train, visualize_data, worst_images
from rle_onestage.cli.checks import check_words
from rle_onestage.cli.options import add_options, parse_options, read_config
from rle_onestage.errors import CheckpointError
from rle_onestage.labelling import LabelOptions
from rle_onestage.utils.arguments import CommandParser
from rle_onestage.utils.pretrained import read_pth

PAIRS = ["MODEL.WEIGHTS", "w.pth", "DATASETS.TEST", "a,b"]


def complaint(capsys, *words):
    """The one sentence that a command ends with."""
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1, error
    return error


PARSERS = {
    "train": (lambda words: train._parse(words, "train", ""), []),
    "evaluate": (lambda words: train._parse(words, "evaluate", ""), []),
    "demo": (demo.parse, ["--webcam", "0"]),
    "calibrate": (calibrate.parse, []),
    "label-errors": (label_errors.parse, []),
    "visualize-data": (visualize_data.parse, []),
    "worst-images": (worst_images.parse, ["--output", "o.png"]),
}


@pytest.mark.parametrize("command", PARSERS)
@pytest.mark.parametrize("flag", [[], ["--opts"]], ids=["bare", "--opts"])
def test_options_of_the_config_in_both_forms(command, flag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(b"\x80\x02")
    parse, given = PARSERS[command]
    given = [*given, "--config-file", "quickstart.yaml"]
    assert parse([*given, *flag, *PAIRS]).opts == PAIRS
    assert parse([*flag, *PAIRS, *given]).opts == PAIRS
    assert parse(given).opts == []


@pytest.mark.parametrize("command", PARSERS)
def test_modules_of_the_users_own_come_with_every_config(command, tmp_path, monkeypatch):
    name = f"own_parts_of_{command.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    parse, given = PARSERS[command]
    args = parse([*given, "--config-file", "quickstart.yaml", "--import", name, "SEED", "7"])
    assert args.imports == [name] and args.opts == ["SEED", "7"]
    if command not in ("train", "evaluate"):  # which hand the names to each process
        assert read_config(args).IMPORTS == [name] and name in sys.modules


@pytest.mark.parametrize(
    "name, reason", [("nowhere", "which cannot be found"), ("./parts", "such as my_package.my_module, not a path")]
)
def test_a_module_that_is_not_there_is_one_sentence(name, reason, capsys):
    assert reason in complaint(capsys, "visualize-data", "--import", name)


def test_earlier_names_of_flags_are_read():
    """One name for one thing in all commands: ``--output`` and ``--number``."""
    assert [visualize_data.parse([flag, "out"]).output for flag in ("--output", "--output-dir")] == ["out", "out"]
    assert [visualize_data.parse([flag, "3"]).number for flag in ("--number", "--num")] == [3, 3]
    for flag in ("--number", "--limit"):
        given = ["--input", "a.jpg", "--output", "a.json", flag, "3"]
        assert label_images.parse(given, LabelOptions()).number == 3


def test_a_training_that_goes_on_needs_no_weights_to_start_from(tmp_path):
    words = ["--config-file", "quickstart.yaml", "MODEL.WEIGHTS", str(tmp_path / "gone.pth")]
    check_words(["--resume", *words])
    with pytest.raises(CheckpointError, match="gone.pth does not exist"):
        check_words(words)


def test_options_behind_the_inputs_of_a_demo():
    args = demo.parse(["--input", "a.jpg", "TEST.png", *PAIRS])
    assert args.input == ["a.jpg", "TEST.png"] and args.opts == PAIRS
    assert demo.parse(["--input", "a.jpg", *PAIRS, "--opts", "SEED", "-1"]).opts == [*PAIRS, "SEED", "-1"]


@pytest.mark.parametrize(
    "words, inputs",
    [
        (["--input", "a.jpg", "--score-against", "x", *PAIRS], ["a.jpg"]),
        (["--inp", "a.jpg", *PAIRS], ["a.jpg"]),
        (["--input", "a.jpg", "--sizes", "64", "96", *PAIRS], ["a.jpg"]),
        (["--input", "a.jpg", "--max-sigma", "0.1", "eye=0.05", *PAIRS, "--no-mirror"], ["a.jpg"]),
        (["--input", "MODEL.WEIGHTS", *PAIRS], ["MODEL.WEIGHTS"]),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_options_behind_the_values_of_any_flag(words, inputs):
    args = label_images.parse(words, LabelOptions())
    assert args.opts == PAIRS and args.input == inputs
    assert demo.parse(["--webcam", *PAIRS]).opts == PAIRS
    assert calibrate.parse(["--config-file", "c", "--fit-dataset", "a", "b", *PAIRS]).fit_dataset == ["a", "b"]


@pytest.mark.parametrize("value", ["-1", "-1e-3", "-.5,.5", "-1,3"])
def test_values_may_begin_with_a_minus(value):
    pair = ["SOLVER.BASE_LR", value]
    assert visualize_data.parse([*pair, "--number", "3"]).opts == pair
    assert train._parse(["--config-file", "quickstart.yaml", *pair], "train", "").opts == pair


def test_a_key_in_both_forms_is_not_chosen_silently(capsys):
    assert "SEED is given behind --opts and without; give it once" in complaint(
        capsys, "visualize-data", "SEED", "1", "--opts", "SEED", "2"
    )
    assert visualize_data.parse(["SEED", "1", "SEED", "2", "--opts", "OUTPUT_DIR", "a"]).opts[-1] == "2"


def test_a_flag_between_a_key_and_its_value_is_not_the_value(folder):
    check_words(["MODEL.WEIGHTS", "--config-file", "quickstart.yaml", "model_final.pth"])


def test_several_times_opts_are_all_taken():
    parser = CommandParser("toy", None)
    add_options(parser)
    assert parse_options(parser, ["--opts", "A", "1", "--opts", "B", "2"]).opts == ["A", "1", "B", "2"]


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["slim", "a.pth", "--ouput", "b.pth"], "there is no flag --ouput; did you mean --output? see rle-"),
        (["demo", "--inptu=a.jpg"], "there is no flag --inptu; did you mean --input? see"),
        (["train", "--config-fiel", "c"], "there is no flag --config-fiel; did you mean --config-file? see"),
        (
            ["calibrate", "--config-file", "c", "--resume"],
            "there is no flag --resume, which only train and evaluate have; name the weights: MODEL.WEIGHTS "
            "OUTPUT_DIR/model_final.pth; see rle-onestage calibrate",
        ),
        (["demo", "--resume=1"], "--resume, which only train and evaluate have; name the weights: MODEL.WEIGHTS"),
        (["slim", "a.pth", "--resume"], "there is no flag --resume; see"),
        (["evaluate", "--zzz"], "there is no flag --zzz; see rle-onestage evaluate --help"),
        (["slim", "a.pth", "-o", "b.pth"], "there is no flag -o; "),
        (["demo", "--num", "3"], "there is no flag --num; see"),
        (["worst-images", "--config-file", "c", "--output", "o", "--order", "wrost"], "did you mean worst? see"),
        (["demo", "--webcam", "--precision", "bfloat"], "did you mean bfloat16? see"),
        (["score-results", "--annotations", "a", "--backend", "fastr"], "did you mean faster? see"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_was_meant(words, sentence, capsys):
    assert sentence in complaint(capsys, *words)


def test_a_mistyped_command(capsys):
    assert cli.main(["evalute"]) == 2
    assert "did you mean evaluate?" in capsys.readouterr().err


def test_abbreviations_of_flags_are_as_ever():
    assert demo.parse(["--webcam", "--draw-sig"]).draw_sigma


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with files of several kinds, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.jpg", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "labels.json").write_text("{}")
    (tmp_path / "quickstrat.yaml").write_text("SEED: 1")
    (tmp_path / "model_final.pth").write_bytes(b"\x80")
    (tmp_path / "runs").mkdir()
    (tmp_path / "lost").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["train", "--config-file", "quickstrt.yaml"], "quickstrt.yaml does not exist; did you mean "),
        (["train", "--config-file=gone/my.yaml"], "check --config-file: there is no folder "),
        (["evaluate", "--config-file", "runs"], "runs is a folder; check --config-file"),
        (
            ["evaluate", "MODEL.WEIGHTS", "model_finl.pth"],
            "model_finl.pth does not exist; did you mean model_final.pth",
        ),
        (["demo", "--input", "phto.jpg", "--output", "o"], "input phto.jpg does not exist; did you mean photo.jpg?"),
        (["demo", "--input", "photo.jpg", "--output", "o", "MODEL.WEIGHTS", "no.pth"], "no.pth does not exist"),
        (["demo", "--input", "photo.jpg", "--output", "o", "--config-file", "no.yaml"], "no.yaml does not exist"),
        (["demo", "--input", "photo.jpg", "--json", "photo.jpg/x"], "photo.jpg is a file; give another place"),
        (["calibrate", "--config-file", "no.yaml"], "no.yaml does not exist"),
        (["calibrate", "--config-file", "demo.yaml", "--report-dir", "photo.jpg"], "photo.jpg is a file; give another"),
        (["calibrate", "--config-file", "demo.yaml", "--output", "runs"], "runs cannot be written (it is a folder)"),
        (["label-errors", "--config-file", "demo.yaml", "--output", "photo.jpg"], "photo.jpg is a file; give another"),
        (["visualize-data", "--output", "photo.jpg/out"], "photo.jpg is a file; give another"),
        (["score-results", "--annotations", "lables.json"], "does not exist; did you mean labels.json?"),
        (["score-results", "--annotations", "photo.json"], "file photo.json does not exist; check --annotations"),
        (["score-results", "--annotations", "runs"], "file runs is a folder; check --annotations"),
        (["score-results", "--annotations", "labels.json", "--json", "labels.json"], "is an input and would be overwr"),
        (["worst-images", "--config-file", "demo.yaml", "--output", "photo.jpg/x.png"], "photo.jpg is a file; give"),
        (["worst-images", "--config-file", "demo.yaml", "--output", "x.png", "--results", "no"], "file no does not"),
        (["slim", "no.pth", "--output", "x.pth"], "checkpoint no.pth does not exist"),
        (["slim", "runs", "--output", "x.pth"], "checkpoint runs is a folder"),
        (["demo", "--input", "photo.jpg", "--output", ""], "the name after --output is empty"),
        (["demo", "--input", "", "--output", "o"], "input '' does not exist"),
        (["label-errors", "--config-file", "demo.yaml", "--output", ""], "the name after --output is empty"),
        (["visualize-data", "--output", "lost"], "lost is a link to something that does not exist"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_what_is_missing_is_said_before_anything_is_loaded(words, sentence, folder, capsys, monkeypatch):
    def loaded(**options):
        raise AssertionError("the package is loaded")

    module = "train" if words[0] == "evaluate" else cli.COMMANDS[words[0]].module
    monkeypatch.setattr(f"rle_onestage.cli.{module}.start", loaded)
    assert sentence in complaint(capsys, *words)
    assert not (folder / "o").exists()


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--input", "runs", "--output", "o"], "folder runs has no images"),
        (["--input", "*.webp", "--output", "o"], "no file matches *.webp"),
        (["--input", "photo.jpg", "--output", "labels.json"], "labels.json is a file that does not end with an image"),
        (["--video-input", "no.mp4", "--output", "o"], "video no.mp4 does not exist"),
        (["--video-input", "photo.jpg", "--output", "labels.json"], "labels.json is a file that is no video"),
        (["--video-input", "photo.jpg", "--output", "o", "--fps", "1e9"], "--fps"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_what_a_demo_cannot_do_is_said_before_the_model_is_loaded(words, sentence, folder, capsys, monkeypatch):
    def loaded(*args, **options):
        raise AssertionError("the model is loaded")

    monkeypatch.setattr("rle_onestage.predictor.Predictor", loaded)
    assert sentence in complaint(capsys, "demo", *words)
    assert not (folder / "o").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--config-file", "quickstart.yaml", "DATASETS.TRAIN", "rle_synthetic_trai"],
        ["train", "--config-file", "quickstart.yaml", "DATASETS.TEST", "rle_synthetic_trai"],
        ["evaluate", "--config-file", "demo.yaml", "DATASETS.TEST", "rle_synthetic_trai"],
        ["calibrate", "--config-file", "demo.yaml", "--dataset", "rle_synthetic_trai"],
        ["calibrate", "--config-file", "demo.yaml", "--dataset", "there", "--fit-dataset", "rle_synthetic_trai"],
        ["label-errors", "--config-file", "demo.yaml", "--dataset", "rle_synthetic_trai"],
    ],
    ids=lambda words: " ".join([words[0], *words[3:]]),
)
def test_sets_are_looked_up_before_a_model_is_built(words, folder, capsys, monkeypatch):
    def built(*args, **options):
        raise AssertionError("a model is built")

    monkeypatch.setattr("rle_onestage.engine.builders.build_architecture", built)
    monkeypatch.setattr("rle_onestage.engine.models.build_architecture", built)
    sets = [["there", str(folder / "labels.json"), "."]]
    words = [*words, "DATASETS.KEYPOINT_FILES", repr(sets), "OUTPUT_DIR", "out", "MODEL.DEVICE", "cpu"]
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    error = capsys.readouterr().err
    assert end.value.code and "there is no data set 'rle_synthetic_trai'; did you mean rle_synthetic_train?" in error


MISSING = "rle_synthetic_train"  # a set of the package, whose joints are known without its file


OF_MISSING = [
    ["train"],
    ["evaluate", "DATASETS.TEST", MISSING],
    ["label-errors", "--dataset", MISSING],
    ["calibrate", "--dataset", "there", "--fit-dataset", MISSING],
]


@pytest.mark.parametrize("words", OF_MISSING, ids=[words[0] for words in OF_MISSING])
def test_missing_sets_of_the_package_are_said_before_a_model_is_built(words, folder, capsys, monkeypatch):
    monkeypatch.setattr("rle_onestage.engine.builders.build_architecture", None)
    monkeypatch.setattr("rle_onestage.engine.models.build_architecture", None)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(folder / "nothing"))
    sets = ["DATASETS.KEYPOINT_FILES", repr([["there", str(folder / "labels.json"), "."]])]
    words = [*words, "--config-file", "quickstart.yaml", *sets, "OUTPUT_DIR", "out", "MODEL.DEVICE", "cpu"]
    with pytest.raises(SystemExit):
        cli.main(words)
    assert f"data set {MISSING!r} was not found" in capsys.readouterr().err


@pytest.mark.parametrize("name, kind", [("photo.jpg", "an image"), ("labels.json", "a JSON"), ("empty", "an empty")])
def test_slim_says_what_a_file_is_that_is_no_checkpoint(name, kind, folder, capsys, monkeypatch):
    (folder / "empty").touch()
    with pytest.raises(CheckpointError, match=f"{name} is {kind}"):
        read_pth(name)
    monkeypatch.setattr("rle_onestage.cli.slim.start", None)  # before torch is imported
    assert f"checkpoint {name} is {kind}" in complaint(capsys, "slim", name, "--output", "x.pth")
    assert not (folder / "x.pth").exists()


def shown_help(capsys, *words):
    """What a command says with --help."""
    with pytest.raises(SystemExit) as end:
        cli.main([*words, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_help_lists_what_the_registries_hold(capsys):
    text = shown_help(capsys, "train")
    listed = text[text.index("registered names") :]
    names = ["rle_released", "dynamic", "PoseHead", "PoseMapper", "PoseEvaluator", "RandomRotation", "SOLVER.HOOKS",
             "build_timm_fpn_backbone", "build_movenet_backbone", "build_retinanet_resnet_fpn_backbone"]  # fmt: skip
    assert not [name for name in names if name not in listed] and max(map(len, listed.splitlines())) <= 100
    assert "LazyConfig" not in text and "Yacs" not in text


def test_help_of_evaluate_has_what_applies_alone(capsys):
    text = shown_help(capsys, "evaluate")
    assert "PoseEvaluator" in text and "rle_released" in text and "--resume" in text
    assert not [word for word in ("--eval-only", "INPUT.", "SOLVER.", "dynamic", "DefaultTrainer") if word in text]
    assert train._parse(["--eval-only"], "evaluate", "").eval_only  # as before, if in vain


def test_what_a_user_imports_is_listed(tmp_path, monkeypatch, capsys):
    (tmp_path / "own_backbone.py").write_text(
        "from detectron2.modeling import BACKBONE_REGISTRY\n"
        "@BACKBONE_REGISTRY.register()\ndef build_own_backbone(cfg, shape): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "build_own_backbone" in shown_help(capsys, "train", "--import", "own_backbone")


def test_a_training_on_nothing_is_refused_before_a_model_is_built(folder, capsys, monkeypatch):
    monkeypatch.setattr("rle_onestage.engine.builders.build_architecture", None)
    with pytest.raises(SystemExit):
        cli.main(["train", "DATASETS.TRAIN", "", "OUTPUT_DIR", "out", "MODEL.DEVICE", "cpu"])
    assert "DATASETS.TRAIN names no data set; name those" in capsys.readouterr().err
