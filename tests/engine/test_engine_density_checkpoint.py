"""Checkpoints of one density in a model of another, and degrees of freedom that go with their joints."""

import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import tiny_config

from rle_onestage.engine import load_weights
from rle_onestage.engine.checkpoint import slim
from rle_onestage.errors import CheckpointError
from rle_onestage.structures.skeleton import COCO, CROWDPOSE

PREFIX = "MODEL.RLE_ONESTAGE."
FAMILIES = {
    "laplace": ["DENSITY", "laplace"],
    "rle": ["DENSITY", "rle", "PRESET", "laplace"],
    "student": ["DENSITY", "student"],
    "rle_student": ["DENSITY", "rle", "PRESET", "student"],
}


def model_of(family, *options):
    torch.manual_seed(0)
    names = [PREFIX + option if place % 2 == 0 else option for place, option in enumerate(FAMILIES[family])]
    return build_model(tiny_config(*names, *options)).eval()


def trained(family, folder, *, cut=False, joints=COCO.names):
    """A checkpoint whose every weight differs from the start, and its content."""
    model = model_of(family, PREFIX + "NUM_KEYPOINTS", str(len(joints)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    model.eval()
    content = {"model": model.state_dict(), "joints": list(joints)}
    path = str(folder / f"{family}.pth")
    torch.save(slim(content) if cut else content, path)
    return path, content["model"]


@pytest.mark.parametrize(
    "family, of_file, cut",
    [
        ("student", "laplace", False), ("student", "rle", False), ("rle_student", "student", False),
        ("laplace", "student", True), ("rle", "rle_student", False),
    ],
)  # fmt: skip
def test_another_density_is_one_sentence_and_starts_a_training(tmp_path, family, of_file, cut):
    path, weights = trained(of_file, tmp_path, cut=cut)
    reader = model_of(family)
    if cut:  # as every command does that reads such a file
        reader.drop_training_parts()
    with pytest.raises(CheckpointError) as caught:
        load_weights(reader, path, strict=True, joints=COCO.names)
    for words in (path, "its density is another one: set MODEL.RLE_ONESTAGE.DENSITY, PRESET", "MODEL.WEIGHTS"):
        assert words in str(caught.value)
    model = model_of(family)
    own = [value.clone() for value in model.criterion.density.state_dict().values()]
    load_weights(model, path, strict=False, joints=COCO.names)
    assert torch.equal(model.head.offset.weight, weights["head.offset.weight"])
    if cut:
        assert all(map(torch.equal, own, model.criterion.density.state_dict().values()))
    with torch.no_grad():
        for parameter in model.criterion.density.parameters():  # a step of a training
            parameter += 1e-3
    model.train().eval()
    assert torch.allclose(model.decoder.std, model.criterion.density.table()[3])


def test_the_right_density_loads_with_its_tables(tmp_path):
    for family in ("student", "rle_student"):
        whole, weights = trained(family, tmp_path)
        slimmed = str(tmp_path / "slim.pth")
        torch.save(slim({"model": weights, "joints": list(COCO.names)}), slimmed)
        for cut, path in ((False, whole), (True, slimmed)):
            model = model_of(family)
            if cut:
                model.drop_training_parts()
            load_weights(model, path, strict=True, joints=COCO.names)
            assert torch.equal(model.decoder.log_q, weights["decoder.log_q"])
            assert torch.equal(model.eval().decoder.std, weights["decoder.std"])


@pytest.mark.parametrize("family", ["student", "rle_student"])
def test_a_density_of_all_joints_is_that_of_each_group(tmp_path, family):
    """A file of an earlier default is evaluated under a config that leaves the preset to the default."""
    path, weights = trained("rle", tmp_path, cut=True)
    reader = model_of(family)
    reader.drop_training_parts()
    load_weights(reader, path, strict=True, joints=COCO.names)
    of_file = model_of("rle")
    of_file.drop_training_parts()
    load_weights(of_file, path, strict=True, joints=COCO.names)
    assert len(reader.decoder.log_q) > 1 == len(weights["decoder.log_q"])
    for level in (0.5, 0.95):
        found, expected = (model.decoder.error_density().half_width(level) for model in (reader, of_file))
        torch.testing.assert_close(found, expected.expand_as(found))
    torch.testing.assert_close(reader.decoder.folded_nodes[3:4], of_file.decoder.folded_nodes)


def test_degrees_of_freedom_go_with_their_joints(tmp_path):
    path, weights = trained("student", tmp_path)
    model = model_of("student", PREFIX + "NUM_KEYPOINTS", str(CROWDPOSE.num_joints))
    start = model.criterion.density.preset.raw.detach().clone()
    load_weights(model, path, strict=False, joints=CROWDPOSE.names)
    found = model.criterion.density.preset.raw
    for place, name in enumerate(CROWDPOSE.names):
        known = name in COCO.names
        expected = weights["criterion.density.preset.raw"][COCO.names.index(name)] if known else start[place]
        assert found[place] == expected
    model.eval()
    assert torch.equal(model.decoder.log_q, model_tables(model))


def model_tables(model):
    """The table of the log-density, from the present weights."""
    decoder = model.decoder
    grid = torch.stack([torch.cartesian_prod(*axes) for axes in decoder.axis])
    return model.criterion.density.reported_log_q(grid).view_as(decoder.log_q)
