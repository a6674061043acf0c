"""The way of a candidate: decoded once, then carried from part to part."""

import pytest
import torch
from detectron2.modeling import build_model
from ground_truth_outputs import make_decoder
from modeling_toys import make_input, tiny_config
from torchvision.ops import nms

from rle_onestage.modeling import codec, head
from rle_onestage.modeling.locations import make_locations
from rle_onestage.modeling.structures import Candidates, DenseOutputs
from rle_onestage.structures.skeleton import COCO

BATCH = [make_input(0, [(6, 4, 50, 60, 17), (20, 10, 60, 62, 17)]), make_input(1, [(2, 2, 40, 50, 9)])]
FORM, STEPS = "MODEL.RLE_ONESTAGE.SCALE.FORM", "MODEL.RLE_ONESTAGE.REFINE.STEPS"


@pytest.fixture
def decoded(monkeypatch):
    """Numbers of boxes of each call of ``decode_boxes``."""
    calls, original = [], codec.decode_boxes

    def counting(distances, *rest):
        calls.append(len(distances))
        return original(distances, *rest)

    for module in (codec, head):
        monkeypatch.setattr(module, "decode_boxes", counting)
    return calls


@pytest.mark.parametrize("style", ["fcos", "centernet"])
@pytest.mark.parametrize("steps", [0, 2])
def test_boxes_are_decoded_once(decoded, style, steps):
    """Once in a training step and once for a batch of images, whoever looks at them."""
    torch.manual_seed(0)
    model = build_model(tiny_config(FORM, "box", STEPS, steps, style=style)).train()
    model(BATCH)
    assert len(decoded) == 1
    with torch.no_grad():
        model.eval()(BATCH)
    assert len(decoded) == 2 and decoded[1] % len(BATCH) == 0


def test_the_box_loss_alone_teaches_the_boxes():
    """The likelihood could make its unit of the scale fit by moving a box, which is none of its business."""
    torch.manual_seed(0)
    model = build_model(tiny_config(FORM, "box", STEPS, 1)).train()
    losses = model(BATCH)
    for name in ("loss_pose", "loss_refine1", "loss_denoise"):
        (gradient,) = torch.autograd.grad(losses[name], model.head.box.weight, retain_graph=True, allow_unused=True)
        assert gradient is None or not gradient.any()
    (gradient,) = torch.autograd.grad(losses["loss_box"], model.head.box.weight, retain_graph=True)
    assert gradient.any()


@torch.no_grad()
def test_rows_are_what_a_projection_of_them_alone_gives():
    torch.manual_seed(0)
    model = build_model(tiny_config()).eval()
    features = model.features(torch.randn(2, 3, 64, 64))
    dense, locations = model.dense(features)
    assert torch.equal(locations.xy, make_locations(locations.shapes, model.strides, model.device).xy)
    indices = Candidates(torch.tensor([0, 1, 1, 0]), torch.tensor([3, 0, 7, 60]))
    chosen = torch.tensor([2, 0])
    rows = model.head.project(dense, indices, locations).rows(chosen)
    alone = model.head.project(dense, Candidates(*(field[chosen] for field in indices)), locations)
    assert rows.indices.image.tolist() == [1, 0] and rows.indices.location.tolist() == [7, 3]
    for name in ("boxes", "score", "quality", "embedding"):
        torch.testing.assert_close(getattr(rows, name), getattr(alone, name))
    for ours, theirs in zip(rows.poses, alone.poses):
        torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_the_refiner_takes_candidates_and_gives_candidates():
    torch.manual_seed(0)
    model = build_model(tiny_config()).eval()
    features = model.features(torch.randn(2, 3, 64, 64))
    dense, locations = model.dense(features)
    indices, _ = model.decoder.select(dense, locations)
    before = model.head.project(dense, indices, locations)
    after = model.refiner(features, before)
    assert after.poses.mu.shape == before.poses.mu.shape and not torch.equal(after.poses.mu, before.poses.mu)
    assert torch.equal(after.boxes, before.boxes) and torch.equal(after.score, before.score)


def clusters(seed, people=6, each=9):
    """Dense outputs (1, R) of boxes that are alike in groups, at locations of two levels."""
    generator = torch.Generator().manual_seed(seed)
    locations = make_locations([(6, 6), (3, 6)], [8, 16], torch.device("cpu"))
    centres = torch.rand(people, 2, generator=generator).repeat(each, 1) * 48
    sides = torch.rand(people, 2, generator=generator).repeat(each, 1) * 20 + 10
    half = (sides + torch.randn(sides.shape, generator=generator)) / 2
    offset = centres - locations.xy
    box = torch.cat([half - offset, half + offset], 1) / locations.stride[:, None]
    score = torch.randn(1, len(box), generator=generator)
    return DenseOutputs(score, torch.zeros(0), box[None], torch.zeros(1, len(box), 1)), locations


@pytest.mark.parametrize("seed", range(8))
def test_candidates_are_those_that_a_suppression_of_their_boxes_leaves(seed):
    """Then the others, as many as there is room for; without the choice they are the best."""
    dense, locations = clusters(seed)
    boxes = codec.decode_boxes(dense.box[0], locations.xy, locations.stride)
    by_score = dense.score[0].argsort(descending=True)[:40].tolist()
    apart = [i for i in nms(boxes, dense.score[0], 0.65).tolist() if i in by_score]
    expected = [*apart, *(i for i in by_score if i not in apart)][:15]
    assert by_score[:15] != expected and 4 <= len(apart) < 15
    for among, chosen in ((40, expected), (0, by_score[:15]), (10, by_score[:15])):
        decoder = make_decoder("fcos", COCO.oks_sigmas, topk=15, pre_nms_topk=among, quality_power=0.0)
        candidates, score = decoder.select(dense, locations)
        assert candidates.location.tolist() == chosen
        torch.testing.assert_close(score[0], torch.sigmoid(dense.score[0, chosen]))


@torch.no_grad()
@pytest.mark.parametrize("style", ["fcos", "centernet"])
def test_there_are_as_many_candidates_as_topk_says(style):
    options = ["MODEL.RLE_ONESTAGE.TEST.TOPK", 5, "MODEL.RLE_ONESTAGE.TEST.PRE_NMS_TOPK", 20]
    people = build_model(tiny_config(*options, style=style)).eval().find(torch.randn(1, 3, 64, 64))
    assert people.scores.shape == (1, 5)


def test_fewer_locations_than_are_looked_for():
    dense, locations = clusters(0)
    decoder = make_decoder("fcos", COCO.oks_sigmas, topk=80, pre_nms_topk=100, quality_power=0.0)
    assert sorted(decoder.select(dense, locations)[0].location.tolist()) == list(range(54))
    decoder.fill_up = True
    candidates, score = decoder.select(dense, locations)
    assert len(candidates.location) == 80 and (score > 0).sum() == 54
    assert set(candidates.location.tolist()) == set(range(54))


def test_the_area_ratio_is_of_the_people_seen():
    """The sums are the training's; what decodes has their ratio whenever it is asked or saved."""
    torch.manual_seed(0)
    model = build_model(tiny_config()).train()
    assert not any("sums" in name for name, _ in model.decoder.named_buffers())
    model(BATCH)  # the toy's people have half the area of their boxes
    assert model.state_dict()["decoder.area_ratio"] == pytest.approx(0.5, abs=1e-3)
    model.eval()
    assert model.decoder.area_ratio == pytest.approx(0.5, abs=1e-3)


def test_a_file_for_inference_brings_its_area_ratio():
    torch.manual_seed(0)
    model = build_model(tiny_config())
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("criterion.")}
    state["decoder.area_ratio"] = torch.tensor(0.31)
    model.load_state_dict(state, strict=False)
    assert model.eval().decoder.area_ratio == pytest.approx(0.31)
    model.start_training_anew()
    assert model.eval().decoder.area_ratio == pytest.approx(0.31)
