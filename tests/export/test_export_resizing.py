"""The resize of exported files, which runtimes compute as this package does."""

import functools
import warnings

import numpy as np
import pytest
import torch
from export_toys import photo

from rle_onestage.data.transforms.model_input import resize_for_model
from rle_onestage.export.resizing import BAND, Axis, resize_to_canvas, taps_of_band

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


class Resize(torch.nn.Module):
    """The resize of a graph alone, to 227 x 319 pixels."""

    def forward(self, image):
        axes = []
        for axis, length in enumerate((227, 319)):
            given, wanted = (torch.full((), side, dtype=torch.int64) for side in (image.shape[axis], length))
            axes.append(Axis(given, wanted, -(-length // BAND), taps_of_band(given, wanted)))
        return resize_to_canvas(image[None], *axes)[0, :, :227, :319]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_runtimes_resize_to_the_same_grey_levels(runtime, tmp_path):
    """To the last one: a level more or less at a pixel is enough to move joints."""
    library, path = pytest.importorskip(runtime), str(tmp_path / f"{runtime}.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Resize(), (torch.from_numpy(photo(50, 70)),), path, dynamo=False, opset_version=18, input_names=["image"],
            dynamic_axes={"image": {0: "height", 1: "width"}},
        )  # fmt: skip
    if runtime == "openvino":
        run = library.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    else:
        session = library.InferenceSession(path, providers=["CPUExecutionProvider"])
        run = functools.partial(session.run, None)
    generator = np.random.default_rng(0)
    for height, width in ((200, 280), (131, 243), (67, 313), (599, 387), (801, 1321), (454, 638)):
        image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        found = run({"image": image})[0].transpose(1, 2, 0)
        assert (found == resize_for_model(image, 227, 319)).all(), (height, width)
