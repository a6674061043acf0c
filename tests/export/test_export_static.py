"""Static files: images of one size, nothing resized in the file, and any image for who loads it."""

import numpy as np
import pytest
import torch
from export_toys import SIDE, photo, toy

from rle_onestage.errors import ConfigError
from rle_onestage.export import ExportOptions, describe, export_model, load, write_server
from rle_onestage.export.graph import InputSize, PeopleGraph
from rle_onestage.export.parity import OUTPUTS, pytorch
from rle_onestage.predictor import Predictor

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CANVAS = (64, SIDE)
STATIC = ExportOptions(canvas=CANVAS, static=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("static")


@pytest.fixture(scope="module")
def exported(folder):
    """The config of a model that looks twice, and its static ONNX file."""
    cfg, path = toy(folder, "movenet"), str(folder / "static.onnx")
    made = export_model(cfg, path, images=[photo(60, 40)], options=STATIC)
    assert made.parity.found > 0 and made.padding > 0
    return cfg, path


def expected(cfg, image):
    """PyTorch's people of an image that has the size of the canvas."""
    return pytorch(Predictor(cfg), InputSize(SIDE, SIDE, CANVAS), image)


def assert_close(found, wanted):
    for name in OUTPUTS:
        if name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], rtol=2e-3, atol=0.02, err_msg=name)


@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("style", ["fcos", "movenet"])  # BGR and one look; RGB and two
def test_the_network_sees_what_it_sees_of_an_image_that_is_resized(style, rgb, folder):
    model = Predictor(toy(folder, style)).model
    image = torch.from_numpy(photo(*CANVAS)[None])
    resized, as_it_is = (
        PeopleGraph(model, InputSize(SIDE, SIDE, CANVAS, static), rgb=rgb).canvas(image) for static in (False, True)
    )
    assert (resized[1] is None) == (as_it_is[1] is None) == (style == "fcos")
    for one, other in zip(resized, as_it_is):
        if one is not None:
            torch.testing.assert_close(one, other)


def test_a_static_file_has_fixed_shapes_and_pytorchs_people(exported):
    onnxruntime = pytest.importorskip("onnxruntime")
    cfg, path = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [*CANVAS, 3]
    shapes = {output.name: output.shape for output in session.get_outputs()}
    assert shapes["keypoints"] == ["people", 17, 3] and shapes["covariances"] == ["people", 17, 2, 2]
    assert shapes["scores"] == ["people"] and shapes["boxes"] == ["people", 4]
    said = describe(path)["size"]
    assert said["static"] is True and said["canvas"] == list(CANVAS)
    assert cfg.INPUT.FORMAT == "RGB" and cfg.MODEL.PIXEL_MEAN == [103.53, 116.28, 123.675]
    assert said["colour"] == [124, 116, 104]  # in BGR, as the images of the file
    image = photo(*CANVAS, seed=2)
    assert_close(load(path).run(image), expected(cfg, image))
    with pytest.raises(Exception, match="(?i)dimension"):
        load(path).run(photo(SIDE, SIDE))


@pytest.mark.parametrize("size", [(32, 48), (200, 90), (63, 211), (64, SIDE)])
def test_any_image_is_fitted_and_people_are_in_its_pixels(size, exported):
    cfg, path = exported
    image, file = photo(*size, seed=3), load(path)
    found = file(image)
    inner = InputSize(SIDE, SIDE, CANVAS).resize(image).shape
    canvas = np.empty((*CANVAS, 3), np.uint8)
    canvas[:] = (
        describe(path)["size"]["colour"][::-1] if file.image_format == "RGB" else describe(path)["size"]["colour"]
    )
    canvas[: inner[0], : inner[1]] = InputSize(SIDE, SIDE, CANVAS).resize(image)
    wanted, (x, y) = expected(cfg, canvas), (size[1] / inner[1], size[0] / inner[0])
    limits = np.array([size[1], size[0]] * 2)
    boxes = np.clip(wanted["boxes"] * [x, y, x, y], 0, limits)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
    assert 0 < len(found) == kept.sum() and found.image_size == size
    tolerance = {"rtol": 2e-3, "atol": 0.05 * max(x, y)}
    np.testing.assert_allclose(found.pred_boxes.tensor, boxes[kept], **tolerance)
    np.testing.assert_allclose(found.scores, wanted["scores"][kept], rtol=2e-3)
    np.testing.assert_allclose(found.pred_keypoints[..., :2], wanted["keypoints"][kept][..., :2] * [x, y], **tolerance)
    np.testing.assert_allclose(found.pred_keypoint_sigmas, wanted["sigmas"][kept] * [x, y], **tolerance)
    np.testing.assert_allclose(found.pred_areas, wanted["areas"][kept] * x * y, rtol=1e-2)
    # The standard deviations of a covariance are the sigmas, in pixels of the image too.
    diagonal = found.pred_keypoint_covariances.diagonal(dim1=-2, dim2=-1)
    np.testing.assert_allclose(diagonal.sqrt(), found.pred_keypoint_sigmas, rtol=1e-3)


def test_what_lies_beside_the_image_is_nobody(exported):
    """People of the canvas's padding alone are left out, those at the border are cut."""
    file = load(exported[1])
    boxes = np.array([[60, 0, 90, 30], [10, 10, 60, 40]], np.float32)
    made = {"boxes": boxes, "scores": np.ones(2, np.float32), "keypoints": np.ones((2, 17, 3), np.float32)}
    made |= {"sigmas": np.ones((2, 17, 2), np.float32), "covariances": np.ones((2, 17, 2, 2), np.float32)}
    file.run = lambda image: dict(made, presence=made["keypoints"][..., 0], areas=made["scores"])
    found = file(np.zeros((128, 80, 3), np.uint8))  # twice as large as its 64 x 40 pixels on the canvas
    assert found.pred_boxes.tensor.tolist() == [[20, 20, 80, 80]] and found.pred_areas.tolist() == [4]
    assert found.pred_keypoint_covariances[0, 0].tolist() == [[4, 4], [4, 4]]


def test_images_of_several_sizes_share_a_batch(folder):
    cfg, path = toy(folder, "fcos"), str(folder / "batch.onnx")
    export_model(cfg, path, images=[photo()], options=STATIC._replace(batch=2))
    file = load(path)
    shapes, rows = {each.name: each.shape for each in file.run.session.get_outputs()}, file.metadata["max_people"]
    assert shapes["boxes"] == ["batch", rows, 4] and shapes["sigmas"] == ["batch", rows, 17, 2]
    assert shapes["count"] == ["batch"]
    images = [photo(50, 70), photo(*CANVAS, seed=1), photo(300, 20, seed=2)]
    calls = []
    run, file.run = file.run, lambda batch: calls.append(batch.shape) or run(batch)
    together = file.batch(images)
    assert calls == [(2, *CANVAS, 3)] * 2
    for people, image in zip(together, images):
        torch.testing.assert_close(people.scores, file(image).scores)
        assert people.image_size == image.shape[:2]
    write_server("triton", str(folder / "served"), path)
    config = (folder / "served" / "people" / "config.pbtxt").read_text()
    assert "max_batch_size: 2\n" in config and f"dims: [ {CANVAS[0]}, {CANVAS[1]}, 3 ]" in config


SLOW = pytest.param("torch_export", ".pt2", marks=pytest.mark.slow)


@pytest.mark.parametrize("name, ending", [("openvino", ".xml"), ("torchscript", ".pt"), SLOW])
def test_other_formats_can_be_static(name, ending, folder, exported):
    if name == "openvino":
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
    path, image = str(folder / f"static{ending}"), photo(*CANVAS, seed=2)
    export_model(exported[0], path, name, images=[image], options=STATIC)
    assert_close(load(path).run(image), expected(exported[0], image))
    assert describe(path) == describe(exported[1])


def test_a_static_file_needs_a_size(folder, exported):
    with pytest.raises(ConfigError, match="--static needs the size"):
        export_model(exported[0], str(folder / "no.onnx"), images=[photo()], options=ExportOptions(static=True))


def test_a_file_for_rgb_and_one_in_8_bits_are_fitted_to_as_well(folder):
    cfg, image = toy(folder, "fcos"), photo(50, 70, seed=4)
    made = {}
    for name, options in (("bgr", {}), ("rgb", {"rgb": True}), ("int8", {"calibration": [photo(50, 70), photo()]})):
        path = str(folder / f"{name}.onnx")
        export_model(cfg, path, images=[photo()], options=STATIC._replace(**options))
        made[name] = load(path)(image)
    assert describe(str(folder / "rgb.onnx"))["size"]["colour"] == [124, 116, 104]
    torch.testing.assert_close(made["rgb"].pred_keypoints, made["bgr"].pred_keypoints, rtol=1e-3, atol=0.01)
    assert made["int8"].scores[0].item() == pytest.approx(made["bgr"].scores[0].item(), abs=0.1)
