"""From candidates to ``Instances``: who is left out, and in which pixels."""

import torch
from detectron2.modeling import build_model
from modeling_toys import tiny_config
from test_modeling_half_size import people_at


def people_of(*images, sizes=((100, 200),), asked=None, most=10):
    decoder = build_model(tiny_config("TEST.DETECTIONS_PER_IMAGE", most)).decoder
    people = type(images[0])(*(None if field[0] is None else torch.cat(field) for field in zip(*images)))
    return decoder.to_instances(people, list(sizes), list(asked or sizes))


def test_a_box_of_which_nothing_is_in_the_image_is_left_out():
    """Beyond the right border, below, before the origin, touching the border; and one of which a corner is inside."""
    places = [(240, 50), (50, 140), (-30, 20), (210, 50), (205, 50)]
    (found,) = people_of(people_at(places, [20] * 5, [0.9, 0.8, 0.7, 0.6, 0.5]))
    assert found.scores.tolist() == [0.5]
    assert found.pred_boxes.tensor.tolist() == [[195, 40, 200, 60]]
    assert found.pred_keypoints.shape == (1, 17, 3) and found.pred_areas.tolist() == [400]


def test_who_is_left_out_takes_nobodys_place():
    (found,) = people_of(people_at([(300, 50), (50, 50), (80, 50)], [20] * 3, [0.9, 0.5, 0.7]), most=2)
    assert torch.allclose(found.scores, torch.tensor([0.7, 0.5]))


def test_each_image_is_cut_at_its_own_border_in_the_pixels_asked_for():
    """The first is asked for at twice the width and thrice the height; padding of the second is no image."""
    people = people_at([(90, 50), (150, 50)], [40, 20], [0.9, 0.8])
    first, second = people_of(people, people, sizes=((100, 200), (60, 100)), asked=((300, 400), (60, 100)))
    assert first.image_size == (300, 400) and second.image_size == (60, 100)
    assert first.pred_boxes.tensor.tolist() == [[140, 90, 220, 210], [280, 120, 320, 180]]
    assert second.pred_boxes.tensor.tolist() == [[70, 30, 100, 60]]
    assert first.pred_keypoint_sigmas[0, 0].tolist() == [2, 3] and first.pred_areas.tolist() == [9600, 2400]
    assert first.pred_keypoint_covariances[0, 0].tolist() == [[4, 3], [3, 9]]  # a correlation of a half
    assert torch.allclose(first.pred_keypoints[0, 8, :2], torch.tensor([180.0, 150.0]))
