"""--draw-3d: pages of images with depth, and one sentence where there is none."""

import cv2
import pytest
import torch
from media_toys import image_file, one_person, video

from rle_onestage.cli.demo import main


def predictor(image):
    people = one_person(image)
    people.pred_keypoints_3d = 100 * torch.randn(len(people), 17, 3, generator=torch.Generator().manual_seed(0))
    people.pred_keypoint_3d_sigmas = torch.full((len(people), 17, 3), 40.0)
    people.pred_pixel_sizes = torch.full((len(people),), 10.0)
    return people


@pytest.fixture
def model(monkeypatch):
    predictor.skeleton, predictor.category, predictor.tells_depth = one_person.skeleton, one_person.category, True
    monkeypatch.setattr("rle_onestage.predictor.Predictor", lambda cfg, precision: predictor)
    return predictor


def test_a_page_for_each_image(tmp_path, model):
    given = ["--input", image_file(tmp_path / "a.png"), "--output", str(tmp_path / "out")]
    assert main([*given, "--draw-3d", "--draw-sigma"]) == 0
    page = cv2.imread(str(tmp_path / "out" / "a.png"))
    assert page.shape[0] >= 420 and page.shape[1] > 2 * page.shape[0]
    assert main(given) == 0
    assert cv2.imread(str(tmp_path / "out" / "a.png")).shape == cv2.imread(given[1]).shape


def test_it_needs_depth_and_images(tmp_path, model, capsys):
    model.tells_depth = False
    for given, words in (
        (["--input", image_file(tmp_path / "a.png"), "--output", str(tmp_path / "out")], "trained with depth"),
        (["--video-input", video(tmp_path / "v.mp4"), "--output", str(tmp_path / "out")], "is for images"),
    ):
        with pytest.raises(SystemExit) as end:
            main([*given, "--draw-3d"])
        assert end.value.code == 2 and words in capsys.readouterr().err
