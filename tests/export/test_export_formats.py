"""Exported files: what they give, what they say of themselves, and that a file which is not equal is not there."""

import errno
import functools
import json
import os
import re

import numpy as np
import pytest
import torch
from export_toys import SIDE, STYLES, photo, toy

from rle_onestage import cli
from rle_onestage.errors import ConfigError, DataError, MediaError, MissingPackageError
from rle_onestage.export import ExportOptions, NotEqualError, describe, export_model, load
from rle_onestage.export.formats import onnx_graph
from rle_onestage.export.graph import InputSize, PeopleGraph
from rle_onestage.export.parity import compare, pytorch
from rle_onestage.predictor import Predictor

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

IMAGES = [photo(), np.zeros((64, 64, 3), np.uint8), photo(130, 90, seed=1)]
FIELDS = ("pred_keypoints", "pred_keypoint_sigmas", "pred_keypoint_covariances", "pred_keypoint_presence", "pred_areas")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def plain(folder):
    """The config of a model with refinement and visibility, and the ONNX file of it."""
    cfg, path = toy(folder, "refined"), str(folder / "plain.onnx")
    made = export_model(cfg, path, images=IMAGES)
    assert made.files == [path] and made.parity.found > 0 and made.parity.images == 6
    return cfg, path


@pytest.fixture(scope="module")
def small(folder):
    """The config of a model without refinement, which is traced in a second."""
    return toy(folder, "fcos")


def assert_same_people(found, expected):
    """Nearly: runtimes add up in another order, which may exchange people whose scores are about the same."""
    assert len(found) == len(expected) > 0 and found.image_size == expected.image_size
    apart = (found.pred_boxes.tensor[:, None] - expected.pred_boxes.tensor).abs().sum(-1)
    order = (apart + 1e3 * ((found.scores[:, None] - expected.scores).abs() > 1e-4)).argmin(1)
    assert sorted(order.tolist()) == list(range(len(found)))
    expected = expected[order]
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.pred_boxes.tensor, expected.pred_boxes.tensor, rtol=1e-3, atol=0.02)
    for name in FIELDS:
        torch.testing.assert_close(found.get(name), expected.get(name), rtol=2e-3, atol=0.02, msg=name)
    assert set(expected.get_fields()) - {"pred_score_factors"} == set(found.get_fields())


@pytest.mark.parametrize("style", STYLES)
def test_every_style_gives_pytorchs_people_at_any_size(style, folder, plain):
    cfg, path = plain
    if style != "refined":
        cfg, path = toy(folder, style), str(folder / f"{style}.onnx")
        export_model(cfg, path, images=IMAGES[:2])
    file, predictor = load(path, threads=1), Predictor(cfg)
    for size in ((64, 64), (64, 300), (300, 64), (123, 77)):
        image = photo(*size, seed=3)
        # At the network's own size: one grey level changes the order of an untrained model's scores.
        image = predictor.resize(image)
        assert_same_people(file(image), predictor(image))
    assert file.skeleton.num_joints == predictor.skeleton.num_joints and file.tells_hidden == predictor.tells_hidden


@pytest.fixture(scope="module")
def other_file(folder, plain):
    """By a format the file of :func:`plain` in it, made once."""

    @functools.cache
    def made(name, ending):
        if name == "openvino":
            pytest.importorskip("openvino", reason="the extra openvino is not installed")
        path = str(folder / f"other{ending}")
        export_model(plain[0], path, name, images=IMAGES[:2])
        return path

    return made


@pytest.mark.parametrize("name, ending", [("openvino", ".xml"), ("torchscript", ".pt")])
def test_other_formats_give_the_same(name, ending, plain, other_file):
    cfg, onnx_file = plain
    path = other_file(name, ending)
    image = photo(SIDE, SIDE, seed=5)
    assert_same_people(load(path)(image), Predictor(cfg)(image))
    assert describe(path) == describe(onnx_file)


@pytest.mark.slow
def test_torch_export_takes_any_size(folder):
    cfg, path = toy(folder, "fcos"), str(folder / "program.pt2")
    export_model(cfg, path, "torch_export", images=IMAGES[:1])
    for size in ((SIDE, SIDE), (SIDE, 64)):
        assert_same_people(load(path)(photo(*size)), Predictor(cfg)(photo(*size)))


def test_a_batch_has_a_count_for_each_image(folder, plain):
    cfg, onnx_file = plain
    path = str(folder / "batch.onnx")
    export_model(cfg, path, images=IMAGES[:2], options=ExportOptions(batch=2))
    run = load(path).run
    images = [photo(SIDE, 80, seed) for seed in (7, 8)]
    outputs = run(np.stack(images))
    rows = describe(path)["max_people"]
    assert outputs["keypoints"].shape == (2, rows, 17, 3) and outputs["count"].shape == (2,)
    for number, image in enumerate(images):
        alone, count = load(onnx_file).run(image), int(outputs["count"][number])
        assert count == len(alone["scores"])
        np.testing.assert_allclose(outputs["keypoints"][number, :count], alone["keypoints"], rtol=1e-3, atol=0.01)
    assert_same_people(load(path)(images[0]), Predictor(cfg)(images[0]))


def test_rows_of_a_batch_are_as_many_as_the_file_says(folder):
    cfg, path = toy(folder, "fcos", "MODEL.RLE_ONESTAGE.TEST.TOPK", "7"), str(folder / "few.onnx")
    assert cfg.TEST.DETECTIONS_PER_IMAGE > 7
    export_model(cfg, path, images=IMAGES[:1], options=ExportOptions(batch=2))
    outputs = load(path).run(np.stack([IMAGES[0]] * 2))
    assert outputs["scores"].shape == (2, 7) and describe(path)["max_people"] == 7


def test_rgb_and_a_fixed_canvas(folder, plain):
    cfg, onnx_file = plain
    path = str(folder / "rgb.onnx")
    made = export_model(cfg, path, images=IMAGES, options=ExportOptions(rgb=True, canvas=(SIDE, SIDE)))
    assert made.padding > 0 and any("padding" in line for line in made.lines)
    assert describe(path)["image"]["channels"] == "RGB" and describe(path)["size"]["canvas"] == [SIDE, SIDE]
    image = photo(SIDE, SIDE, seed=4)
    bgr, rgb = load(onnx_file), load(path)
    np.testing.assert_allclose(rgb.run(image[:, :, ::-1])["scores"], bgr.run(image)["scores"], rtol=1e-4)
    assert_same_people(rgb(image), Predictor(cfg)(image))


def test_half_and_int8_are_smaller_and_near(folder, plain, caplog):
    cfg, onnx_file = plain
    size = len(open(onnx_file, "rb").read())
    for name, options in (("half", ExportOptions(half=True)), ("int8", ExportOptions(calibration=IMAGES))):
        path = str(folder / f"{name}.onnx")
        export_model(cfg, path, images=IMAGES[:1], options=options)
        assert len(open(path, "rb").read()) < size
        assert describe(path)["weights_in"] == {"half": "float16", "int8": "int8"}[name]
        scores = load(path)(IMAGES[0]).scores
        assert scores[0].item() == pytest.approx(load(onnx_file)(IMAGES[0]).scores[0].item(), abs=0.1)
    assert caplog.text.count("--int8 is calibrated on 3 images only; give 24 or more like those") == 1


def test_int8_for_openvino_rounds_what_convolutions_read_alone(folder, small):
    """What they give stays as it is; and maps with a sign are int8, so that no zero has to be taken off them."""
    openvino = pytest.importorskip("openvino")
    path = str(folder / "int8.xml")
    export_model(small, path, "openvino", images=IMAGES[:1], options=ExportOptions(calibration=IMAGES))
    assert describe(path)["weights_in"] == "int8" and len(load(path)(IMAGES[0])) > 0
    nodes = openvino.Core().read_model(path).get_ops()
    rounded = [node for node in nodes if node.get_type_name() == "FakeQuantize"]
    signed = [node for node in rounded if node.input_value(3).get_node().get_data() < 0]
    assert 0 < len(signed) <= len(rounded) < len([node for node in nodes if "Convolution" in node.get_type_name()])
    assert all(node.input_value(3).get_node().get_data() == -128 for node in signed)


def test_a_file_says_what_it_is(plain, capsys):
    cfg, path = plain
    cli.main(["export", "--describe", path])
    said = json.loads(capsys.readouterr().out)
    predictor = Predictor(cfg)
    assert said == describe(path) and said["joint_names"] == list(predictor.skeleton.names)
    assert said["weights"] == "refined.pth" and said["outputs"][:3] == ["boxes", "scores", "keypoints"]
    density = predictor.error_density
    for key, sizes, of in (
        ("intervals", "half_widths", density.half_width),
        ("ellipses", "radii", density.ellipse_radius),
    ):
        column = said[key]["levels"].index(0.9)
        assert [row[column] for row in said[key][sizes]] == pytest.approx(of(0.9).tolist(), abs=1e-3)
    residual, std = torch.ones(1, 17, 2), torch.full((1, 17, 2), 2.0)
    torch.testing.assert_close(load(path).error_density.log_prob(residual, std), density.log_prob(residual, std))


def test_the_licence_is_that_of_the_card_or_what_is_given(folder, plain, small):
    assert "not stated" in describe(plain[1])["licence"]
    other = str(folder / "licensed.pt")
    export_model(small, other, "torchscript", images=IMAGES[:1], options=ExportOptions(licence="CC0"))
    assert describe(other)["licence"] == "CC0"


def test_where_nobody_is_found_the_best_candidates_are_compared(folder):
    cfg = toy(folder, "fcos", "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.01")
    predictor, size = Predictor(cfg), InputSize(SIDE, SIDE)
    predictor.model.head.score.bias.data -= 6.0

    def off(image, by=0.0, everybody=True):
        outputs = pytorch(predictor, size, image, candidates=everybody)
        joints = outputs["keypoints"]
        return [(image, {**outputs, "keypoints": joints + np.float32(by)})]

    def run(by):
        reference = functools.partial(pytorch, predictor, size)
        return compare(
            reference, IMAGES[:1], lambda image: off(image, by, everybody=False), lambda image: off(image, by)
        )

    same, other = run(0.0), run(1.0)
    assert same.found == 0 and len(same.joints) == 10 * 17 and not same.faults
    assert [fault.split(" by")[0] for fault in other.faults] == ["joints differ", "expected OKS differ"]


BREAKS = {
    "joints": ("keypoints", lambda joints: joints + 0.6, r"joints differ by up to 0\.6 px"),
    "boxes": ("boxes", lambda boxes: boxes + 100, "boxes differ by up to 100 px"),
    "presence": ("presence", lambda presence: 1 - presence, "presence differ"),
    "visibility": ("visibility", lambda visibility: 1 - visibility, "visibility differ"),
    "areas": ("areas", lambda areas: 2 * areas, "areas differ by up to 1"),
    "covariances": ("covariances", lambda covariances: covariances * 1.2, "covariances differ"),
    "OKS": ("keypoints", lambda joints: joints * torch.tensor([1, 1, 0.5]), "expected OKS differ"),
    "order": ("scores", lambda scores: scores.flip(0), "scores are not in descending order"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_what_is_not_equal_is_a_fault(broken, plain):
    predictor, size = Predictor(plain[0]), InputSize(SIDE, SIDE)
    name, change, sentence = BREAKS[broken]

    def off(image, everybody):
        outputs = pytorch(predictor, size, image, candidates=everybody)
        return [(image, {**outputs, name: change(torch.from_numpy(outputs[name])).numpy()})]

    reference = functools.partial(pytorch, predictor, size)
    parity = compare(reference, IMAGES[:1], lambda image: off(image, False), lambda image: off(image, True))
    assert re.search(sentence, "; ".join(parity.faults))


def test_what_is_not_equal_is_not_written(small, folder, monkeypatch):
    before = sorted(folder.iterdir())
    forward = PeopleGraph.forward
    name, change, sentence = BREAKS["joints"]

    def off(self, image):
        outputs = dict(zip(self.outputs, forward(self, image)))
        return tuple({**outputs, name: change(outputs[name])}.values())

    monkeypatch.setattr(PeopleGraph, "forward", off)
    with pytest.raises(NotEqualError, match=f"broken.pt is not written.*{sentence}"):
        export_model(small, str(folder / "broken.pt"), "torchscript", images=IMAGES[:1])
    assert sorted(folder.iterdir()) == before


def test_a_size_that_is_baked_in_is_found(folder, small, monkeypatch):
    """The one image that is given is the one that the graph is traced with."""
    resized = PeopleGraph.resized

    def baked(self, height, width):
        return tuple(torch.tensor(int(side)) for side in resized(self, height, width))

    monkeypatch.setattr(PeopleGraph, "resized", baked)
    with pytest.raises(NotEqualError, match="on 4 images"):
        export_model(small, str(folder / "baked.pt"), "torchscript", images=IMAGES[:1])


def test_rows_of_a_batch_that_are_those_of_another_are_found(folder, small, monkeypatch):
    forward = PeopleGraph.forward
    monkeypatch.setattr(PeopleGraph, "forward", lambda self, image: forward(self, image[-1:].expand(*image.shape)))
    with pytest.raises(NotEqualError, match="mixed.pt is not written"):
        export_model(small, str(folder / "mixed.pt"), "torchscript", images=IMAGES[:1], options=ExportOptions(batch=2))


def test_a_missing_output_is_said(plain):
    predictor = Predictor(plain[0])
    size = InputSize(SIDE, SIDE)

    def without_areas(image):
        outputs = pytorch(predictor, size, image)
        return [(image, {name: part for name, part in outputs.items() if name != "areas"})]

    reference = functools.partial(pytorch, predictor, size)
    parity = compare(reference, IMAGES[:1], without_areas, without_areas)
    assert "there is no output areas" in parity.faults


def test_a_file_that_is_there_stays(folder, plain):
    cfg, path = plain
    with pytest.raises(MediaError, match="exists already; remove it"):
        export_model(cfg, path, images=IMAGES[:1])
    assert describe(path)["format"] == 1


def test_half_of_two_files_is_not_left(folder, plain, monkeypatch):
    pytest.importorskip("openvino")
    before, replace = sorted(folder.iterdir()), os.replace

    def full(source, target):
        if str(target).endswith("two.xml"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("rle_onestage.export.exporting.os.replace", full)
    with pytest.raises(MediaError, match=r"two\.xml cannot be written \(No space left on device\)"):
        export_model(plain[0], str(folder / "two.xml"), "openvino", images=IMAGES[:1])
    assert sorted(folder.iterdir()) == before


def test_openvino_takes_one_device(tmp_path):
    pytest.importorskip("openvino")
    (tmp_path / "a.xml").touch()
    with pytest.raises(ConfigError, match="takes one device, and GPU, CPU are 2; .* AUTO:GPU,CPU"):
        load(str(tmp_path / "a.xml"), providers=["GPU", "CPU"])


def test_depth_that_is_left_out_is_said(folder):
    cfg = toy(folder, "fcos", "MODEL.RLE_ONESTAGE.DEPTH.ENABLED", "True")
    weights = torch.load(cfg.MODEL.WEIGHTS)
    for taught in (False, True):
        weights["model"]["head.depth.taught"] += float(taught)
        torch.save(weights, cfg.MODEL.WEIGHTS)
        made = export_model(cfg, str(folder / f"deep{taught}.pt"), "torchscript", images=IMAGES[:1])
        assert ("the model's depth is not exported" in made.lines[-1]) == taught


def test_the_comparison_is_told_before_a_data_set_is_measured(folder, plain, monkeypatch, capsys):
    cfg, _ = plain
    path, config = str(folder / "told.pt"), folder / "told.yaml"
    config.write_text(cfg.dump())
    monkeypatch.setattr("rle_onestage.data.lookup.check_sets", lambda *sets, **how: None)

    def measured(cfg, path, dataset):
        assert "as PyTorch on" in capsys.readouterr().out
        return [f"AP on {dataset}"]

    monkeypatch.setattr("rle_onestage.export.measure", measured)
    words = ["--config-file", str(config), "--output", path, "--format", "torchscript", "--dataset", "some"]
    cli.main(["export", *words])
    assert capsys.readouterr().out == "AP on some\n"


def test_a_missing_package_is_named(folder, plain, monkeypatch):
    def missing(name, remedy):
        raise MissingPackageError(f"{name} is not installed; run {remedy}")

    monkeypatch.setattr("rle_onestage.export.formats.onnx.optional_package", missing)
    with pytest.raises(MissingPackageError, match=r"onnx is not installed; run pip install 'rle-onestage\[onnx\]'"):
        export_model(plain[0], str(folder / "none.onnx"), images=IMAGES[:1])
    assert onnx_graph.REMEDY in "pip install 'rle-onestage[onnx]'"


@pytest.mark.parametrize(
    "image", [np.zeros((0, 5, 3), np.uint8), np.zeros((9, 9, 3)), np.zeros((9, 9), np.uint8), None]
)
def test_what_is_no_image_is_one_sentence(image, plain):
    with pytest.raises(DataError, match="image"):
        load(plain[1])(image)


def test_an_execution_provider_that_is_not_there(plain):
    with pytest.raises(ConfigError, match="no execution provider Abacus"):
        load(plain[1], providers=["Abacus"])


@pytest.mark.parametrize("ending, words", [(".onnx", "has no effect"), (".xml", "has no precision 'bf16'")])
def test_a_precision_that_a_runtime_does_not_know_is_a_sentence(plain, other_file, ending, words):
    path = plain[1] if ending == ".onnx" else other_file("openvino", ending)
    with pytest.raises(ConfigError, match=words):
        load(path, precision="bf16")
