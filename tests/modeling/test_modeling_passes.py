"""Passes of the refinement: how many, when, and of whom."""

import math

import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config

from rle_onestage.modeling.refinement.noise import joint_noise

STEPS, TEST_STEPS = "MODEL.RLE_ONESTAGE.REFINE.STEPS", "MODEL.RLE_ONESTAGE.REFINE.TEST_STEPS"
BATCH = [make_input(0, [(6, 4, 50, 60, 17), (20, 10, 60, 62, 17)]), make_input(1, [(2, 2, 40, 50, 9)])]


def count_passes(model, run):
    calls = []
    handle = model.refiner.refinement.register_forward_hook(lambda *_: calls.append(1))
    try:
        run()
    finally:
        handle.remove()
    return len(calls)


@pytest.mark.parametrize("steps, test_steps, expected", [(1, 0, 1), (1, 3, 3), (2, 1, 2), (2, 0, 2)])
def test_number_of_passes_at_inference(steps, test_steps, expected):
    model = build_model(tiny_config(STEPS, steps, TEST_STEPS, test_steps)).eval()
    with torch.no_grad():
        assert count_passes(model, lambda: model(BATCH)) == expected


def test_passes_beyond_the_trained_ones_move_the_joints_and_leave_sigma():
    people = []
    for test_steps in (1, 2):
        torch.manual_seed(0)
        model = build_model(tiny_config(TEST_STEPS, test_steps)).eval()
        with torch.no_grad():
            people.append(model.decode(model.backbone(model.preprocess_image(BATCH).tensor)))
    once, twice = people
    assert torch.equal(once.sigmas, twice.sigmas)
    assert (once.joints[..., :2] - twice.joints[..., :2]).abs().max() > 1e-4


def test_without_refinement_there_is_no_pass_at_inference_either():
    model = build_model(tiny_config(STEPS, 0, TEST_STEPS, 2)).eval()
    with torch.no_grad():
        assert model.refiner is None and len(model(BATCH)) == 2


def test_further_passes_at_inference_do_not_change_training():
    losses = []
    for test_steps in (0, 3):
        torch.manual_seed(0)
        model = build_model(tiny_config(TEST_STEPS, test_steps)).train()
        losses.append(model(BATCH))
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])


def test_a_second_pass_learns_from_the_best_candidate_of_each_person():
    torch.manual_seed(0)
    model = build_model(tiny_config(STEPS, 2)).train()
    seen = []
    model.criterion.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    losses = model(BATCH)
    predictions, _, assignment = seen[0][:3]
    first, second = (stage.candidate for stage in predictions.refined.stages)
    assert (assignment.rank[second] == 0).all() and set(second.tolist()) <= set(first.tolist())
    assert len(second) == 3 < len(first)  # three people
    assert {"loss_refine1", "loss_refine2", "loss_quality"} <= losses.keys()


def test_noise_is_a_function_of_iteration_and_place():
    """By the formula, in Python's numbers, for the second joint and draw; the first runs had the same."""
    joints, first = torch.tensor([[[3.0, 4.0], [30.25, 17.5]]]), torch.tensor([0])
    key = 30.25 * float(torch.tensor(12.9898)) + 17.5 * float(torch.tensor(78.233)) + 3.1 + 0.7310585 * 41 + 17.17
    u = [math.modf(abs(math.sin(key * f)) * 43758.5453)[0] for f in (1.0, 1.618, 2.236)]
    length, angle = math.sqrt(-2 * math.log(u[0])) * 2 * u[2] * 8.0, 2 * math.pi * u[1]
    noise = joint_noise(joints, first, 41, 8.0, 2)
    assert noise.shape == (2, 1, 2, 2)
    assert noise[1, 0, 1].tolist() == pytest.approx([length * math.cos(angle), length * math.sin(angle)], rel=1e-5)
    assert not torch.equal(noise, joint_noise(joints, first, 42, 8.0, 2))


def test_people_at_one_place_have_noise_of_their_own():
    """Which is that of one process or many: who is computed beside somebody changes nothing."""
    joints = torch.rand(1, 17, 2, generator=torch.Generator().manual_seed(0)).mul(300).expand(3, -1, -1)
    noise = joint_noise(joints, torch.arange(3), 41, 8.0, 200)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        pair = torch.stack([noise[:, a].flatten(), noise[:, b].flatten()])
        assert torch.corrcoef(pair)[0, 1].abs() < 0.05
    assert torch.equal(noise[:, 2:], joint_noise(joints[:1], torch.tensor([2]), 41, 8.0, 200))


def test_two_people_at_one_place_start_their_passes_apart():
    """In the model: the true joints with noise, from which the refinement learns."""
    torch.manual_seed(0)
    model = build_model(tiny_config(STEPS, 1)).train()
    starts = []
    model.refiner.refinement.register_forward_pre_hook(lambda _, inputs: starts.append(inputs[1].poses.mu))
    image = make_input(1, [(4, 4, 40, 60, 17), (20, 10, 62, 50, 17)])  # boxes of their own, so that both are taught
    points = image["instances"].gt_keypoints.tensor
    points[1] = points[0]
    model([image])
    noisy = starts[-1].view(model.refiner.noise_draws, 2, 17, 2)
    assert (noisy[:, 0] != noisy[:, 1]).all()
