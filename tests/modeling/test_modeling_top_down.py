"""Crops of given boxes, and the heatmap head that is compared with."""

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data.detection_utils import transform_proposals
from detectron2.data.transforms import ResizeTransform
from detectron2.structures import Boxes, BoxMode, Instances
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from modeling_toys import instances, make_input
from two_stage_toys import detections, make_rcnn

from rle_onestage import Predictor
from rle_onestage.data.given_boxes import as_proposals
from rle_onestage.errors import ConfigError, DataError
from rle_onestage.modeling.two_stage.heatmaps import SPREAD, paint
from rle_onestage.modeling.two_stage.simple_pose import decode_heatmaps
from rle_onestage.modeling.two_stage.top_down import CropOptions, crop_regions, jittered

PEOPLE = [(5, 5, 50, 60, 17), (30, 20, 62, 62, 3), (0, 0, 20, 20, 0)]
OURS = ["RLEKeypointHead", "SimplePoseKeypointHead"]
STOCK = "KRCNNConvDeconvUpsampleHead"
OPTIONS = [
    "MODEL.META_ARCHITECTURE", "TopDownPose", "MODEL.ROI_HEADS.IN_FEATURES", "['p4']",
    "MODEL.RLE_ONESTAGE.TWO_STAGE.DECONV_DIMS", "[8, 8]", "INPUT.MAPPER", "GivenBoxesMapper",
]  # fmt: skip


def make_model(*options, head=OURS[0]):
    """A tiny top-down model in training mode."""
    size = "[64, 64]" if head == STOCK else "[96, 64]"
    return make_rcnn(*OPTIONS, "MODEL.RLE_ONESTAGE.TOP_DOWN.CROP_SIZE", size, *options, head=head)


def asked(number, boxes, scores=None, **size):
    """An image with given boxes."""
    boxes = np.array(boxes, float).reshape(-1, 4)
    scores = np.full(len(boxes), 0.7) if scores is None else np.array(scores)
    return make_input(number, []) | {"proposals": as_proposals(boxes, scores, (64, 64))} | size


@pytest.mark.parametrize("head", [*OURS, STOCK])
def test_each_head_trains_on_people_and_on_nobody_and_answers_for_given_boxes(head):
    model = make_model(head=head)
    for people in (PEOPLE, []):
        model.zero_grad()
        with EventStorage():
            losses = model.train()([make_input(1, people), make_input(2, [])])
        sum(losses.values()).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert people or not parameter.grad.any()
    found = model.eval()([asked(1, [(5, 5, 50, 60), (-8, 0, 20, 20)], [0.7, 0.2], height=128, width=192), asked(2, [])])
    people, nobody = (each["instances"] for each in found)
    expected = torch.tensor([[15.0, 10, 150, 120], [0, 0, 60, 40]])
    torch.testing.assert_close(people.pred_boxes.tensor, expected)
    torch.testing.assert_close(people.scores, torch.tensor([0.7, 0.2]))
    assert people.pred_keypoints.shape == (2, 17, 3) and len(nobody) == 0
    alone = model([asked(2, [])])[0]["instances"]
    assert len(alone) == 0 and alone.pred_keypoints.shape == (0, 17, 3)


@pytest.mark.parametrize("head", OURS)
def test_processes_meet_as_often_whether_they_have_people_or_not(head, monkeypatch):
    model, meetings = make_model(head=head).train(), []
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda value: meetings.append(value.numel()))
    counts = []
    for people in (PEOPLE, []):
        with EventStorage():
            model([make_input(1, people)])
        counts.append(list(meetings))
        meetings.clear()
    assert counts[0] == counts[1] != []


def test_only_people_with_labels_are_learned_and_so_many_at_most():
    for most, count in (("16", 2), ("1", 1)):
        model = make_model("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", most)
        assert len(model._labelled(instances((64, 64), PEOPLE))) == count


def test_regions_have_the_crops_aspect_and_hold_their_boxes():
    crop = CropOptions(256, 192, padding=1.25)
    boxes = torch.tensor([[10.0, 20, 70, 100], [10, 20, 130, 40]])
    regions = crop_regions(boxes, crop)
    size = regions[:, 2:] - regions[:, :2]
    torch.testing.assert_close(size, torch.tensor([[75.0, 100], [150, 200]]))
    torch.testing.assert_close(regions[:, :2] + regions[:, 2:], boxes[:, :2] + boxes[:, 2:])
    moved = jittered(regions, crop._replace(scale_jitter=0.2, shift_jitter=0.1))
    ratio = (moved[:, 2:] - moved[:, :2]) / size
    torch.testing.assert_close(ratio[:, 0], ratio[:, 1])
    assert ((ratio > 0.8) & (ratio < 1.2)).all() and not torch.equal(moved, regions)


def test_a_crop_is_the_image_at_the_pixels_of_its_region():
    """Colours are the coordinates of pixels' centres, so the crop says where it was taken."""
    model = make_model("MODEL.RLE_ONESTAGE.TOP_DOWN.CROP_SIZE", "[64, 32]")
    centres = torch.arange(64) + 0.5
    image = torch.stack([centres.expand(64, 64), centres[:, None].expand(64, 64), torch.ones(64, 64)])
    crop = model.crops(image[None], [torch.tensor([[8.0, 4.0, 24.0, 36.0]])])[0]
    torch.testing.assert_close(crop[0, 5], 8 + (torch.arange(32) + 0.5) / 2)
    torch.testing.assert_close(crop[1, :, 5], 4 + (torch.arange(64) + 0.5) / 2)
    outside = model.crops(image[None], [torch.tensor([[-40.0, 0, 0, 80]])])[0]
    assert not outside[..., :30].any()


@pytest.mark.parametrize("head", OURS)
def test_under_the_flip_test_a_mirror_gives_the_mirror(head):
    """The answer for a mirrored image with mirrored boxes is the mirrored answer, left for right."""
    model = make_model("MODEL.RLE_ONESTAGE.TOP_DOWN.FLIP_TEST", "True", head=head).eval()
    for parameter in model.keypoint_head.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    sample = asked(3, [(8, 4, 48, 60)])
    mirror = asked(3, [(16, 4, 56, 60)]) | {"image": sample["image"].flip(-1)}
    with torch.no_grad():
        person, other = (model([each])[0]["instances"] for each in (sample, mirror))
    flip = model.keypoint_head.flip_index
    expected = person.pred_keypoints[:, flip] * torch.tensor([-1.0, 1, 1]) + torch.tensor([64.0, 0, 0])
    assert flip != list(range(17))
    if head == OURS[0]:
        torch.testing.assert_close(other.pred_keypoints, expected, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(
            other.pred_keypoint_sigmas, person.pred_keypoint_sigmas[:, flip], rtol=1e-4, atol=1e-3
        )
    else:  # cells may tie
        close = (other.pred_keypoints - expected).abs() < 1e-2
        assert close.float().mean() > 0.9


def test_heatmaps_are_the_inverse_of_their_decoding_to_a_quarter_of_a_cell():
    regions = torch.tensor([[10.0, 20.0, 34.0, 52.0]]).expand(40, 4)  # cells of half a pixel
    joints = regions[:, None, :2] + 2 + torch.rand(40, 17, 2) * torch.tensor([20.0, 28.0])
    target, inside = paint(joints, regions, 64, 48)
    assert inside.all() and target.max() == 1
    decoded = decode_heatmaps(target, regions)
    # Painted about the nearest cells, whose neighbours are alike: half a cell is a quarter of a pixel.
    assert (decoded[..., :2] - joints).abs().max() <= 0.25 + 1e-4
    exact = decode_heatmaps(subcell(joints, regions), regions)
    assert (exact[..., :2] - joints).abs().max() <= 0.125 + 1e-4


def subcell(joints, regions):
    """Gaussians about the true places, not the nearest cells."""
    cells = (joints - regions[:, None, :2]) * 2 - 0.5
    x, y = torch.arange(48) - cells[..., :1], torch.arange(64) - cells[..., 1:]
    return torch.exp(-(x[..., None, :] ** 2 + y[..., :, None] ** 2) / (2 * SPREAD**2))


def test_joints_outside_their_region_are_not_painted():
    region = torch.tensor([[0.0, 0.0, 48.0, 64.0]])
    target, inside = paint(torch.tensor([[[100.0, 10.0], [24.0, 32.0]]]), region, 64, 48)
    assert inside.tolist() == [[False, True]] and target[0, 0].max() < 1e-3


def test_simple_pose_ranks_by_its_joints_where_asked():
    model = make_model("MODEL.RLE_ONESTAGE.TWO_STAGE.OKS_POWER", "1.0", head=OURS[1]).eval()
    torch.nn.init.constant_(model.keypoint_head.heatmaps.bias, 0.5)
    torch.nn.init.zeros_(model.keypoint_head.heatmaps.weight)
    assert model([asked(1, [(5, 5, 50, 60)])])[0]["instances"].scores.item() == pytest.approx(0.35, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "head", "message"),
    [
        (["MODEL.RLE_ONESTAGE.TOP_DOWN.CROP_SIZE", "[100, 64]"], OURS[0], r"CROP_SIZE is \[100, 64\].*multiples of 32"),
        (["INPUT.MAPPER", "PoseMapper"], OURS[0], "TopDownPose, which needs boxes at test; set INPUT.MAPPER"),
        (["MODEL.ROI_HEADS.IN_FEATURES", "['res9']"], OURS[0], r"names 'res9', but the backbone gives"),
        (["MODEL.RLE_ONESTAGE.TOP_DOWN.CROP_SIZE", "[96, 64]"], STOCK, "square crops and no mirror"),
        (["MODEL.RLE_ONESTAGE.TOP_DOWN.FLIP_TEST", "True"], STOCK, "square crops and no mirror"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(options, head, message):
    with pytest.raises(ConfigError, match=message):
        make_model(*options, head=head)


def test_it_takes_the_precomputed_proposals_of_detectron2s_own_mapper():
    record = {
        "proposal_boxes": np.array([[10.0, 10, 100, 120], [0, 0, 40, 40]], np.float32),
        "proposal_objectness_logits": np.array([2.0, 0.0]), "proposal_bbox_mode": BoxMode.XYXY_ABS,
    }  # fmt: skip
    transform_proposals(record, (64, 64), ResizeTransform(128, 128, 64, 64), proposal_topk=2)
    sample = make_input(0, []) | record | {"height": 128, "width": 128}
    people = make_model().eval()([sample])[0]["instances"]
    torch.testing.assert_close(people.pred_boxes.tensor, torch.tensor([[10.0, 10, 100, 120], [0, 0, 40, 40]]))
    torch.testing.assert_close(people.scores, torch.sigmoid(torch.tensor([2.0, 0.0])))


def test_an_image_without_boxes_is_named():
    with pytest.raises(DataError, match="^0.png comes without boxes.*GivenBoxesMapper"):
        make_model().eval()([make_input(0, [])])


def test_what_has_images_alone_refuses_the_model_rather_than_each_image():
    with pytest.raises(ConfigError, match="TopDownPose needs the boxes of people.*the page Two stages"):
        Predictor(get_cfg(), model=make_model())


def test_the_area_that_the_expected_oks_goes_by_is_the_persons_not_the_crops():
    model = make_model().eval()
    person = model([asked(1, [(5, 5, 50, 60)])])[0]["instances"]
    ratio = model.keypoint_head.decoder.area_ratio
    torch.testing.assert_close(person.pred_areas, 45.0 * 55.0 * ratio[None])


def test_heads_of_ours_stand_in_detectron2s_architecture_too():
    model = make_rcnn("MODEL.RLE_ONESTAGE.TWO_STAGE.DECONV_DIMS", "[8]", head=OURS[1])
    with EventStorage():
        losses = model.train()([make_input(1, PEOPLE), make_input(2, [])])
    sum(losses.values()).backward()
    given = detections([(5, 5, 50, 60)])
    people = model.eval().inference([make_input(1, [])], [given])[0]["instances"]
    assert isinstance(people, Instances) and isinstance(people.pred_boxes, Boxes)
    assert people.pred_keypoints.shape == (1, 17, 3)
