"""Object keypoint similarity: pycocotools' between poses, closed forms and samples for its expectation."""

import numpy as np
import pytest
import torch
from modeling_toys import grid_integral, skewed, trained_density
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from rle_onestage.modeling.density.densities import build_density
from rle_onestage.modeling.density.quadrature import fold
from rle_onestage.modeling.postprocessing import Decoder
from rle_onestage.structures.oks import expected_gaussian, expected_joint_oks, expected_laplace, joint_oks, pairwise_oks
from rle_onestage.structures.skeleton import COCO as SKELETON

# Standard deviation over k, from joints known exactly to joints that are guessed.
RATIOS = torch.tensor([0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0])


def test_pairwise_equals_pycocotools():
    rng = np.random.default_rng(0)
    truth = {"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1}]}
    for number in range(1, 5):
        keypoints = np.concatenate([rng.uniform(0, 100, (17, 2)), rng.integers(0, 3, (17, 1))], 1)
        keypoints[0, 2] = 2
        truth["annotations"].append(
            {
                "id": number, "image_id": 1, "category_id": 1, "bbox": [10, 10, 80, 60], "iscrowd": 0,
                "area": float(rng.uniform(500, 4000)), "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                "keypoints": keypoints.flatten().tolist(),
            }
        )  # fmt: skip
    results = []
    for number in range(5):
        near = np.array(truth["annotations"][number % 4]["keypoints"]).reshape(17, 3)[:, :2]
        points = near + rng.normal(0, 3, (17, 2))
        keypoints = np.concatenate([points, np.ones((17, 1))], 1).flatten().tolist()
        results.append({"image_id": 1, "category_id": 1, "keypoints": keypoints, "score": 1 - number / 10})
    coco = COCO()
    coco.dataset = truth
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(results), "keypoints")
    evaluation._prepare()
    expected = evaluation.computeOks(1, 1)

    people = torch.tensor([a["keypoints"] for a in truth["annotations"]]).view(-1, 17, 3)
    area = torch.tensor([a["area"] for a in truth["annotations"]])
    pred = torch.tensor([r["keypoints"] for r in results]).view(-1, 17, 3)[..., :2]
    ours = pairwise_oks(pred, people[..., :2], people[..., 2] > 0, area, torch.tensor(SKELETON.oks_sigmas))
    assert ours.numpy() == pytest.approx(expected, abs=1e-5)
    assert expected.max() > 0.3


def test_people_without_labels_and_without_area():
    joints = torch.zeros(1, 2, 2)
    sigmas = torch.tensor([0.05, 0.1])
    nobody = pairwise_oks(joints, joints, torch.zeros(1, 2, dtype=torch.bool), torch.ones(1), sigmas)
    assert nobody.item() == 0
    flat = joint_oks(torch.tensor([[0.0, 1.0]]), torch.zeros(1), sigmas)
    assert flat.tolist() == [[1.0, 0.0]]


def expected_by_table(density, ratios, folded=False):
    nodes, weights, mean, std = (table[0] for table in density.table())
    nodes = nodes - mean
    if folded:  # as the decoder does
        nodes, weights = fold(nodes, weights, std, Decoder.FOLDED)
    scale = torch.stack([ratios, ratios], -1)[:, None]  # (n, 1 joint, 2), with k = 1 and area = 1
    return expected_joint_oks(scale, torch.ones(len(ratios)), torch.tensor([0.5]), nodes, weights)[:, 0]


@pytest.mark.parametrize("folded, most", [(False, 1e-2), (True, 1.2e-2)])
@pytest.mark.parametrize("name, closed", [("laplace", expected_laplace), ("gaussian", expected_gaussian)])
def test_table_equals_the_closed_form(name, closed, folded, most):
    """Within about 0.01: 0.009 is what the table of 20 x 20 bins costs at worst, for guessed joints."""
    difference = (expected_by_table(build_density(name), RATIOS, folded) - closed(RATIOS) ** 2).abs()
    assert difference.max() < most
    assert difference[RATIOS <= 0.5].max() < 2.5e-3


@pytest.mark.parametrize("name, closed", [("laplace", expected_laplace), ("gaussian", expected_gaussian)])
def test_closed_forms_equal_an_integral(name, closed):
    nodes, mass = grid_integral(build_density(name).log_q, count=400)
    for ratio in (0.1, 1.0, 5.0):
        expected = (mass * torch.exp(-0.5 * (ratio * nodes[:, 0]) ** 2)).sum().item()
        assert closed(torch.tensor(ratio)).item() == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("folded", [False, True])
def test_table_of_a_trained_density_equals_samples(folded):
    density = trained_density(skewed)
    nodes, mass = grid_integral(density.log_q, count=500)
    chosen = torch.multinomial(mass, 50_000, replacement=True, generator=torch.Generator().manual_seed(0))
    samples = (nodes - (mass @ nodes) / mass.sum())[chosen]
    for ratio, ours in zip(RATIOS, expected_by_table(density, RATIOS, folded)):
        similarity = joint_oks((ratio * samples).square().sum(1, keepdim=True), torch.ones(1), torch.tensor([0.5]))
        assert ours.item() == pytest.approx(similarity.mean().item(), abs=1.2e-2)


def test_each_axis_and_joint_has_its_own_spread():
    nodes, weights = (table[0] for table in build_density("gaussian").nodes())
    scale = torch.tensor([[[2.0, 4.0], [1.0, 1.0]]])
    sigmas = torch.tensor([0.05, 0.1])
    together = expected_joint_oks(scale, torch.tensor([400.0]), sigmas, nodes, weights)
    # k sqrt(area) is 2 and 4 pixels.
    closed = [expected_gaussian(torch.tensor([1.0, 2.0])).prod(), expected_gaussian(torch.tensor([0.25, 0.25])).prod()]
    assert together[0].tolist() == pytest.approx([x.item() for x in closed], abs=5e-3)
    each = expected_joint_oks(scale, torch.tensor([400.0]), sigmas, nodes.expand(2, -1, -1), weights.expand(2, -1))
    assert torch.allclose(each, together, atol=1e-6)
