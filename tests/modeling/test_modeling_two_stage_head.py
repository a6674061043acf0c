"""RLEKeypointHead in Detectron2's own architecture: losses, outputs, pixels, and what stays as it is."""

import math

import pytest
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from modeling_toys import instances, make_input
from two_stage_toys import detections, make_rcnn

from rle_onestage.engine.checkpoint import load_weights
from rle_onestage.errors import ConfigError
from rle_onestage.modeling import train_only
from rle_onestage.modeling.codec import decode_in_boxes, encode_in_boxes
from rle_onestage.modeling.density import DENSITY_REGISTRY
from rle_onestage.modeling.targets import people_of_regions
from rle_onestage.modeling.two_stage.heatmaps import SPREAD, SoftArgmax, paint
from rle_onestage.modeling.two_stage.instances import PoseInstances, as_pose_instances
from rle_onestage.structures.covariance import covariance_of

PEOPLE = [(5, 5, 50, 60, 17), (30, 20, 62, 62, 3)]
HEAD = "roi_heads.keypoint_head."


def losses_of(model, *people):
    """Losses of a batch with an image for each list of people."""
    with EventStorage():
        return model.train()([make_input(number, each) for number, each in enumerate(people)])


@torch.no_grad()
def found(model, **size):
    """People of one image, brought to another size where one is given."""
    return model.eval()([make_input(0, PEOPLE) | size])[0]["instances"]


def spread(instances):
    """Every field that is in pixels beside boxes and joints."""
    return [instances.pred_keypoint_sigmas, instances.pred_keypoint_covariances, instances.pred_areas]


@pytest.mark.parametrize("density", list(DENSITY_REGISTRY.names))
def test_every_density_trains_each_parameter_and_reports_sigmas(density):
    preset = ["MODEL.RLE_ONESTAGE.PRESET", "laplace"] if density == "rle_released" else []  # its sum has no Student's t
    model = make_rcnn("MODEL.RLE_ONESTAGE.DENSITY", density, *preset)
    losses = losses_of(model, PEOPLE, [])
    assert {"loss_keypoint", "loss_presence"} < set(losses)
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    people = found(model)
    assert people.pred_keypoints.shape == (5, 17, 3) and (people.pred_keypoint_sigmas > 0).all()
    assert people.pred_keypoint_presence.shape == (5, 17)
    roots = people.pred_keypoint_covariances.diagonal(dim1=-2, dim2=-1).sqrt()
    torch.testing.assert_close(roots, people.pred_keypoint_sigmas)


@pytest.mark.parametrize("options", [[], ["MODEL.RLE_ONESTAGE.TWO_STAGE.CONV_DIMS", "[8, 8]"]])
@pytest.mark.parametrize("pooling", ["mean", "flat", "soft_argmax"])
def test_a_batch_without_people_has_gradients_of_0(options, pooling):
    model = make_rcnn("MODEL.RLE_ONESTAGE.TWO_STAGE.POOLING", pooling, *options)
    losses = losses_of(model, [])
    assert losses["loss_keypoint"] == 0 and losses["loss_presence"] == 0
    sum(losses.values()).backward()
    head = model.roi_heads.keypoint_head
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


def test_joints_are_the_means_of_heatmaps():
    """By hand, without transposed convolutions: all of a heatmap in one cell, halves of it in two, and evenly."""
    head = SoftArgmax(channels=3, deconvs=[], num_joints=3)
    head.heatmaps.weight.data = 50 * torch.eye(3)[..., None, None]
    features = torch.zeros(1, 3, 2, 4)
    features[0, 0, 1, 3] = features[0, 1, 0, 0] = features[0, 1, 0, 1] = 1.0
    torch.testing.assert_close(head(features)[0], torch.tensor([[0.375, 0.25, -0.25, -0.25, 0.0, 0.0]]))
    assert (
        SoftArgmax(channels=3, deconvs=[4, 4], num_joints=3)(torch.randn(2, 3, 2, 4))[0].abs().max() < 0.01
    )  # at first


def test_the_loss_of_heatmaps_is_a_cross_entropy_of_the_joints_in_view():
    """By hand: of even maps the number of cells, of the Gaussian itself its entropy; not of what is far outside."""
    soft = ["MODEL.RLE_ONESTAGE.TWO_STAGE.POOLING", "soft_argmax", "MODEL.RLE_ONESTAGE.LOSS.HEATMAP", "2.0"]
    criterion = make_rcnn(*soft).roi_heads.keypoint_head.criterion
    regions = torch.tensor([[0.0, 0.0, 48.0, 64.0]])
    person = instances((64, 48), [(8, 12, 40, 52, 3)])
    person.gt_keypoints.tensor[0, 2, :2] = 500.0
    people = people_of_regions([person], 17)
    even = torch.zeros(1, 17, 64, 48)
    assert criterion.heatmap(even, people, regions).item() == pytest.approx(2 * math.log(64 * 48), rel=1e-5)
    target = paint(people.joints, regions, 64, 48)[0]
    entropy = math.log(2 * math.pi * math.e * SPREAD**2)  # of a Gaussian in two dimensions
    assert criterion.heatmap(target.clamp(min=1e-30).log(), people, regions).item() == pytest.approx(
        2 * entropy, rel=1e-3
    )


def test_the_head_learns_joints_by_soft_argmax():
    torch.manual_seed(0)
    model = make_rcnn(
        "MODEL.RLE_ONESTAGE.TWO_STAGE.POOLING", "soft_argmax", "MODEL.RLE_ONESTAGE.TWO_STAGE.DECONV_DIMS", "[8]"
    )
    head = model.roi_heads.keypoint_head.train()
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    person = make_input(0, [(8, 16, 40, 56, 17)])["instances"]
    person.proposal_boxes = Boxes(torch.tensor([[4.0, 10.0, 46.0, 62.0]]))
    features, errors = torch.randn(1, 16, 7, 7), []
    for _ in range(80):
        optimizer.zero_grad()
        sum(head(features, [person]).values()).backward()
        optimizer.step()
        raw = head.network(features)
        points = head._poses(raw, person.proposal_boxes.tensor).mu
        errors.append((points - person.gt_keypoints.tensor[..., :2]).abs().mean().item())
    assert errors[-1] < errors[0] / 4


def test_the_loss_is_the_likelihood_in_pixels_of_the_labels():
    """Of one region with known outputs: Laplace's density about the centre of the box."""
    model = make_rcnn("MODEL.RLE_ONESTAGE.DENSITY", "laplace", "MODEL.RLE_ONESTAGE.SCALE.INIT", "2.0")
    head = model.roi_heads.keypoint_head.train()
    for layer in (head.network.offset, head.network.scale):
        torch.nn.init.zeros_(layer.weight)
    person = make_input(0, [(8, 16, 40, 56, 17)])["instances"]
    person.proposal_boxes = Boxes(torch.tensor([[4.0, 10.0, 36.0, 58.0]]))
    loss = head(torch.randn(1, 16, 7, 7), [person])["loss_keypoint"]
    scale = 2.0 * torch.tensor([32.0, 48.0]) / 16
    error = (person.gt_keypoints.tensor[0, :, :2] - torch.tensor([20.0, 34.0])).abs()
    nats = (torch.log(2**0.5 * scale) + 2**0.5 * error / scale).sum(-1)
    torch.testing.assert_close(loss, nats.mean())


def test_joints_in_boxes_are_the_inverse_of_their_labels():
    boxes, joints = torch.tensor([[4.0, 10.0, 36.0, 58.0], [7.0, 7.0, 7.0, 7.0]]), 60 * torch.rand(2, 5, 2)
    torch.testing.assert_close(decode_in_boxes(encode_in_boxes(joints, boxes), boxes), joints)


def test_sigmas_covariances_and_areas_follow_into_the_pixels_of_the_output():
    model = make_rcnn()
    small, large = found(model), found(model, height=128, width=192)
    factors = torch.tensor([3.0, 2.0])
    torch.testing.assert_close(large.pred_keypoints[..., :2], small.pred_keypoints[..., :2] * factors)
    for before, after, factor in zip(
        spread(small), spread(large), (factors, torch.outer(factors, factors), factors.prod())
    ):
        torch.testing.assert_close(after, before * factor)


def test_they_follow_also_where_rows_were_chosen_or_copied_before():
    raw = make_rcnn().eval().inference([make_input(0, PEOPLE)], do_postprocess=False)[0]
    chosen = raw[torch.tensor([3, 1])].to("cpu")
    before, untouched = [part.clone() for part in spread(chosen)], [part.clone() for part in spread(raw)]
    large = detector_postprocess(chosen, 128, 192)
    assert type(large) is Instances and type(large.pred_boxes) is Boxes
    torch.testing.assert_close(large.pred_keypoint_sigmas, before[0] * torch.tensor([3.0, 2.0]))
    assert all(torch.equal(*pair) for pair in zip(spread(raw), untouched))  # the others have not moved


def test_instances_without_poses_are_let_be():
    plain = as_pose_instances(detections([(1, 2, 3, 4)]))
    assert isinstance(plain, PoseInstances) and len(detector_postprocess(plain, 32, 32)) == 1


def test_nobody_and_given_boxes_without_scores():
    model = make_rcnn().eval()
    nobody = model.inference([make_input(0, [])], [detections([])])[0]["instances"]
    assert len(nobody) == 0 and nobody.pred_keypoints.shape == (0, 17, 3)
    given = detections([(5, 5, 50, 60)])
    given.remove("scores")
    person = model.inference([make_input(0, [])], [given])[0]["instances"]
    assert person.scores.tolist() == [1.0] and person.pred_keypoints.shape == (1, 17, 3)


def test_the_expected_oks_is_in_the_score_by_a_key():
    plain, ranked = found(make_rcnn()), found(make_rcnn("MODEL.RLE_ONESTAGE.TWO_STAGE.OKS_POWER", "1.0"))
    torch.testing.assert_close(ranked.scores, plain.scores * plain.pred_score_factors[:, 2])
    assert (plain.pred_score_factors[:, 2] < 1).all()
    stock = found(make_rcnn(head="KRCNNConvDeconvUpsampleHead"))
    assert torch.equal(plain.scores, stock.scores) and torch.equal(plain.pred_boxes.tensor, stock.pred_boxes.tensor)


def test_the_density_costs_nothing_at_test():
    from torch.utils.flop_counter import FlopCounterMode

    counts = []
    for density in ("rle", "l1"):
        model = make_rcnn("MODEL.RLE_ONESTAGE.DENSITY", density)
        with FlopCounterMode(display=False) as counter:
            found(model)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


def test_tables_are_those_of_the_weights_after_training_and_loading(tmp_path):
    model = make_rcnn("MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "0")
    head = model.roi_heads.keypoint_head
    for parameter in head.criterion.density.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    people = found(model)  # on the way to evaluation the tables are made anew
    assert not torch.equal(head.decoder.std, torch.ones_like(head.decoder.std))
    torch.save({"model": model.state_dict()}, tmp_path / "model.pth")
    other = make_rcnn("MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "0", seed=1)
    load_weights(other, str(tmp_path / "model.pth"), strict=True)
    torch.testing.assert_close(found(other).pred_keypoint_sigmas, people.pred_keypoint_sigmas)


def test_a_users_own_model_starts_it_and_its_boxes_stay_to_the_digit(tmp_path):
    stock = make_rcnn(head="KRCNNConvDeconvUpsampleHead")
    before = found(stock)
    torch.save({"model": stock.state_dict()}, tmp_path / "own.pth")
    model = make_rcnn(seed=1)
    load_weights(model, str(tmp_path / "own.pth"), strict=False)
    train_only(model, [HEAD])
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01)
    first = model.roi_heads.keypoint_head.network.offset.weight.clone()
    for _ in range(3):
        optimizer.zero_grad()
        sum(losses_of(model, PEOPLE, PEOPLE[:1]).values()).backward()
        optimizer.step()
    after = found(model)
    assert not torch.equal(first, model.roi_heads.keypoint_head.network.offset.weight)
    assert torch.equal(before.pred_boxes.tensor, after.pred_boxes.tensor) and torch.equal(before.scores, after.scores)
    for name, value in stock.state_dict().items():
        if not name.startswith(HEAD):
            assert torch.equal(value, model.state_dict()[name]), name


def test_what_is_not_trained_counts_nothing():
    model = make_rcnn()
    train_only(model, ["roi_heads.keypoint_head.network."])
    head = model.roi_heads.keypoint_head
    assert not head.criterion.counts_areas and not head.criterion.learns_density
    sums = head.criterion.area_sums.clone()
    losses_of(model, PEOPLE)
    assert torch.equal(head.criterion.area_sums, sums)


def test_the_area_ratio_is_that_of_the_labels():
    model = make_rcnn()
    losses_of(model, PEOPLE)  # of which half the box is the area
    assert found(model) is not None
    assert model.roi_heads.keypoint_head.decoder.area_ratio.item() == pytest.approx(0.5, abs=1e-3)


def test_two_numbers_of_joints_and_hidden_joints_are_one_sentence():
    with pytest.raises(ConfigError, match="HEAD.VISIBILITY is True, but RLEKeypointHead does not tell"):
        make_rcnn("MODEL.RLE_ONESTAGE.HEAD.VISIBILITY", "True")
    with pytest.raises(ConfigError, match=r"NUM_KEYPOINTS is 14, but MODEL.RLE_ONESTAGE.NUM_KEYPOINTS"):
        make_rcnn("MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", "14")


def test_a_covariance_scales_as_its_sigmas_do():
    people = detections([(5, 5, 50, 60)])
    people.pred_keypoint_sigmas = torch.tensor([[[2.0, 3.0]]])
    people.pred_keypoint_covariances = covariance_of(people.pred_keypoint_sigmas, torch.tensor([[-0.5]]))
    large = detector_postprocess(as_pose_instances(people), 640, 32)
    expected = covariance_of(torch.tensor([[[1.0, 30.0]]]), torch.tensor([[-0.5]]))
    torch.testing.assert_close(large.pred_keypoint_covariances, expected)
