"""The graph in PyTorch: its resize and its people are those of the predictor."""

import numpy as np
import pytest
import torch
from export_toys import SIDE, STYLES, photo, toy
from hypothesis import given
from hypothesis import strategies as st

from rle_onestage.data.transforms.augmentation import shortest_edge_size
from rle_onestage.export.graph import InputSize, PeopleGraph
from rle_onestage.export.resizing import BAND, Axis, resize_to_canvas, taps_of_band
from rle_onestage.predictor import Predictor

sides = st.integers(1, 200)


def resized(image, height, width):
    """By the graph's resize, without the rest of the canvas."""
    axes = []
    for given_, wanted in ((image.shape[0], height), (image.shape[1], width)):
        given_, wanted = torch.tensor(given_), torch.tensor(wanted)
        axes.append(Axis(given_, wanted, -(-int(wanted) // BAND) + 1, int(taps_of_band(given_, wanted))))
    made = resize_to_canvas(torch.from_numpy(image)[None], *axes)[0]
    assert not made[:, height:].any() and not made[:, :, width:].any()
    return made[:, :height, :width].permute(1, 2, 0).numpy()


@given(sides, sides, st.integers(1, 150), st.integers(0, 9))
def test_the_resize_is_the_predictors(height, width, longest, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = InputSize(longest, longest).resize(image)
    assert (resized(image, *expected.shape[:2]) == expected).all()


def test_an_image_of_the_right_size_stays_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (64, 50, 3), dtype=np.uint8)
    assert (resized(image, 64, 50) == image).all()


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([(640, 640), (800, 1333), (64, 64), (448, 448)]))
def test_sizes_are_those_of_the_predictor(height, width, edges):
    graph = PeopleGraph.__new__(PeopleGraph)  # the size alone is asked for
    torch.nn.Module.__init__(graph)
    graph.size = InputSize(*edges)
    found = graph.resized(torch.tensor(height), torch.tensor(width))
    assert tuple(int(side) for side in found) == shortest_edge_size(height, width, *edges)


@pytest.fixture(scope="module", autouse=True)
def normalised():
    """Graphs normalise pixels as the predictor does.

    By the weights of their first convolution (see test_modeling_fuse.py) rounding would exchange people of an untrained
    model.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rle_onestage.export.graph.fuse_pixel_std", lambda *_: False)
        yield


@pytest.fixture(scope="module", params=STYLES)
def model(request, tmp_path_factory):
    """A predictor and the graph of one style."""
    predictor = Predictor(toy(tmp_path_factory.mktemp("graph"), request.param))
    return predictor, PeopleGraph(predictor.model, InputSize(SIDE, SIDE)).eval()


@given(height=st.integers(64, 260), width=st.integers(64, 260))
def test_people_are_those_of_the_predictor(model, height, width):
    predictor, graph = model
    # Resized before, which is compared above: the scores of an untrained model are so alike that one grey level counts.
    image = predictor.resize(photo(height, width))
    with torch.no_grad():
        found = dict(zip(graph.outputs, graph(torch.from_numpy(image))))
    people = predictor(image)
    assert len(people) > 0
    torch.testing.assert_close(found["boxes"], people.pred_boxes.tensor, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(found["scores"], people.scores, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["areas"], people.pred_areas, rtol=1e-4, atol=1e-3)
    for name in ("keypoints", "keypoint_sigmas", "keypoint_covariances", "keypoint_presence"):
        torch.testing.assert_close(found[name.split("_")[-1]], people.get(f"pred_{name}"), rtol=1e-4, atol=1e-3)
    assert ("visibility" in found) == predictor.tells_hidden == people.has("pred_keypoint_visibility")


def test_a_fixed_canvas_is_padded(model):
    predictor, graph = model
    fixed = PeopleGraph(predictor.model, InputSize(SIDE, SIDE, (128, SIDE))).eval()
    image = photo(SIDE, SIDE)
    whole, half, given_size, resized_size = fixed.canvas(torch.from_numpy(image)[None])
    assert whole.shape == (1, 3, 128, SIDE) and not whole[:, :, SIDE:].any()
    torch.testing.assert_close(whole[:, :, :SIDE], graph.canvas(torch.from_numpy(image)[None])[0])
    assert given_size.tolist() == resized_size.tolist() == [SIDE, SIDE]
    assert fixed.size.padding(image) == 1 - SIDE / 128 and graph.size.padding(image) == 0
