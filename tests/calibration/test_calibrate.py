"""The calibration of a model from its weights to a corrected checkpoint, on a model whose errors are known."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY
from ground_truth_outputs import make_decoder
from modeling_toys import candidate_predictions
from torch import nn

import rle_onestage.calibration.fit as subject
from rle_onestage.calibration.correction import Correction, corrected_results
from rle_onestage.calibration.doubts import doubt_of_trained
from rle_onestage.calibration.report import format_report
from rle_onestage.calibration.samples import Collected, images_to_fit
from rle_onestage.cli.calibrate import main, parse
from rle_onestage.data.datasets import register_from_config
from rle_onestage.data.loader import build_test_loader
from rle_onestage.engine.checkpoint import read_checkpoint
from rle_onestage.engine.inference import evaluate, run_on_loader
from rle_onestage.engine.models import build_for_inference
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError, DataError
from rle_onestage.evaluation import build_evaluator, sure_joints
from rle_onestage.modeling.structures import Poses

NAMES, SIGMAS, SIZE = ["head", "hand", "foot"], [0.08, 0.05, 0.1], 128
ORIGIN = {"origin": ["theirs.pth"]}
PEOPLE = {}  # image id -> boxes (M, 4) and joints (M, K, 2), in the file's coordinates


@META_ARCH_REGISTRY.register()
class NoisyLabels(nn.Module):
    """Labels with errors of a known distribution in place of a network; half the standard deviation is admitted.

    Per image also a person who is not there. Sigma is larger than it says by a factor of 2 for a sigma of an eighth of
    the person, and by ever more above.
    """

    POWER = 1.25

    def __init__(self, cfg):
        super().__init__()
        self.decoder = make_decoder("fcos", SIGMAS)
        self.unused = nn.Parameter(torch.ones(1))

    def forward(self, batch):
        """The contract of Detectron2's architectures."""
        return [{"instances": self.people(item)} for item in batch]

    def people(self, item):
        """Instances of one image."""
        rng = np.random.default_rng(item["image_id"])
        boxes, joints = PEOPLE[item["image_id"]]
        boxes, joints = np.array([*boxes, [0, 0, 30, 30]]), np.array([*joints, rng.uniform(0, 30, (3, 2))])
        size = np.sqrt(0.53 * (boxes[:, 2:] - boxes[:, :2]).prod(1))[:, None, None]
        person = rng.normal(0, 1, size.shape)
        sigma = size * np.exp(-3 + 0.5 * person + 0.3 * rng.normal(size=joints.shape))
        true = 2 * size * (sigma / size) ** self.POWER * 8 ** (self.POWER - 1)
        mu = joints + 0.5 + true * rng.laplace(size=joints.shape) / math.sqrt(2)
        tensors = [torch.from_numpy(part).float() for part in (boxes, mu, sigma)]
        return self.decoded(*tensors, torch.from_numpy(rng.normal(1, 1, len(boxes))).float(), item)

    def decoded(self, boxes, mu, sigma, person, item, visibility=None):
        """The real decoder's answer."""
        poses = Poses(mu, sigma, torch.full(mu.shape[:2], 3.0), visibility)
        said = candidate_predictions(poses, boxes=boxes, score=person)
        people = self.decoder(said, torch.sigmoid(person)[None])
        size = (item["height"], item["width"])
        return self.decoder.to_instances(people, [size], [size])[0]


def write_set(folder, name, first, images=120, people=2):
    """A file of labels over one black image; returns what ``DATASETS.KEYPOINT_FILES`` takes."""
    rng = np.random.default_rng(first)
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person", "keypoints": NAMES}]}
    cv2.imwrite(str(folder / "black.png"), np.zeros((SIZE, SIZE, 3), np.uint8))
    for image_id in range(first, first + images):
        content["images"].append({"id": image_id, "file_name": "black.png", "height": SIZE, "width": SIZE})
        PEOPLE[image_id] = ([], [])
        for number in range(people):
            x, side = 64 * number, rng.uniform(30, 60)
            joints = rng.uniform(0.1, 0.9, (3, 2)) * side + [x, 40]
            PEOPLE[image_id][0].append([x, 40, x + side, 40 + side])
            PEOPLE[image_id][1].append(joints)
            keypoints = np.column_stack([joints, rng.choice([1, 2], 3)]).ravel().tolist()
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1, "image_id": image_id, "category_id": 1, "iscrowd": 0,
                    "bbox": [x, 40, side, side], "area": 0.53 * side**2, "keypoints": keypoints, "num_keypoints": 3,
                }
            )  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(content))
    return [name, str(folder / f"{name}.json"), str(folder)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A config file of three sets, and weights with things that must be kept."""
    folder = tmp_path_factory.mktemp("calibrate")
    files = [write_set(folder, f"{folder.name}_{n}", 1000 * n, people=2 * (n < 3)) for n in (1, 2, 3)]
    names = [name for name, *_ in files]
    config = {
        "VERSION": 2, "OUTPUT_DIR": str(folder / "out"),
        "MODEL": {"META_ARCHITECTURE": "NoisyLabels", "DEVICE": "cpu", "RLE_ONESTAGE": {"NUM_KEYPOINTS": 3}},
        "DATASETS": {"TEST": names[:1], "KEYPOINT_FILES": files}, "INPUT": {"POSE": {"SIZE": SIZE}},
        "TEST": {"KEYPOINT_OKS_SIGMAS": SIGMAS}, "DATALOADER": {"NUM_WORKERS": 0},
    }  # fmt: skip
    path, weights = folder / "config.yaml", folder / "model.pth"
    path.write_text(json.dumps(config))
    model = NoisyLabels(None)
    torch.save({"model": model.state_dict(), "raw": {"other": torch.ones(2)}, "iteration": 7, **ORIGIN}, weights)
    return folder, str(path), str(weights), names


@pytest.fixture(scope="module")
def calibrated(made):
    """The report of one run and its checkpoint."""
    folder, path, weights, names = made
    cfg = load_config(path, ["MODEL.WEIGHTS", weights])
    output = str(folder / "corrected.pth")
    return subject.calibrate(cfg, names[0], output=output, folder=str(folder / "report"), resamples=50), output


def results_of(path, weights, name):
    cfg = load_config(path, ["MODEL.WEIGHTS", weights])
    model = build_for_inference(cfg, weights)
    return list(run_on_loader(model, build_test_loader(cfg, name), Collected(), name=name)), model


def test_intervals_hold_on_images_that_were_not_fitted_on(calibrated):
    report, _ = calibrated
    before, after = report["before"]["all"], report["after"]["all"]
    assert before["coverage_90"] < 80 and after["coverage_90"] == pytest.approx(90, abs=5)
    assert after["ece"] < before["ece"] / 2 and after["nll"] < before["nll"] - 0.1
    for level in (50, 80, 90, 95):  # the learned error is that of the labels, so regions hold as intervals do
        assert after[f"ellipse_{level}"] == pytest.approx(level, abs=6) == after[f"hdr_{level}"]
        assert before[f"ellipse_{level}"] < level - 4 > before[f"hdr_{level}"]
    nll = {name: row["nll"] for name, row in report["likelihood"].items()}
    assert nll["before"] == pytest.approx(before["nll"]) and nll["after"] == pytest.approx(after["nll"], abs=0.05)
    assert nll["after"] < nll["before"] and nll["after"] < min(nll["constant_px"], nll["constant_relative"]) - 0.05
    for row in report["correction"].values():
        assert row["power"] == pytest.approx(NoisyLabels.POWER, abs=0.15)
    scores = report["scores"]
    assert scores["expected OKS"]["difference_interval"][0] > 0
    assert scores["expected OKS"]["pearson"] > scores["person probability"]["pearson"] + 0.2
    assert scores["person probability"]["difference"] == 0 and "person probability and quality" not in scores
    low, high = report["after_intervals"]["all"]["ellipse_90"]
    assert low < after["ellipse_90"] < high < low + 10
    # Of a Laplace density a circle of one standard deviation holds 53 %, of two 86 % (a Gaussian: 39 and 86 %).
    assert 55 > report["ellipses"]["head"]["one_sigma"] > 45 and 92 > report["ellipses"]["head"]["two_sigma"] > 84
    text = format_report(report)
    assert "powers of the score" in text and "hidden" in text and "nan" not in text and "fits the likelihood" in text
    assert "bootstrap interval over images" in text
    verdict = report["verdict"]
    assert verdict["use"] and not report["corrected_before"] and text.endswith("\n- ".join(verdict["sentences"]))
    assert (
        f"the corrected weights are the better guess: MODEL.WEIGHTS {report['files'][2]}\n" in text and "But " in text
    )
    for name, row in report["likelihood"].items():
        if name != "after":  # about the difference of the two metrics, and surely above chance with these people
            assert row["gain"] == pytest.approx(row["nll"] - nll["after"])
            assert 0 < row["gain_interval"][0] < row["gain"] < row["gain_interval"][1]


def test_what_is_doubtful_is_in_the_report(made, calibrated):
    _, _, _, names = made
    report, _ = calibrated
    # All images of the toy are one file.
    (doubt,) = report["doubts"]
    number, people = report["images"]["held_out"], 2 * report["images"]["held_out"]
    assert doubt.startswith(f"{number} of {number} images to report on ({names[0]}), with {people} labelled people")
    assert f"are also fitted on (0.5 of {names[0]}; the first is black.png)" in doubt


def test_images_that_are_trained_on_and_joints_that_are_too_sure_are_said(made, tmp_path, caplog, monkeypatch):
    _, path, weights, names = made
    (tmp_path / "elsewhere").mkdir()
    other = write_set(tmp_path / "elsewhere", "elsewhere", 1, images=3)
    cfg = load_config(path, ["MODEL.WEIGHTS", weights, "OUTPUT_DIR", str(tmp_path), "DATASETS.TRAIN", str((names[1],))])
    cfg.defrost()
    cfg.DATASETS.KEYPOINT_FILES = [*cfg.DATASETS.KEYPOINT_FILES, other]
    register_from_config(cfg)
    # All images of the toy are one file, that of another folder with the same name is not.
    assert doubt_of_trained(cfg, ["elsewhere"]) is None
    monkeypatch.setattr(sure_joints, "MOST", 0.5)  # the toy is too good for more
    report = subject.calibrate(cfg, names[0], resamples=5)
    assert caplog.text.count("Far surer than right: 3 of 3 joints") == 1
    assert "1 of 1 image of" in report["doubts"][0] and f"DATASETS.TRAIN names {names[1]}" in report["doubts"][0]
    assert caplog.text.count(report["doubts"][0]) == 1 and report["remedies"][0].startswith("give --dataset a set")
    cfg.DATASETS.TRAIN = ("not_registered",)  # as that of a run whose sets are elsewhere
    assert doubt_of_trained(cfg, [names[0]]) is None


def test_files(calibrated):
    report, output = calibrated
    written, page, checkpoint, text = report["files"]
    assert open(text).read() == f"{format_report(report)}\n"
    assert checkpoint == output and json.loads(open(written).read())["after"]["all"]["ece"] < 10
    plots = cv2.imread(page)
    assert plots.shape[1] > 1500 and plots.std() > 20


def test_the_checkpoint_has_the_correction_and_all_else(made, calibrated):
    _, _, weights, _ = made
    report, output = calibrated
    before, after = read_checkpoint(weights), read_checkpoint(output)
    assert after["iteration"] == 7 and torch.equal(after["raw"]["other"], torch.ones(2))
    assert after["joints"] == NAMES and "joints" not in before and after["origin"] == ORIGIN["origin"]
    assert after["origin"] == before["origin"] == ["theirs.pth"]
    changed = [key for key, value in before["model"].items() if not torch.equal(value, after["model"][key])]
    assert sorted(changed) == [f"decoder.{part}" for part in ("correction", "dependence", "intervals", "regions")]
    named = [row["power"] for row in report["correction"].values()]
    assert after["model"]["decoder.correction"][:, 1].tolist() == pytest.approx(named)


def test_correcting_results_is_what_the_corrected_checkpoint_gives(made, calibrated):
    _, path, weights, names = made
    report, output = calibrated
    found, model = results_of(path, weights, names[1])
    rows = report["correction"].values()
    parts = (torch.tensor([row[key] for row in rows]) for key in ("log_scale", "power", "intervals"))
    dependence = torch.tensor([value or 0.0 for value in report["dependence"].values()])
    correction = Correction(*parts, dependence=dependence)
    ours = corrected_results(found, correction, model.decoder)
    theirs, corrected_model = results_of(path, output, names[1])
    assert len(ours) == len(theirs) > 300 and corrected_model.decoder.error_density().intervals is not None

    def key(result):
        return result["image_id"], result["keypoints"][0]

    for a, b in zip(sorted(ours, key=key), sorted(theirs, key=key)):
        assert a["bbox"] == b["bbox"]
        for field in ("keypoints", "keypoint_sigmas", "keypoint_covariances", "score_factors"):
            assert a[field] == pytest.approx(b[field], rel=1e-3, abs=2e-3)
        assert a["score"] == pytest.approx(b["score"], rel=1e-3, abs=1e-3)
    assert any(abs(a["score"] - b["score"]) > 0.05 for a, b in zip(ours, found))


def test_every_evaluation_has_the_figures(made, calibrated, monkeypatch):
    folder, path, _, names = made
    report, output = calibrated
    cfg = load_config(path, ["MODEL.WEIGHTS", output, "OUTPUT_DIR", str(folder / "evaluated")])
    (folder / "evaluated").mkdir()
    metrics = evaluate(cfg, build_for_inference(cfg, output), build_evaluator=build_evaluator)["calibration"]
    assert metrics["coverage_80"] == pytest.approx(80, abs=5) and metrics["person_pearson"] > 0.5
    assert json.loads((folder / "evaluated" / "metrics.json").read_text())["calibration"] == pytest.approx(metrics)
    # A model without sigmas: what is left are the correlations.
    found = NoisyLabels.people

    def bare(self, item):
        instances = found(self, item)
        instances.remove("pred_keypoint_sigmas")
        return instances

    monkeypatch.setattr(NoisyLabels, "people", bare)
    metrics = evaluate(cfg, build_for_inference(cfg, output), build_evaluator=build_evaluator)["calibration"]
    assert "coverage_80" not in metrics and "nll" not in metrics and metrics["joint_spearman"] > 0.1


def test_tool_with_another_set_to_fit_on(made, calibrated, capsys, monkeypatch):
    # A handler on pytest's own output would outlive it.
    monkeypatch.setattr("detectron2.utils.logger.setup_logger", lambda **options: None)
    folder, path, _, names = made
    _, corrected = calibrated
    # A correction in the weights does not count: it is fitted anew. Options of the config may stand anywhere.
    main(
        ["--config-file", path, "MODEL.WEIGHTS", corrected, "--dataset", names[1], "--fit-dataset", names[0]]
        + ["--resamples", "20", "--output", str(folder / "again.pth"), "--report-dir", str(folder / "again")]
    )
    shown = capsys.readouterr().out
    assert f"fitted on {names[0]}: 120 images with 240 matched people and 720 labelled joints" in shown
    assert f"held out, {names[1]}: 120 images" in shown
    power = [read_checkpoint(p)["model"]["decoder.correction"][:, 1] for p in (corrected, str(folder / "again.pth"))]
    torch.testing.assert_close(power[0], power[1], atol=0.12, rtol=0)


def test_command_line():
    for arguments in ("--config-file C K V --dataset D", "K V --config-file C", "--config-file C --opts K V"):
        args = parse(arguments.split())
        assert args.opts == ["K", "V"] and args.config_file == "C"
    with pytest.raises(SystemExit):
        parse("--config-file C --fit-dataset F --fit-share 0.3".split())


def test_halves_do_not_depend_on_the_machine_and_grow():
    ids = range(1, 4001)
    small, large = (images_to_fit(ids, share) for share in (0.3, 0.5))
    assert len(small) == 1200 and len(large) == 2000 and small < large == images_to_fit(reversed(ids), 0.5)
    assert images_to_fit(range(1, 13), 0.5) == {1, 2, 3, 6, 7, 12}


@pytest.mark.parametrize("number, share, chosen", [(8, 0.5, 4), (8, 0.01, 1), (8, 0.99, 7), (2, 0.3, 1), (1, 0.5, 1)])
def test_the_share_of_few_images_is_right_and_leaves_some_on_both_sides(number, share, chosen):
    assert len(images_to_fit(range(1, number + 1), share)) == chosen


@pytest.mark.parametrize(
    "options, change, error, message",
    [
        ([], {"fit_share": 1.0}, ConfigError, "share of images"),
        ([], {"fit_datasets": [0]}, ConfigError, "both"),
        ([], {"fit_datasets": [2]}, DataError, "has 0 images with labelled people to fit on, .* needs 5 or more"),
        ([], {"fit_share": 1e-6}, DataError, "has 1 image with labelled people to fit on, calibrate needs 5 or more"),
        ([], {"fit_share": 0.99}, DataError, "has 1 image with labelled people to report on, .* needs 5 or more"),
        (["MODEL.WEIGHTS", ""], {}, ConfigError, "MODEL.WEIGHTS is empty"),
        (["MODEL.META_ARCHITECTURE", "NoSigmas"], {}, ConfigError, "predicts no sigmas"),
    ],
)
def test_bad_input_is_one_sentence(made, tmp_path, options, change, error, message):
    _, path, weights, names = made
    cfg = load_config(path, ["MODEL.WEIGHTS", weights, "OUTPUT_DIR", str(tmp_path), *options])
    change = {key: [names[i] for i in value] if key == "fit_datasets" else value for key, value in change.items()}
    with pytest.raises(error, match=message):
        subject.calibrate(cfg, names[0], **change)
    assert not (tmp_path / "model_calibrated.pth").exists()


def test_sets_of_joints_in_another_order_are_refused(made, tmp_path):
    _, path, weights, names = made
    cfg = load_config(path, ["MODEL.WEIGHTS", weights])
    files = [list(entry) for entry in cfg.DATASETS.KEYPOINT_FILES]
    content = json.loads(Path(files[1][1]).read_text())
    content["categories"][0]["keypoints"] = NAMES[::-1]
    (tmp_path / "turned.json").write_text(json.dumps(content))
    files.append([f"{names[0]}_turned", str(tmp_path / "turned.json"), files[1][2]])
    cfg = load_config(path, ["MODEL.WEIGHTS", weights, "DATASETS.KEYPOINT_FILES", json.dumps(files)])
    for turned in ({"fit_datasets": [files[-1][0]]}, {"dataset_name": files[-1][0]}):
        with pytest.raises(DataError, match="_turned' has the joints foot, hand, head, but the model's are head, hand"):
            subject.calibrate(cfg, **{"dataset_name": names[0], "folder": str(tmp_path), "resamples": 10, **turned})


@META_ARCH_REGISTRY.register()
class NoSigmas(NoisyLabels):
    """As Detectron2's own models."""

    def __init__(self, cfg):
        super().__init__(cfg)
        self._parts = self.decoder.state_dict()

    def load_state_dict(self, *args, **kwargs):
        """What comes after loading sees no decoder."""
        result = super().load_state_dict(*args, **kwargs)
        del self.decoder
        return result


def test_a_model_that_finds_nobody(made, tmp_path, monkeypatch):
    _, path, weights, names = made
    cfg = load_config(path, ["MODEL.WEIGHTS", weights, "OUTPUT_DIR", str(tmp_path)])
    found = NoisyLabels.people
    monkeypatch.setattr(NoisyLabels, "people", lambda self, item: found(self, item)[:0])
    with pytest.raises(DataError, match="60 images with labelled people to fit on, and .* in 0 of them"):
        subject.calibrate(cfg, names[0])
    # On the held-out half alone: nothing would be known of the correction.
    odd = set(range(1000, 1120)) - images_to_fit(range(1000, 1120), 0.5)
    nobody = lambda self, item: found(self, item)[: 0 if item["image_id"] in odd else None]  # noqa: E731
    monkeypatch.setattr(NoisyLabels, "people", nobody)
    with pytest.raises(DataError, match="60 images with labelled people to report on, and .* in 0 of them, .* longer"):
        subject.calibrate(cfg, names[0])


def test_of_few_images_there_is_no_interval_and_nothing_is_better(made, tmp_path):
    _, path, weights, names = made
    name, *files = write_set(tmp_path, f"{names[0]}_few", 7000, images=18)
    entry = json.dumps([[name, *files]])
    given = ["MODEL.WEIGHTS", weights, "OUTPUT_DIR", str(tmp_path), "DATASETS.KEYPOINT_FILES", entry]
    report = subject.calibrate(load_config(path, [*given, "DATASETS.TEST", str((name,))]), name, resamples=20)
    assert report["images"] == {"fit": 9, "held_out": 9} and not report["verdict"]["use"]
    assert np.isnan([row["difference_interval"] for row in report["scores"].values()]).all()
    text = format_report(report)
    assert "Only 9 held-out images" in text and "at least 10" in text and "Keep the uncorrected weights" in text
    assert "better than" not in text and "nan" not in text and "no bootstrap intervals over images" in text


def test_the_threshold_of_the_best_f1_before_and_after(made, calibrated):
    report, output = calibrated
    rows = report["thresholds"]
    assert rows["before"]["threshold"] > rows["after"]["threshold"] + 0.02  # sigmas grew
    assert min(row["f1"] for row in rows.values()) > 50 and rows["after"]["people"] == report["people"]["held_out"]
    after = math.floor(100 * rows["after"]["threshold"]) / 100
    text = format_report(report)
    assert text.splitlines()[-1].startswith(f"- In the demo give --confidence-threshold {after:.2f}, ")
    assert f"{after:.2f} (F1 {rows['after']['f1']:.1f} %) after" in text


def test_a_corrected_file_is_calibrated_anew_from_its_learned_sigmas(made, calibrated, tmp_path):
    _, path, _, names = made
    report, corrected = calibrated
    cfg = load_config(path, ["MODEL.WEIGHTS", corrected])
    again = subject.calibrate(cfg, names[0], output=str(tmp_path / "c.pth"), folder=str(tmp_path), resamples=50)
    assert again["corrected_before"] and again["correction"] == report["correction"]
