"""Ground truth through targets, codec, decode and evaluation: what the best network could get."""

import json
import os

import numpy as np
import pytest
from data_toys import PERSON, make_config
from ground_truth_outputs import STRIDES, run

from rle_onestage.structures.skeleton import COCO

REAL = os.path.join(os.path.dirname(__file__), "..", "..", "..", "shared", "data")
LSPET_SIGMAS = [0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.062, 0.072, 0.079, 0.079, 0.072, 0.062, 0.079, 0.079]


def random_people(rng, count, side):
    """Annotations of people in random poses, some of them truncated, hidden in part, or without labelled joints."""
    made = []
    for _ in range(count):
        size = rng.uniform(20, 120)
        box = np.array([*rng.uniform(-10, side - 20, 2), size * rng.uniform(0.4, 1.2), size])
        low, high = np.clip(box[:2], 0, side), np.clip(box[:2] + box[2:], 0, side)
        if (high - low).min() < 4:
            continue
        joints = rng.uniform(low, high - 1, (17, 2)).round()
        visible = rng.integers(0, 3, 17) if rng.random() > 0.1 else np.zeros(17)
        keypoints = np.concatenate([joints * (visible > 0)[:, None], visible[:, None]], 1)
        made.append(
            {
                "image_id": 0, "category_id": 1, "iscrowd": 0, "bbox": [*low.tolist(), *(high - low).tolist()],
                "area": float(0.5 * np.prod(high - low)), "keypoints": keypoints.flatten().tolist(),
                "num_keypoints": int((visible > 0).sum()),
            }
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A set of 40 images with up to 6 people each, some without any."""
    folder = tmp_path_factory.mktemp("truth")
    rng = np.random.default_rng(0)
    content = {"images": [], "annotations": [], "categories": [PERSON]}
    for number in range(1, 41):
        content["images"].append({"id": number, "file_name": f"{number}.png", "height": 256, "width": 256})
        for annotation in random_people(rng, int(rng.integers(0, 7)), 256):
            content["annotations"].append({**annotation, "image_id": number, "id": len(content["annotations"]) + 1})
    path = folder / "people.json"
    path.write_text(json.dumps(content))
    name = "ground_truth_people"
    return make_config(
        DATASETS__KEYPOINT_FILES=[[name, str(path), str(folder)]], DATASETS__TRAIN=(name,), DATASETS__TEST=(name,)
    )


@pytest.mark.parametrize("style", STRIDES)
def test_generated_people(config, style):
    figures, missed = run(config, config.DATASETS.TEST[0], style)
    assert figures["keypoints"]["AP"] >= 99 and missed == 0
    assert figures["bbox"]["AP"] >= 95


def test_a_wrong_codec_would_show(config, monkeypatch):
    """Two pixels of shift cost points: the test above can fail."""
    import ground_truth_outputs

    honest = ground_truth_outputs.decode_joints
    shifted = lambda offset, xy, stride: honest(offset, xy + 2, stride)  # noqa: E731
    monkeypatch.setattr(ground_truth_outputs, "decode_joints", shifted)
    assert run(config, config.DATASETS.TEST[0], "fcos")[0]["keypoints"]["AP"] < 95


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir(REAL), reason="real photographs are not here")
@pytest.mark.parametrize("style", STRIDES)
@pytest.mark.parametrize("name, sigmas", [("coco_micro", []), ("lspet", LSPET_SIGMAS)])
def test_real_people(name, sigmas, style):
    folder = os.path.join(REAL, name)
    json_file = os.path.join(folder, "annotations", "person_keypoints_val.json")
    files = [[f"truth_{name}", json_file, os.path.join(folder, "val")]]
    cfg = make_config(
        DATASETS__KEYPOINT_FILES=files, DATASETS__TEST=(files[0][0],), TEST__KEYPOINT_OKS_SIGMAS=sigmas,
        MODEL__RLE_ONESTAGE__NUM_KEYPOINTS=len(sigmas) or len(COCO.oks_sigmas),
    )  # fmt: skip
    assert run(cfg, files[0][0], style)[0]["keypoints"]["AP"] >= 99
