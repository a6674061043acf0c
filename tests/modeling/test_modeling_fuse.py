"""Batch norms fused into convolutions: the same outputs, and nothing where that cannot be."""

import copy

import pytest
import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config
from torch import nn

from rle_onestage.modeling.backbone.fusion import fuse_batch_norms, fuse_pixel_std

RESNET = [
    "MODEL.BACKBONE.NAME", "build_retinanet_resnet_fpn_backbone", "MODEL.RESNETS.DEPTH", 18,
    "MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.RESNETS.OUT_FEATURES", ["res3", "res4", "res5"],
    "MODEL.FPN.IN_FEATURES", ["res3", "res4", "res5"], "MODEL.FPN.OUT_CHANNELS", 16,
]  # fmt: skip
DECONV = [
    "MODEL.RLE_ONESTAGE.TIMM.OUT_FEATURES", "('p2', 'p3', 'p4')", "MODEL.RLE_ONESTAGE.REFINE.IN_FEATURE", "p2",
    "MODEL.RLE_ONESTAGE.TIMM.FINE_DECONV", True, "MODEL.RLE_ONESTAGE.TIMM.FINE_CHANNELS", 8,
]  # fmt: skip


STD = torch.tensor([50.0, 60.0, 70.0])[:, None, None]


def norms(model):
    return [m for m in model.modules() if isinstance(m, (nn.BatchNorm2d, FrozenBatchNorm2d))]


def trained(model):
    """Statistics and gains as after training: none is 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    for norm in norms(model):
        for tensor, low, high in ((norm.running_mean, -0.3, 0.3), (norm.running_var, 0.5, 2.0),
                                  (norm.weight, 0.5, 1.5), (norm.bias, -0.2, 0.2)):  # fmt: skip
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    return model.eval()


@pytest.fixture(
    scope="module",
    params=[[], RESNET, ["MODEL.RLE_ONESTAGE.TIMM.NAME", "resnet10t"], DECONV],
    ids=["mobilenetv4", "detectron2 resnet", "timm resnet", "deconv"],
)
def model(request):
    torch.manual_seed(0)
    return trained(build_model(tiny_config("MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", 0.0, *request.param)))


def test_all_norms_go_and_people_stay(model):
    state = copy.deepcopy(model.state_dict())
    fused = fuse_batch_norms(model)
    assert norms(model) and norms(fused) == []
    inputs = [make_input(0, [(6, 4, 50, 60, 17)])]
    with torch.no_grad():
        expected, people = (m(inputs)[0]["instances"] for m in (model, fused))
    assert len(people) == len(expected) > 0
    for field in ("scores", "pred_keypoints", "pred_keypoint_sigmas"):
        torch.testing.assert_close(people.get(field), expected.get(field), rtol=1e-3, atol=1e-3)
    # The model that was given is as it was.
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


class Branching(nn.Module):
    """A block whose convolution feeds its norm and something else too."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        middle = self.block[0](x)
        return self.block[1:](middle) + 10 * middle.abs().mean()


def test_a_convolution_that_feeds_something_else_is_left_alone(caplog):
    torch.manual_seed(0)
    model = build_model(tiny_config())
    model.backbone.lateral[0] = Branching(model.backbone.lateral[0])
    trained(model)
    assert fuse_batch_norms(model) is model
    assert "cannot be fused" in caplog.text


@pytest.mark.parametrize("flip", [False, True])
def test_pixels_without_a_division_give_the_same_maps(model, flip):
    fused = fuse_batch_norms(model)
    fused.pixel_std = STD
    assert fuse_pixel_std(fused, flip)
    pixels = torch.randint(0, 256, (1, 3, 64, 96), generator=torch.Generator().manual_seed(0)).float()
    centred = pixels - model.pixel_mean
    with torch.no_grad():
        expected = model.backbone(centred / STD)
        maps = fused.backbone(centred.flip(1) if flip else centred)
    for name, values in expected.items():
        torch.testing.assert_close(maps[name], values, rtol=1e-3, atol=1e-3)


class Twice(nn.Module):
    """A backbone that reads the image beside its convolutions too."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, image):
        return {name: values + image.square().mean() for name, values in self.backbone(image).items()}


def test_a_backbone_that_reads_the_image_elsewhere_stays():
    torch.manual_seed(0)
    model = trained(build_model(tiny_config()))
    model.backbone, model.pixel_std = Twice(model.backbone), STD
    state = copy.deepcopy(model.state_dict())
    assert not fuse_pixel_std(model, flip=False)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_norm_without_a_convolution_before_it_stays():
    torch.manual_seed(0)
    model = build_model(tiny_config())
    model.backbone.lateral[0] = nn.Sequential(nn.BatchNorm2d(model.backbone.lateral[0][0].in_channels),
                                              *model.backbone.lateral[0])  # fmt: skip
    fused = fuse_batch_norms(trained(model))
    assert fused is not model and len(norms(fused)) == 1


def test_the_norm_of_a_transposed_convolution_of_groups_stays():
    model = build_model(tiny_config()).eval()
    width = model.backbone.lateral[0][0].out_channels
    grouped = nn.Sequential(nn.ConvTranspose2d(width, width, 1, groups=width), nn.BatchNorm2d(width))
    model.backbone.lateral[0].append(grouped)
    fused = fuse_batch_norms(trained(model))
    assert norms(fused) == [fused.backbone.lateral[0][-1][1]]
