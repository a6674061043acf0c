"""A YOLO-pose set trains and evaluates as its twin in COCO's format, whose areas are 0.53 of the boxes."""

import json

import numpy as np
import pytest
from data_toys import PERSON, person
from modeling_toys import TINY
from yolo_toys import COCO_FLIPS, row_of, write_image, write_yolo_set

from rle_onestage.data import get_skeleton
from rle_onestage.data.conversion import yolo_to_coco
from rle_onestage.engine.setup import load_config
from rle_onestage.engine.trainer import Trainer

WIDTH, HEIGHT, IMAGES = 64, 48, 5


def people():
    """People in each image but the last, at whole pixels; some joints are hidden or not labelled."""
    rng = np.random.default_rng(3)
    annotations = []
    for image_id in range(IMAGES - 1):
        for _ in range(1 + image_id % 2):
            x, y, w, h = (
                2 * rng.integers(0, 10),
                2 * rng.integers(0, 6),
                2 * rng.integers(8, 20),
                2 * rng.integers(8, 16),
            )
            one = person(len(annotations) + 1, 10 * image_id, box=[int(v) for v in (x, y, w, h)])
            one.update(area=0.53 * w * h, num_keypoints=15)
            one["keypoints"][6:9] = one["keypoints"][15:18] = [0, 0, 0]
            annotations.append(one)
    return annotations


def write_twins(root):
    """Entries of ``DATASETS.KEYPOINT_FILES``: a YOLO-pose set, its twin by hand, and its twin by conversion."""
    annotations = people()
    rows = ["".join(row_of(a, WIDTH, HEIGHT) for a in annotations if a["image_id"] == 10 * i) for i in range(IMAGES)]
    description = {"kpt_shape": [17, 3], "flip_idx": COCO_FLIPS, "names": {0: "person"}}
    path = write_yolo_set(root / "yolo", rows, description, size=(WIDTH, HEIGHT))
    images = []
    for i in range(IMAGES):
        write_image(f"{root}/coco/{i:03d}.png", WIDTH, HEIGHT, seed=i)
        images.append({"id": 10 * i, "file_name": f"{i:03d}.png", "width": WIDTH, "height": HEIGHT})
    content = {"images": images, "annotations": annotations, "categories": [PERSON]}
    (root / "twin.json").write_text(json.dumps(content))
    yolo_to_coco(f"{path}:train", str(root / "converted.json"))
    return [
        ["of_yolo", path, "train"],
        ["by_hand", str(root / "twin.json"), str(root / "coco")],
        ["by_conversion", str(root / "converted.json"), str(root / "yolo")],
    ]


def config(files, name, output, *options):
    return load_config("", [
        *TINY, "DATASETS.KEYPOINT_FILES", str(files), "DATASETS.TRAIN", f"('{name}',)", "DATASETS.TEST", f"('{name}',)",
        "INPUT.POSE.SIZE", "64", "INPUT.POSE.SCALE", "[0.8, 1.2]", "INPUT.MIN_SIZE_TEST", "64", "INPUT.MAX_SIZE_TEST",
        "64", "SOLVER.IMS_PER_BATCH", "4", "SOLVER.MAX_ITER", "3", "DATALOADER.NUM_WORKERS", "0", "SEED", "3",
        "SOLVER.BASE_LR", "0.001", "SOLVER.WARMUP_ITERS", "0", "TEST.EVAL_PERIOD", "0", "OUTPUT_DIR", str(output),
        "DATALOADER.FILTER_EMPTY_ANNOTATIONS", "False", "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0", *options,
    ])  # fmt: skip


def losses_and_trainer(cfg):
    """The losses of a short training, and what trained."""
    trainer, losses = Trainer(cfg), []
    note = trainer._note

    def noted(metrics):
        losses.append({name: float(value) for name, value in (metrics or {}).items() if "time" not in name})
        note(metrics)

    trainer._note = noted
    trainer.train()
    return losses, trainer


def flat(results, head=""):
    """Metrics in dictionaries of dictionaries, by one name each."""
    for name, value in results.items():
        if isinstance(value, dict):
            yield from flat(value, f"{head}{name}/")
        else:
            yield f"{head}{name}", value


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Losses and metrics of a training on each twin, with the weights of the first for all evaluations."""
    root = tmp_path_factory.mktemp("twins")
    files = write_twins(root)
    losses, metrics, model = {}, {}, None
    for name, *_ in files:
        losses[name], trainer = losses_and_trainer(config(files, name, root / name))
        model = model or trainer.model
        # Wide enough for a model of three steps to find somebody.
        cfg = config(files, name, root / name, "TEST.KEYPOINT_OKS_SIGMAS", str([0.5 + joint for joint in range(17)]))
        metrics[name] = dict(flat(Trainer.test(cfg, model)))
    return losses, metrics, files


@pytest.mark.parametrize("twin", ["by_hand", "by_conversion"])
def test_the_first_losses_are_those_of_its_twin(trained, twin):
    losses = trained[0]
    assert len(losses["of_yolo"]) >= 3 and any("loss_" in name for name in losses["of_yolo"][0])
    for ours, theirs in zip(losses["of_yolo"], losses[twin], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("twin", ["by_hand", "by_conversion"])
def test_the_metrics_of_the_same_weights_are_those_of_its_twin(trained, twin):
    metrics = trained[1]
    assert metrics["of_yolo"].keys() == metrics[twin].keys() and metrics["of_yolo"]["keypoints/AP"] > 0
    assert metrics["of_yolo"] == pytest.approx(metrics[twin], rel=1e-6, nan_ok=True)


def test_the_joints_are_those_of_its_twin(trained, tmp_path):
    skeletons = [get_skeleton(config(trained[2], name, tmp_path), name) for name, *_ in trained[2]]
    for skeleton in skeletons[1:]:
        for part in ("names", "flip_pairs", "limbs", "oks_sigmas"):
            assert getattr(skeleton, part) == getattr(skeletons[0], part)
