"""Locations, the parametrisation of boxes, joints and sigmas, sampling, and suppression."""

import math

import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config
from torch.nn import functional as F

from rle_onestage.modeling.codec import ScaleCodec, decode_boxes, decode_joints, encode_boxes, encode_joints
from rle_onestage.modeling.locations import make_locations
from rle_onestage.modeling.nms import box_overlap, peaks, pose_overlap, suppress
from rle_onestage.modeling.refinement.sampling import FlatMap, sample_bilinear
from rle_onestage.structures.skeleton import COCO

FORMS = ["softplus", "sigmoid", "box"]


def test_locations_by_hand():
    locations = make_locations([(2, 3), (1, 1)], [8, 16], torch.device("cpu"))
    assert locations.xy.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8]]
    assert locations.stride.tolist() == [8] * 6 + [16]
    assert locations.level.tolist() == [0] * 6 + [1]
    assert locations.shapes == [(2, 3), (1, 1)]


def test_boxes_and_joints_round_trip():
    xy, stride = torch.tensor([[12.0, 20.0], [4.0, 4.0]]), torch.tensor([8.0, 16.0])
    boxes = torch.tensor([[4.0, 4.0, 28.0, 60.0], [-3.0, 2.0, 50.0, 7.0]])
    assert encode_boxes(boxes, xy, stride)[0].tolist() == [1, 2, 2, 5]
    assert torch.allclose(decode_boxes(encode_boxes(boxes, xy, stride), xy, stride), boxes)
    joints = torch.randn(2, 17, 2) * 50
    assert torch.allclose(decode_joints(encode_joints(joints, xy, stride), xy, stride), joints, atol=1e-4)
    each = torch.randn(2, 17, 2) * 50
    assert torch.allclose(decode_joints(encode_joints(joints, each, stride), each, stride), joints, atol=1e-4)
    assert decode_joints(torch.ones(1, 1, 2), xy[:1], stride[:1]).tolist() == [[[20, 28]]]


def test_decoding_is_in_float32():
    offset = torch.full((1, 1, 2), 1.0, dtype=torch.bfloat16)
    joints = decode_joints(offset, torch.tensor([[501.0, 777.0]]), torch.tensor([1.0]))
    assert joints.dtype == torch.float32 and joints.tolist() == [[[502, 778]]]


@pytest.mark.parametrize("form", FORMS)
def test_sigma_round_trip_and_start(form):
    codec = ScaleCodec(form=form, floor=0.02, init=0.5)
    unit = codec.unit(torch.tensor([8.0, 16.0]), torch.tensor([[0, 0, 160.0, 40.0], [0, 0, 64.0, 64.0]]))
    assert unit.tolist() == pytest.approx([5.0, 4.0] if form == "box" else [8.0, 16.0])
    start = codec.decode(torch.zeros(2, 1, 2), unit)
    assert torch.allclose(start, 0.5 * unit[:, None, None].expand(2, 1, 2), rtol=0.05)
    sigma = torch.rand(2, 17, 2) * 3 + 0.5  # above the floor of 0.02 strides of 16 pixels
    assert torch.allclose(codec.decode(codec.encode(sigma, unit), unit), sigma, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_sigma_has_a_floor_and_a_gradient(form):
    codec = ScaleCodec(form=form, floor=0.02, init=2.0)
    raw = torch.tensor([[[-1000.0, 50.0]]], requires_grad=True)
    sigma = codec.decode(raw, torch.tensor([10.0]))
    assert sigma[0, 0, 0].item() == pytest.approx(0.2)
    assert sigma[0, 0, 1].item() == pytest.approx(10.2) if form == "sigmoid" else sigma[0, 0, 1] > 500
    sigma.sum().backward()
    assert torch.isfinite(raw.grad).all()


@pytest.mark.parametrize("form", FORMS)
def test_one_sigma_of_a_joint(form):
    """The same for its coordinates, two or three, with the mean of their gradients; alike raw numbers mean the same."""
    each, joint = (ScaleCodec(form=form, floor=0.02, init=0.5, per=per) for per in ("coordinate", "joint"))
    unit = torch.tensor([8.0, 16.0])
    raw = torch.randn(2, 5, 3, requires_grad=True)
    sigma = joint.decode(raw, unit)
    assert torch.equal(sigma, sigma[..., :1].expand(2, 5, 3))
    mean = raw.detach().mean(-1, keepdim=True).expand(2, 5, 3)
    assert torch.allclose(sigma, each.decode(mean, unit))
    assert torch.allclose(joint.decode(joint.encode(sigma, unit), unit), sigma, rtol=1e-3)
    sigma[..., 0].sum().backward()
    assert torch.allclose(raw.grad, raw.grad[..., :1].expand(2, 5, 3)) and raw.grad.abs().min() > 0


def test_a_model_with_one_sigma_of_a_joint():
    options = ["MODEL.RLE_ONESTAGE.SCALE.PER", "joint", "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0"]
    torch.manual_seed(0)
    model = build_model(tiny_config(*options)).train()
    sum(model([make_input(0, [(6, 4, 50, 60, 17)])]).values()).backward()
    assert model.refiner.refinement.output.grad.isfinite().all() and model.head.scale.weight.grad.abs().sum() > 0
    sigmas = model.eval()([make_input(1, [])])[0]["instances"].pred_keypoint_sigmas
    assert len(sigmas) and torch.allclose(sigmas[..., 0], sigmas[..., 1], rtol=1e-2)


def test_sampling_equals_grid_sample():
    feature = torch.randn(2, 5, 6, 9)
    image = torch.tensor([0, 1, 1])
    points = torch.rand(3, 7, 2) * torch.tensor([9 * 8 + 40.0, 6 * 8 + 40.0]) - 20  # also outside
    ours = sample_bilinear(FlatMap.of(feature), image, points, 8)
    grid = points / torch.tensor([9 * 8.0, 6 * 8.0]) * 2 - 1
    expected = F.grid_sample(feature[image], grid[:, None], align_corners=False, padding_mode="border")
    assert torch.allclose(ours, expected[:, :, 0].permute(0, 2, 1), atol=1e-5)


def test_sampling_of_nobody_and_of_one_cell():
    feature = torch.randn(1, 3, 1, 1, requires_grad=True)
    flat = FlatMap.of(feature)
    nobody = sample_bilinear(flat, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4, 2), 8)
    assert nobody.shape == (0, 4, 3)
    one = sample_bilinear(flat, torch.zeros(1, dtype=torch.int64), torch.tensor([[[1e6, -1e6]]]), 8)
    assert torch.allclose(one[0, 0], feature[0, :, 0, 0])
    one.sum().backward()
    assert torch.isfinite(feature.grad).all()


def sequential(overlap, scores, threshold):
    """The textbook's greedy suppression of one image."""
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if all(overlap[j][i] <= threshold for j in kept):
            kept.append(i)
    return [i in kept for i in range(len(scores))]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7])
def test_suppression_equals_the_sequential_one(threshold):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(4, 60, 2, generator=generator) * 30
    boxes = torch.cat([corner, corner + 5 + torch.rand(4, 60, 2, generator=generator) * 30], 2)
    scores = (torch.rand(4, 60, generator=generator) * 10).round() / 10  # with ties
    overlap = box_overlap(boxes)
    kept = suppress(overlap, scores, threshold)
    for row in range(4):
        assert kept[row].tolist() == sequential(overlap[row].tolist(), scores[row].tolist(), threshold)
    assert 0 < kept.sum() < kept.numel()


def test_suppression_of_a_chain():
    """Each suppresses the next only: every second one stays."""
    overlap = torch.eye(7)
    overlap[range(6), range(1, 7)] = overlap[range(1, 7), range(6)] = 0.9
    kept = suppress(overlap[None], torch.arange(7, 0, -1.0)[None], 0.5)
    assert kept[0].tolist() == [True, False, True, False, True, False, True]


def test_overlaps_equal_torchvisions_and_pairwise_oks():
    from torchvision.ops import box_iou

    boxes = torch.tensor([[[0, 0, 10, 10.0], [5, 5, 15, 15], [2, 2, 8, 8], [100, 100, 100, 100]]])
    assert torch.allclose(box_overlap(boxes)[0], torch.nan_to_num(box_iou(boxes[0], boxes[0])), atol=1e-6)
    joints = torch.rand(1, 3, 17, 2) * 10
    area = torch.tensor([[100.0, 400.0, 900.0]])
    oks = pose_overlap(joints, area, torch.tensor(COCO.oks_sigmas))
    assert torch.equal(oks, oks.transpose(1, 2))
    assert torch.allclose(oks.diagonal(dim1=1, dim2=2), torch.ones(1, 3))
    distance2 = (joints[0, 0] - joints[0, 1]).square().sum(-1)
    expected = sum(math.exp(-d / (2 * 100 * (2 * s) ** 2)) for d, s in zip(distance2.tolist(), COCO.oks_sigmas)) / 17
    assert oks[0, 0, 1].item() == pytest.approx(expected, rel=1e-4)  # on the smaller area


def test_peaks():
    heat = torch.tensor([[0.1, 0.2, 0.1], [0.3, 0.1, 0.9], [0.2, 0.1, 0.4]])[None, None]
    assert peaks(heat)[0, 0].int().tolist() == [[0, 0, 0], [1, 0, 1], [0, 0, 0]]
