"""What is done to an ONNX graph after the export, on graphs of a few nodes."""

import warnings

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from rle_onestage.errors import PoseError  # noqa: E402
from rle_onestage.export.formats.onnx_graph import drop_unused, fuse_pads, own_biases  # noqa: E402
from rle_onestage.export.quantizing import Seen, quantize, quantized_convs, scale_of  # noqa: E402
from rle_onestage.modeling.backbone.movenet import pool_people  # noqa: E402

RANDOM = np.random.default_rng(0)
SHAPE = [1, 4, 9, 11]


def conv(name, source, weight="w", bias="bias", group=1):
    options = {"kernel_shape": [3, 3], "pads": [1] * 4, "group": group}
    return helper.make_node("Conv", [source, weight, bias], [name], name=name, **options)


def graph(nodes, outputs, **constants):
    constants = {
        "w": RANDOM.normal(size=(4, 4, 3, 3)), "bias": RANDOM.normal(size=4),
        "low": np.array(0.0), "high": np.array(1.0), **constants,
    }  # fmt: skip
    given = [helper.make_tensor_value_info("image", TensorProto.FLOAT, SHAPE)]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in outputs]
    tensors = [
        numpy_helper.from_array(value if value.dtype == np.int64 else value.astype(np.float32), name)
        for name, value in constants.items()
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", given, made, tensors), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    onnx.checker.check_model(model)
    return model


def run(model, image):
    session = runtime.InferenceSession(model if isinstance(model, str) else model.SerializeToString())
    return session.run(None, {"image": image})


def image(seed=0):
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def test_each_convolution_gets_a_bias_of_its_own():
    model = graph([conv("one", "image"), conv("two", "one"), conv("three", "two", bias="c")], ["three"], c=np.ones(4))
    before = run(model, image())
    own_biases(model)
    biases = [node.input[2] for node in model.graph.node]
    assert len(set(biases)) == 3 and {node.input[1] for node in model.graph.node} == {"w"}
    np.testing.assert_array_equal(run(model, image())[0], before[0])


@pytest.mark.parametrize("shared", [False, True])
def test_a_padding_becomes_part_of_its_convolution_alone(shared):
    sizes = np.array([0, 0, 1, 2, 0, 0, 0, 1])
    pad = helper.make_node("Pad", ["image", "sizes"], ["padded"])
    more = [helper.make_node("Relu", ["padded"], ["other"])] if shared else []
    model = graph([pad, conv("made", "padded"), *more], ["made", *(["other"] if shared else [])], sizes=sizes)
    before = run(model, image())
    fuse_pads(model)
    assert ("Pad" in [node.op_type for node in model.graph.node]) == shared
    drop_unused(model)
    assert ("sizes" in [each.name for each in model.graph.initializer]) == shared
    assert {"w", "bias"} <= {each.name for each in model.graph.initializer}
    for ours, theirs in zip(run(model, image()), before):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_convolutions_that_are_named_and_those_of_images_stay_in_float():
    cut = [helper.make_node("Clip", [name, "low", "high"], [f"{name}_cut"], name=f"{name}_clip") for name in "ab"]
    model = graph(
        [conv("a", "image", "v"), cut[0], conv("b", "a_cut"), cut[1]], ["b_cut"], v=RANDOM.normal(size=(4, 4, 3, 3)),
        rgb=RANDOM.normal(size=(4, 3, 3, 3)),
    )  # fmt: skip
    assert [node.output[0] for node in quantized_convs(model, ["v"])] == ["b"]
    model.graph.node[0].input[1] = "rgb"
    assert [node.output[0] for node in quantized_convs(model, [])] == ["b"]


@pytest.mark.parametrize("outputs", [False, True])
def test_8_bits_are_spent_on_what_an_activation_leaves(outputs, tmp_path):
    """What comes out of the convolution is of -100 to 100, and 0 to 1 after the activation."""
    cut = helper.make_node("Clip", ["wide", "low", "high"], ["cut"], name="clip")
    wide, mean = 4 * RANDOM.normal(size=(4, 4, 3, 3)), np.zeros((4, 4, 3, 3))
    mean[range(4), range(4)] = 1 / 9
    model = graph([conv("wide", "image"), cut, conv("out", "cut", "mean")], ["out"], w=wide, mean=mean)
    path = str(tmp_path / "a.onnx")
    onnx.save(model, path)
    quantize(path, [image(seed) for seed in range(4)], exact=["mean"], outputs=outputs)
    error = np.abs(run(path, image(1))[0] - run(model, image(1))[0])
    assert 0 < error.mean() < 0.01
    # What else reads a map gets it as it is, unless convolutions give it in 8 bits.
    nodes = onnx.load(path).graph.node
    rounded = [node.input[0] for node in nodes if node.op_type == "QuantizeLinear"]
    assert rounded == (["image", "cut"] if outputs else ["image"])


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("outputs", [False, True])
def test_rounded_weights_do_not_move_the_mean(outputs, groups, tmp_path):
    """One large weight of each output takes all the levels, and the others, a third of a level each, become 0."""
    weight = np.full((4, 4 // groups, 3, 3), 1 / 3)
    weight[:, :, 1, 1] = 127
    model = graph([conv("out", "image", group=groups)], ["out"], w=weight)
    images = [image(seed) + 5 for seed in range(4)]
    path = str(tmp_path / "a.onnx")
    onnx.save(model, path)
    quantize(path, images, exact=[], outputs=outputs)
    found, expected = (np.mean([run(each, one)[0][..., 1:-1, 1:-1] for one in images]) for each in (path, model))
    lost = 5 * 4 / groups * 8 / 3  # without the correction
    assert abs(found - expected) < 0.1 * lost


def test_zero_is_a_level_of_every_map():
    for low, high in ((0.0, 6.0), (-1.0, 3.0), (-5.0, 0.0), (0.0, 0.0)):
        for signed in (False, True):
            step, zero = scale_of(Seen(low, high, np.zeros(1)), signed=signed)
            levels = np.iinfo(zero.dtype)
            assert (levels.min - int(zero)) * step <= low + step and (levels.max - int(zero)) * step >= high - step
            assert zero == 0 or not signed


def test_a_model_without_such_convolutions_is_refused(tmp_path):
    path = str(tmp_path / "a.onnx")
    onnx.save(graph([conv("out", "image")], ["out"]), path)
    with pytest.raises(PoseError, match="no convolution that can run in 8 bits; leave out --int8"):
        quantize(path, [image()], exact=["w"], outputs=True)


class Pool(torch.nn.Module):
    """What cells see of people, of maps (B, 1, H, W) and (B, C, H, W)."""

    def forward(self, logits, hidden):
        return pool_people(logits, [hidden], 2)[-1]


def test_cells_without_any_heat_are_finite_in_files_too(tmp_path):
    """As on a black image: the sigmoid of such logits is 0 in ONNX Runtime, and its logarithm is infinite."""
    logits, hidden, path = torch.full((1, 1, 8, 8), -200.0), torch.rand(1, 2, 8, 8), str(tmp_path / "pool.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Pool(), (logits, hidden), path, dynamo=False, input_names=["logits", "hidden"])
    found = runtime.InferenceSession(path).run(None, {"logits": logits.numpy(), "hidden": hidden.numpy()})[0]
    np.testing.assert_allclose(found, Pool()(logits, hidden).numpy(), rtol=1e-5, atol=1e-6)
