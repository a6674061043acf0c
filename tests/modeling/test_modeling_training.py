"""Training steps on batches that are awkward, and the contract of the outputs."""

import copy

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from modeling_toys import STYLES, make_input, tiny_config

from rle_onestage.errors import ConfigError
from rle_onestage.modeling import likelihood
from rle_onestage.modeling.layout import use_strides_of_gradients
from rle_onestage.modeling.structures import Poses
from rle_onestage.modeling.targets import Matched

PERSON = (6, 4, 50, 60)
# Each a batch; a person is a box and how many of its joints are labelled.
BATCHES = {
    "some images without people": [[(*PERSON, 17)], []],
    "no image with people": [[], []],
    "no labelled joint": [[(*PERSON, 0)], [(20, 20, 60, 50, 0)]],
    "one joint only": [[(*PERSON, 1)], []],
    "one pixel small": [[(30.2, 30.3, 31.0, 31.2, 17)], [(*PERSON, 5)]],
    "larger than the image": [[(-200, -150, 260, 220, 17)], []],
    "two at the same place": [[(*PERSON, 17), (*PERSON, 17)], [(*PERSON, 3)]],
}
DENSITIES = ["rle", "rle_released", "laplace", "gaussian", "student", "flow", "l1", "l2"]


def make_model(style, *options):
    torch.manual_seed(0)
    return build_model(tiny_config(*options, style=style)).train()


def check_step(model, batch):
    model.zero_grad(set_to_none=True)
    losses = model(batch)
    assert all(torch.isfinite(loss) and loss.dim() == 0 for loss in losses.values()), losses
    sum(losses.values()).backward()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    assert [n for n, p in model.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()] == []
    return losses


@pytest.fixture(scope="module", params=STYLES)
def model_of_style(request):
    return make_model(request.param)


@pytest.mark.parametrize("name", BATCHES)
def test_awkward_batches_train(model_of_style, name):
    batch = [make_input(i, people) for i, people in enumerate(BATCHES[name])]
    losses = check_step(model_of_style, batch)
    people_with_joints = any(p[4] for people in BATCHES[name] for p in people)
    poses = [v for k, v in losses.items() if k.startswith(("loss_pose", "loss_refine"))]
    assert all((loss != 0) == people_with_joints for loss in poses)


def test_coarser_maps_are_sampled_at_the_joints():
    """Every map that the refinement is given moves its poses, and learns."""
    model = make_model("fcos", "MODEL.RLE_ONESTAGE.REFINE.CONTEXT_FEATURES", "['p4']")
    check_step(model, [make_input(0, [(*PERSON, 17)])])
    assert model.refiner.refinement.context[0].weight.grad.abs().sum() > 0
    with pytest.raises(ConfigError, match="REFINE.CONTEXT_FEATURES names 'p6'"):
        make_model("fcos", "MODEL.RLE_ONESTAGE.REFINE.CONTEXT_FEATURES", "['p6']")


def test_a_narrow_map_is_sampled_at_the_joints():
    model = make_model("fcos", "MODEL.RLE_ONESTAGE.REFINE.MAP_CHANNELS", "8")
    check_step(model, [make_input(0, [(*PERSON, 17)])])
    refinement = model.refiner.refinement
    assert refinement.heat.in_channels == refinement.local.in_features == 8
    assert refinement.local.out_features == 16 and refinement.local.weight.grad.abs().sum() > 0


def test_batches_without_the_optional_fields(model_of_style):
    """As Detectron2's own mapper gives them: no keypoints without people, no areas, no crowds."""
    batch = [make_input(0, [(*PERSON, 17)]), make_input(1, [])]
    for x in batch:
        del x["ignore_boxes"]
        x["instances"].remove("gt_area")
    batch[1]["instances"].remove("gt_keypoints")
    losses = check_step(model_of_style, batch)
    assert losses["loss_pose"] != 0  # the person's joints still count


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("density", DENSITIES)
def test_every_density_trains(density, style):
    preset = ["MODEL.RLE_ONESTAGE.PRESET", "laplace"] if density == "rle_released" else []  # its sum has no Student's t
    model = make_model(style, "MODEL.RLE_ONESTAGE.DENSITY", density, *preset)
    batch = [make_input(0, [(*PERSON, 17)]), make_input(1, [])]
    check_step(model, batch)
    # After a step the flow's last layers are no longer 0 and all its weights count.
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p -= 0.01 * p.grad
    check_step(model, batch)
    idle = [n for n, p in model.criterion.named_parameters() if p.requires_grad and not p.grad.abs().sum() > 0]
    assert idle == []
    # Where the flow stands alone, the preset of its warm-up stays as it is.
    frozen = [n for n, p in model.criterion.named_parameters() if not p.requires_grad]
    assert frozen == (["density.preset.raw"] if density == "flow" else [])


def test_a_seed_gives_the_network_the_same_start_under_every_density():
    def network(density):
        weights = make_model("fcos", "MODEL.RLE_ONESTAGE.DENSITY", density).state_dict()
        return {name: value for name, value in weights.items() if not name.startswith(("criterion.", "decoder."))}

    laplace, rle = network("laplace"), network("rle")
    assert laplace.keys() == rle.keys() and all(torch.equal(value, rle[name]) for name, value in laplace.items())


@pytest.mark.parametrize("form", ["sigmoid", "box"])
@pytest.mark.parametrize("assign", ["dynamic", "center"])
def test_other_forms_train(form, assign):
    options = ["MODEL.RLE_ONESTAGE.SCALE.FORM", form, "MODEL.RLE_ONESTAGE.ASSIGN.NAME", assign]
    options += ["MODEL.RLE_ONESTAGE.HEAD.QUALITY", "False"]
    options += ["MODEL.RLE_ONESTAGE.REFINE.STEPS", "2" if form == "box" else "0"]
    model = make_model("fcos", *options)
    check_step(model, [make_input(0, [(*PERSON, 17)], crowds=[(0, 0, 20, 20)]), make_input(1, [])])
    model.eval()
    assert len(model([make_input(2, [])])) == 1


@torch.no_grad()
def test_box_sigmas_grow_with_the_box_after_refinement_too():
    options = ["MODEL.RLE_ONESTAGE.SCALE.FORM", "box", "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0"]
    model = make_model("fcos", *options).eval()
    spreads = []
    for bias in (2.0, 6.0):
        model.head.box.bias[:4] = bias
        spreads.append(model([make_input(0, [])])[0]["instances"].pred_keypoint_sigmas.mean())
    assert spreads[1] > 2 * spreads[0]


def test_bfloat16_keeps_poses_and_likelihood_in_float32():
    model = make_model("fcos")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model([make_input(0, [(*PERSON, 17)])])
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    sum(losses.values()).backward()
    model.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        found = model([make_input(0, [])])[0]["instances"]
    assert found.pred_keypoints.dtype == torch.float32


def test_preset_alone_until_the_flow_sets_in():
    model = make_model("fcos", "MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "1")
    batch = [make_input(0, [(*PERSON, 17)])]
    flow = [p for n, p in model.named_parameters() if "flow" in n and n.endswith("4.bias")]
    with EventStorage(0):
        check_step(model, batch)
    assert flow and all(p.grad.abs().sum() == 0 for p in flow)
    with EventStorage(1):
        check_step(model, batch)
    assert any(p.grad.abs().sum() > 0 for p in flow)
    check_step(model, batch)  # outside of a training
    assert all(p.grad.abs().sum() == 0 for p in flow)


def test_noisy_starts_weigh_as_much_under_a_learned_density():
    """The loss of a pose with a reported standard deviation is the same whether that is the spread or a part of it."""
    model = make_model("fcos", "MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "5")
    joints = 40 * torch.rand(3, 17, 2)
    all_joints = torch.ones(3, 17, dtype=bool)
    people = Matched(
        boxes=torch.zeros(3, 4),
        joints=joints,
        labelled=all_joints,
        area=torch.ones(3),
        known=all_joints,
        weight=torch.ones(3),
        visible=all_joints,
        told=torch.ones(3, dtype=bool),
        area_known=torch.ones(3, dtype=bool),
    )
    mu, std = joints + torch.randn(3, 17, 2), 1 + torch.rand(3, 17, 2)
    laplace = model.criterion._denoising(Poses(mu, std, torch.zeros(3, 17)), people, preset_only=True)
    spread = std / model.criterion.density.table()[3][0]
    assert (spread > 1.3 * std).all()
    rle = model.criterion._denoising(Poses(mu, spread, torch.zeros(3, 17)), people, preset_only=False)
    assert torch.allclose(rle, laplace, rtol=1e-3)


def test_it_learns_to_overfit_one_person():
    """Twenty steps lower every part of the loss that is about the pose."""
    model = make_model("fcos", "MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "1000")
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    batch = [make_input(0, [(*PERSON, 17)])]
    totals = []
    for _ in range(20):
        losses = model(batch)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        totals.append({k: v.item() for k, v in losses.items()})
    assert totals[-1]["loss_pose"] < totals[0]["loss_pose"] - 0.2
    assert totals[-1]["loss_box"] < totals[0]["loss_box"]


def test_normalisers_are_sums_over_the_processes(monkeypatch):
    """Two halves of a batch, averaged, give the whole; also where a half alone is below 1."""
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    for mine, other in ((0.4, 0.8), (0.0, 0.3), (7.0, 5.0)):
        monkeypatch.setattr(torch.distributed, "all_reduce", lambda value, other=other: value.add_(other))
        assert likelihood.global_mean(torch.tensor(mine)).item() == pytest.approx(max(mine + other, 1) / 2)


@pytest.fixture(scope="module")
def model():
    return make_model("fcos", "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0").eval()


FIELDS = {
    "pred_boxes",
    "scores",
    "pred_classes",
    "pred_keypoints",
    "pred_keypoint_sigmas",
    "pred_keypoint_covariances",
    "pred_keypoint_presence",
    "pred_score_factors",
    "pred_areas",
}


@torch.no_grad()
def test_outputs_are_in_the_pixels_of_height_and_width(model):
    x = make_input(0, [], size=64)
    one = model([x])[0]["instances"]
    scaled = model([{**x, "height": 128, "width": 192}])[0]["instances"]
    assert set(one.get_fields()) == FIELDS and scaled.image_size == (128, 192)
    assert len(one) == len(scaled) > 0 and torch.equal(one.scores, scaled.scores)
    factor = torch.tensor([3.0, 2.0])
    assert torch.allclose(scaled.pred_keypoints[..., :2], one.pred_keypoints[..., :2] * factor, rtol=1e-5)
    assert torch.equal(scaled.pred_keypoints[..., 2], one.pred_keypoints[..., 2])
    assert torch.allclose(scaled.pred_keypoint_sigmas, one.pred_keypoint_sigmas * factor, rtol=1e-5)
    squares = factor[:, None] * factor
    assert torch.allclose(scaled.pred_keypoint_covariances, one.pred_keypoint_covariances * squares, rtol=1e-5)
    assert torch.allclose(scaled.pred_boxes.tensor, one.pred_boxes.tensor * factor.repeat(2), rtol=1e-4)
    assert (scaled.pred_boxes.tensor[:, 2] <= 192).all() and (one.scores.diff() <= 0).all()
    for name in ("scores", "pred_keypoint_presence"):
        assert (one.get(name) >= 0).all() and (one.get(name) <= 1).all()


@torch.no_grad()
def test_an_image_gives_the_same_alone_and_beside_others(model):
    small, large = make_input(0, [], size=64), make_input(1, [], size=96)
    large["image"] = large["image"][:, :64]
    large["height"] = 64
    alone, together = model([small])[0]["instances"], model([small, small])[1]["instances"]
    assert torch.allclose(alone.pred_keypoints, together.pred_keypoints, atol=1e-3)
    shapes = [len(each["instances"].get("scores")) for each in model([small, large])]
    assert len(shapes) == 2


@torch.no_grad()
def test_inference_needs_no_flow(model):
    """The decoder's table is in the checkpoint; the flow can be anything."""
    changed = copy.deepcopy(model)
    for p in changed.criterion.parameters():
        p.fill_(7.0)
    x = [make_input(0, [])]
    assert torch.equal(model(x)[0]["instances"].pred_keypoints, changed(x)[0]["instances"].pred_keypoints)
    other = make_model("fcos", "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0").eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x)[0]["instances"].scores, other(x)[0]["instances"].scores)


@pytest.mark.parametrize(
    "options, words",
    [
        (["MODEL.RLE_ONESTAGE.IN_FEATURES", "('p3', 'p9')"], ["IN_FEATURES", "p9", "p3"]),
        (["MODEL.RLE_ONESTAGE.REFINE.IN_FEATURE", "p5"], ["REFINE.IN_FEATURE", "p5"]),
        (["MODEL.RLE_ONESTAGE.HEAD.NORM", "SyncBN"], ["SyncBN", "GN"]),
        (["MODEL.RLE_ONESTAGE.TIMM.NAME", "mobilenetv9"], ["TIMM.NAME", "mobilenetv9"]),
        (["MODEL.RLE_ONESTAGE.TIMM.OUT_FEATURES", "('p0',)"], ["OUT_FEATURES", "p0"]),
    ],
)
def test_configs_that_cannot_be_built_say_why(options, words):
    with pytest.raises(ConfigError) as caught:
        build_model(tiny_config(*options))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_gradients_of_maps_keep_the_layout_of_maps():
    """A batch norm whose gradient comes in another layout than its input takes twenty times as long."""
    model = make_model("fcos", "MODEL.RLE_ONESTAGE.HEAD.NORM", "BN")
    plain = []

    def check(name, output):
        def at_gradient(gradient):
            if not gradient.is_contiguous(memory_format=torch.channels_last):
                plain.append(name)

        output.register_hook(at_gradient)

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(lambda _, __, output, name=name: check(name, output))
    batch = [make_input(0, [(*PERSON, 17)], size=128), make_input(1, [], size=128)]
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(batch)
    sum(losses.values()).backward()
    assert not plain


@pytest.mark.parametrize("style", STYLES)
def test_gradients_have_the_strides_of_their_weights(style):
    """DistributedDataParallel warns of any other, also where the two differ in dimensions of size 1 alone."""
    model = make_model(style, "MODEL.RLE_ONESTAGE.HEAD.CONV", "separable")
    check_step(model, [make_input(0, [(*PERSON, 17)], size=128), make_input(1, [], size=128)])
    weights = {name: p for name, p in model.named_parameters() if p.dim() == 4}
    assert {1, 3} <= {p.shape[-1] for p in weights.values()}
    assert [name for name, p in weights.items() if p.grad.stride() != p.stride()] == []


def test_strides_of_gradients_move_no_number():
    weight = torch.nn.Conv2d(4, 6, 1).weight
    module = torch.nn.ParameterList([weight, torch.nn.Conv2d(4, 6, 3).weight, torch.zeros(6)])
    before = [(p.detach().clone(), p.stride()) for p in module]
    use_strides_of_gradients(module)
    assert module[0] is weight and weight.stride() == (4, 1, 4, 4)
    assert [p.stride() for p in module][1:] == [strides for _, strides in before][1:]  # a dense 3 x 3 stays
    for parameter, (values, _) in zip(module, before):
        assert torch.equal(parameter, values)
        assert parameter.untyped_storage().tolist() == values.untyped_storage().tolist()


@pytest.mark.parametrize(
    "key, choices",
    [
        ("STYLE", "centernet"), ("DENSITY", "rle_released"), ("PRESET", "gaussian"), ("ASSIGN.NAME", "dynamic"),
        ("SCALE.FORM", "softplus"), ("HEAD.CONV", "separable"),
    ],
)  # fmt: skip
def test_misspelt_choices_are_named(key, choices):
    with pytest.raises(ConfigError) as caught:
        tiny_config(f"MODEL.RLE_ONESTAGE.{key}", "mispelt")
    assert f"MODEL.RLE_ONESTAGE.{key}" in str(caught.value) and choices in str(caught.value)
