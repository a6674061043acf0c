"""The way of a candidate: decoded once, then carried from part to part."""

import pytest
import torch
from detectron2.modeling import build_model
from ground_truth_outputs import make_decoder
from modeling_toys import make_input, tiny_config

from rle_onestage.modeling import codec, head
from rle_onestage.modeling.locations import make_locations
from rle_onestage.modeling.structures import Candidates, DenseOutputs
from rle_onestage.structures.skeleton import COCO

BATCH = [make_input(0, [(6, 4, 50, 60, 17), (20, 10, 60, 62, 17)]), make_input(1, [(2, 2, 40, 50, 9)])]
PEAKS = "MODEL.RLE_ONESTAGE.TEST.PEAKS"
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


@pytest.mark.parametrize("peaks, chosen", [(False, [4, 5, 9]), (True, [4, 9, 11])])
def test_peaks_are_those_of_each_level(peaks, chosen):
    """Beside the best of 3 x 3 cells its neighbours are no candidates, those of another level are."""
    decoder = make_decoder("fcos", COCO.oks_sigmas, use_peaks=peaks, topk=4, quality_power=0.0)
    fine, coarse = [[0.0, 1, 2], [3, 9, 8], [1, 5, 4]], [[7.0, 1, 6]]
    score = torch.tensor([value for level in (fine, coarse) for row in level for value in row])[None]
    locations = make_locations([(3, 3), (1, 3)], [8, 16], torch.device("cpu"))
    dense = DenseOutputs(score=score, quality=torch.zeros(0), box=torch.ones(1, 12, 4), pose=torch.zeros(1, 12, 1))
    candidates, found = decoder.select(dense, locations)
    assert candidates.location[:3].tolist() == chosen
    # With peaks alone there are three people in this image; who fills the fourth place has no score.
    torch.testing.assert_close(found[0, :3], torch.sigmoid(score[0, chosen]))
    assert (found[0, 3] > 0) == (not peaks)


@torch.no_grad()
def test_peaks_are_suppressed_as_others_are():
    """Peaks of two levels may be one person; only in the centernet style they are different people."""
    torch.manual_seed(0)
    model = build_model(tiny_config(PEAKS, True)).eval()
    model.decoder.oks_nms = 1e-6  # everybody whose joints are near a better one's
    image = torch.randn(1, 3, 64, 64)
    assert model.decoder.use_peaks and not model.find(image).kept.all()
    assert build_model(tiny_config(style="centernet")).eval().find(image).kept.all()


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
