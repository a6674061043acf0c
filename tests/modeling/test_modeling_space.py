"""Depth in the model: off it changes nothing; on, it is learned, and comes out in millimetres with honest sigmas."""

import logging

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from fvcore.nn import FlopCountAnalysis
from modeling_toys import make_input, tiny_config
from space_toys import CAMERA, standing

from rle_onestage.engine.checkpoint.weights import load_weights
from rle_onestage.errors import CheckpointError
from rle_onestage.modeling.density import build_density
from rle_onestage.modeling.space.criterion import DepthCriterion
from rle_onestage.modeling.space.decoding import PeopleInSpace, SpaceDecoder
from rle_onestage.structures.error_density import LEVELS
from rle_onestage.structures.root import root_weights
from rle_onestage.structures.skeleton import COCO, H36M

ON = ("MODEL.RLE_ONESTAGE.DEPTH.ENABLED", "True", "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0")
PEOPLE = [(4, 4, 40, 60, 17), (30, 10, 60, 50, 9)]


def build(*options, seed=0):
    torch.manual_seed(seed)
    return build_model(tiny_config(*options))


def batch(depth=True):
    inputs = [make_input(1, PEOPLE), make_input(2, [])]
    if depth:
        for x in inputs:
            people = x["instances"]
            people.gt_depth = 5 * torch.randn(len(people), 17, generator=torch.Generator().manual_seed(3))
            people.gt_pixel_size = torch.full((len(people),), 30.0)
    return inputs


def losses_of(model, inputs):
    model.train()
    with EventStorage():
        return model(inputs)


def test_off_there_is_nothing_of_it():
    off, on = build(), build(*ON)
    assert not [name for name in off.state_dict() if "depth" in name or "space" in name]
    own = {name for name in on.state_dict() if name not in off.state_dict()}
    assert own and all(any(part in name for part in (".depth.", ".space.")) for name in own)
    # Labels of depth are no matter to it.
    one, other = losses_of(off, batch()), losses_of(off, batch(depth=False))
    assert all(torch.equal(one[name], other[name]) for name in one) and not any("depth" in name for name in one)
    off.eval()
    with torch.no_grad():
        fields = off(batch())[0]["instances"].get_fields()
    assert not [name for name in fields if "3d" in name or "pixel_size" in name]


def test_all_of_it_learns():
    model = build(*ON)
    losses = losses_of(model, batch())
    assert {"loss_depth", "loss_depth1", "loss_size"} <= set(losses)
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if any(part in name for part in ("head.depth", "refinement.depth", "criterion.space")):
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    "density",
    [
        "rle",
        "l1",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("laplace", "student", "flow", "rle_released")),
    ],
)
def test_a_training_finds_depth_and_size(density):
    """Depth that follows from where a joint is in its box, and the size from how large that is."""
    model = build(*ON, "MODEL.RLE_ONESTAGE.DENSITY", density)
    inputs = batch()
    people = inputs[0]["instances"]
    share = torch.linspace(-1, 1, 17)
    people.gt_depth = share[None] * torch.tensor([[10.0], [20.0]])
    people.gt_pixel_size = torch.tensor([20.0, 50.0])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    first = None
    for _ in range(60):
        losses = losses_of(model, inputs)
        first = first or {name: value.item() for name, value in losses.items()}
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert losses["loss_depth1"].item() < first["loss_depth1"] - 0.2 and losses["loss_size"].item() < first["loss_size"]


def test_joints_and_people_without_depth_teach_none():
    model, inputs = build(*ON), batch()
    people = inputs[0]["instances"]
    whole = losses_of(model, inputs)
    people.gt_depth[0, 3], people.gt_depth[1], people.gt_pixel_size[1] = np.nan, np.nan, np.nan
    part = losses_of(model, inputs)
    assert all(value.isfinite() for value in part.values())
    for name in ("loss_depth", "loss_depth1", "loss_size"):
        assert part[name] != whole[name]
    people.gt_depth[:] = np.nan
    assert losses_of(model, inputs)["loss_depth1"] == 0
    none = losses_of(model, batch(depth=False))
    assert none["loss_depth"] == none["loss_depth1"] == none["loss_size"] == 0  # in every process of a training
    sum(none.values()).backward()  # every parameter has its gradient all the same
    assert all(p.grad is not None for p in model.parameters())


def test_the_pelvis_itself_teaches_no_depth(caplog):
    root = root_weights(H36M.names)[0].tolist()
    assert DepthCriterion(density=build_density("rle", dims=1), root=root, flow_warmup=0).teaches.tolist() == [
        name != "pelvis" for name in H36M.names
    ]
    with caplog.at_level(logging.WARNING):
        build(*ON, "MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", "5")
    assert "depth is relative to the middle of all joints" in caplog.text


def answers(model, **given):
    model.eval()
    with torch.no_grad():
        return model([{**make_input(1, []), **given}])[0]["instances"]


def test_nobody_hears_of_depth_that_nobody_taught(tmp_path):
    model = build(*ON)
    assert not model.tells_depth and not answers(model).has("pred_keypoints_3d")
    losses_of(model, batch())
    people = answers(model)
    assert model.tells_depth and people.pred_keypoints_3d.shape == (len(people), 17, 3)
    assert (people.pred_keypoint_3d_sigmas > 0).all() and (people.pred_pixel_sizes > 0).all()
    # Weights without depth: the model says none, and the other way round.
    plain = ON[2:]
    for options, other in ((ON, plain), (plain, ON)):
        path = tmp_path / f"{len(options)}.pth"
        source = build(*options, seed=1)
        if options == ON:
            losses_of(source, batch())
        source.eval()
        torch.save({"model": source.state_dict()}, path)
        target = build(*other)
        load_weights(target, str(path), strict=True)
        assert not answers(target).has("pred_keypoints_3d")
        assert torch.equal(answers(target).pred_keypoints, answers(source).pred_keypoints)
    # A part of it is an error.
    state = build(*ON).state_dict()
    del state["head.depth.size.bias"]
    torch.save({"model": state}, path)
    with pytest.raises(CheckpointError, match="head.depth"):
        load_weights(build(*ON), str(path), strict=True)


def test_millimetres_do_not_depend_on_the_size_of_the_output():
    model = build(*ON)
    losses_of(model, batch())
    small, large = answers(model), answers(model, height=128, width=128)
    assert torch.allclose(small.pred_keypoints_3d, large.pred_keypoints_3d, atol=1e-2)
    assert torch.allclose(small.pred_keypoint_3d_sigmas, large.pred_keypoint_3d_sigmas, rtol=1e-3)
    assert torch.allclose(small.pred_pixel_sizes, 2 * large.pred_pixel_sizes)
    kept = detector_postprocess(small, 128, 128)  # Detectron2's own, which stock tools call
    assert torch.equal(kept.pred_keypoints_3d, small.pred_keypoints_3d)
    half = answers(build(*ON, "MODEL.RLE_ONESTAGE.TEST.HALF_SIZE_FROM", "16.0"))
    assert not half.has("pred_keypoints_3d")


def test_the_half_size_look_has_depth_too():
    model = build(*ON, "MODEL.RLE_ONESTAGE.TEST.HALF_SIZE_FROM", "16.0")
    losses_of(model, batch())
    people = answers(model)
    assert people.pred_keypoints_3d.isfinite().all()
    space = PeopleInSpace(*(torch.ones(1, 2, *rest) for rest in ((17,), (17,), (), ())))
    twice = space.at_double_size()
    assert (twice.depth == 2).all() and (twice.pixel_size == 0.5).all()  # the same millimetres


def in_space(points, *, camera, sigma_px=0.0, depth_sigma=0.0, size_sigma=0.0, shift=None):
    """What the decoder makes of joints in the camera's axes that a network sees exactly."""
    root = root_weights(COCO.names)[0]
    middle = root @ points
    decoder = SpaceDecoder(group=[0] * 17, root=root.tolist()).double()
    seen = camera or CAMERA
    size = middle[2] / seen.mean_focal
    pixels = torch.tensor(seen.project(points))[None]
    depth = torch.tensor((points[:, 2] - middle[2]) / size)[None]
    people = Instances((80, 96))
    people.pred_boxes = Boxes(torch.zeros(1, 4))
    noise = torch.zeros(3, 1, 17) if shift is None else shift
    people.pred_keypoints = torch.cat([pixels + noise[:2].permute(1, 2, 0), torch.ones(1, 17, 1)], -1).double()
    people.pred_keypoint_sigmas = torch.full((1, 17, 2), sigma_px).double()
    told = PeopleInSpace(depth + noise[2], torch.full((1, 17), depth_sigma).double(), torch.tensor([size]),
                         torch.tensor([size_sigma]))  # fmt: skip
    decoder.to_fields(people, told, torch.ones(2).double(), camera)
    return people


OF_OBLONG_PIXELS = CAMERA._replace(focal=(1.2 * CAMERA.focal[0], CAMERA.focal[1]))


@pytest.mark.parametrize("camera", [CAMERA, OF_OBLONG_PIXELS])
def test_joints_that_are_seen_exactly_come_out_where_they_are(camera):
    points, root = standing(), root_weights(COCO.names)[0]
    people = in_space(points, camera=camera)
    # The root is the middle of the hips' pixels: the middle of the hips, but for the difference of their depths.
    assert np.allclose(people.pred_keypoints_3d[0] + people.pred_roots_3d[0], points, atol=6)
    assert np.allclose(people.pred_roots_3d[0], root @ points, atol=6)
    assert np.allclose(people.pred_keypoints_3d[0, :, 2], (points - root @ points)[:, 2])
    # Without a camera, without perspective: right as far as depth is small against the distance.
    far = standing(distance=50_000.0)
    people = in_space(far, camera=None)
    assert np.allclose(people.pred_keypoints_3d[0], far - root @ far, atol=6) and not people.has("pred_roots_3d")


@pytest.mark.parametrize("camera", [None, CAMERA, OF_OBLONG_PIXELS])
def test_sigmas_are_the_spread_of_what_comes_out(camera):
    points = standing()
    generator = torch.Generator().manual_seed(0)
    shifts = torch.randn(4000, 3, 1, 17, generator=generator).double() * torch.tensor([0.8, 0.8, 2.0]).view(3, 1, 1)
    rows = torch.stack([in_space(points, camera=camera, shift=s).pred_keypoints_3d[0] for s in shifts[:1500]])
    told = in_space(points, camera=camera, sigma_px=0.8, depth_sigma=2.0).pred_keypoint_3d_sigmas[0]
    assert np.allclose(rows.std(0), told, rtol=0.12)
    # The error of the size is that of all lengths at once.
    with_size = in_space(points, camera=camera, size_sigma=0.1)
    assert np.allclose(with_size.pred_keypoint_3d_sigmas[0], 0.1 * with_size.pred_keypoints_3d[0].abs())


def test_a_pelvis_is_at_its_own_place():
    decoder = SpaceDecoder(group=[0] * 17, root=root_weights(H36M.names)[0].tolist())
    people = Instances((80, 96))
    people.pred_keypoints, people.pred_keypoint_sigmas = torch.rand(2, 17, 3) * 50, torch.ones(2, 17, 2)
    told = PeopleInSpace(torch.ones(2, 17), torch.ones(2, 17), torch.ones(2) * 20, torch.ones(2) * 0.1)
    decoder.to_fields(people, told, torch.ones(2), CAMERA)
    assert (people.pred_keypoints_3d[:, 0] == 0).all() and (people.pred_keypoint_3d_sigmas[:, 0] == 0).all()
    assert (people.pred_keypoint_3d_sigmas[:, 1:] > 0).all()


def test_intervals_are_those_of_the_density_until_a_calibration():
    model = build(*ON, "MODEL.RLE_ONESTAGE.DENSITY", "laplace")
    density = model.decoder.space_density()
    for level in (0.5, 0.8, 0.95):  # of a Laplace density of unit variance
        assert density.half_width(level)[:, 2].tolist() == pytest.approx(
            [-np.log(1 - level) / np.sqrt(2)] * 17, rel=0.02
        )
    widths = torch.linspace(0.1, 3, len(LEVELS)).expand(17, 3, -1)
    model.decoder.space.set_correction(torch.full((17, 3), 0.5), widths)
    assert model.decoder.space_density().half_width(LEVELS[4]).unique().item() == pytest.approx(widths[0, 0, 4].item())
    losses_of(model, batch())
    with torch.no_grad():
        model.head.depth.joint.bias += 0.1
    model.eval()
    assert not model.decoder.space.correction.any()  # what says the scale has changed


def test_depth_can_be_added_to_a_model_that_stays_as_it_is():
    """Also its correction in the plane, which a training of depth alone says nothing of."""
    model = build(*ON, "SOLVER.TRAIN_ONLY", "['head.depth.', 'refiner.refinement.depth.', 'criterion.space.']")
    model.decoder.set_correction(torch.full((17,), 0.3), torch.ones(17), torch.ones(17, len(LEVELS)))
    before = answers(model)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    for _ in range(3):
        losses = losses_of(model, batch())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    after = answers(model)
    for name, value in before.get_fields().items():
        value, now = (x.tensor if isinstance(x, Boxes) else x for x in (value, after.get(name)))
        assert torch.equal(value, now), name
    assert after.has("pred_keypoints_3d") and (model.decoder.correction[:, 0] == 0.3).all()


def test_it_costs_the_same_under_every_density():
    counts = {}
    for density in ("rle", "l1"):
        model = build(*ON, "MODEL.RLE_ONESTAGE.DENSITY", density)
        model.head.depth.taught.fill_(1)
        model.eval()
        with torch.no_grad():
            counter = FlopCountAnalysis(_Find(model), torch.rand(1, 3, 64, 64))
            counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            counts[density] = counter.total()
    assert counts["rle"] == counts["l1"] > 0


class _Find(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model.find(images).space.depth
