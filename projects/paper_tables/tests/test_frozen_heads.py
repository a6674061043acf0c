"""Heads on stored features: the same answers as the whole model, and nothing of the trunk learns."""

from pathlib import Path

import frozen_heads
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances, Keypoints
from paper_tables.features import Seen, _without_image, see, top_down_model
from paper_tables.heads import OnFeatures, train

from rle_onestage.data.given_boxes import as_proposals
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError

CONFIG = str(Path(__file__).resolve().parents[1] / "configs" / "frozen_lspet.yaml")
RULES = frozen_heads.options_of(list(frozen_heads.parse_yaml(str(frozen_heads.RULES))[0]))
SMALL = [
    "MODEL.RLE_ONESTAGE.TOP_DOWN.CROP_SIZE", "[64, 64]", "MODEL.RLE_ONESTAGE.MOVENET.CHANNELS", "16",
    "MODEL.RLE_ONESTAGE.TWO_STAGE.DECONV_DIMS", "[8]", "MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "3", "SEED", "1",
    "SOLVER.IMS_PER_BATCH", "4", "SOLVER.WARMUP_ITERS", "2", "SOLVER.BASE_LR", "0.02", "SOLVER.MAX_ITER",
]  # fmt: skip


def config(loss, iterations=6):
    """A small one."""
    return load_config(CONFIG, [*RULES[loss], *SMALL, str(iterations)])


def seen(model, people=6):
    """Random crops with labels in their middle."""
    generator = torch.Generator().manual_seed(0)
    rows, region = [], torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    for _ in range(people):
        person = Instances((64, 64))
        joints = torch.cat([32 + torch.randn(1, 14, 2, generator=generator), torch.full((1, 14, 1), 2.0)], -1)
        person.gt_boxes, person.proposal_boxes, person.gt_keypoints = Boxes(region), Boxes(region), Keypoints(joints)
        rows.append(person)
    images = torch.randn(people, 3, 64, 64, generator=generator)
    return Seen(see(model, images, [region] * people), rows)


@pytest.mark.parametrize("loss", ["rle", "simplepose"])
def test_only_what_comes_after_the_trunk_learns(loss):
    cfg = config(loss)
    torch.manual_seed(0)
    whole = top_down_model(cfg)
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    train(cfg, whole, OnFeatures(whole), seen(whole))
    changed = {name for name, value in whole.state_dict().items() if not torch.equal(value, before[name])}
    assert not [name for name in changed if name.startswith("backbone.trunk.")]
    for part in ("backbone.neck.p5.lateral", "backbone.neck.p5.block", "keypoint_head."):
        assert any(name.startswith(part) for name in changed), part
    assert any(".flow." in name for name in changed) == (loss == "rle")  # its warm-up is over


def test_a_training_fits_what_it_has_seen():
    cfg = config("laplace", 40)
    torch.manual_seed(0)
    whole = top_down_model(cfg)
    crops, model = seen(whole), OnFeatures(whole)
    everyone = crops.batch(torch.arange(6))
    before = float(model.train().losses(*everyone)["loss_keypoint"].detach())
    train(cfg, whole, model, crops)
    assert float(model.train().losses(*everyone)["loss_keypoint"].detach()) < before - 0.3


@pytest.mark.parametrize("loss", ["rle", "simplepose"])
def test_answers_are_those_of_the_whole_model(loss):
    torch.manual_seed(0)
    whole = top_down_model(config(loss))
    torch.nn.init.normal_(whole.keypoint_head.network.offset.weight) if loss == "rle" else None
    boxes = np.array([[5.0, 5, 50, 60], [20, 10, 64, 40]])
    image = torch.randint(0, 256, (3, 64, 80), dtype=torch.uint8)
    sample = {"image": image, "height": 128, "width": 240, "image_id": 1}
    sample["proposals"] = as_proposals(boxes, np.array([0.9, 0.5]), (64, 80))
    with torch.no_grad():
        wanted = whole([sample])[0]["instances"]
        found = OnFeatures(whole)(_without_image(whole, sample))[0]["instances"]
    torch.testing.assert_close(found.pred_boxes.tensor, wanted.pred_boxes.tensor)
    assert (found.pred_keypoints - wanted.pred_keypoints)[..., :2].abs().median() < 0.5  # bfloat16
    torch.testing.assert_close(found.scores, wanted.scores, atol=0.02, rtol=0.05)


def test_a_flip_test_and_other_backbones_are_a_sentence():
    with pytest.raises(ConfigError, match="FLIP_TEST False"):
        top_down_model(load_config(CONFIG, ["MODEL.RLE_ONESTAGE.TOP_DOWN.FLIP_TEST", "True"]))


@pytest.mark.parametrize("loss", list(RULES))
def test_every_rule_is_one_of_the_configs_keys(loss):
    assert load_config(CONFIG, RULES[loss]).SOLVER.MAX_ITER == 600


def test_the_first_seed_is_for_all_losses_and_what_is_done_is_not_planned(tmp_path):
    command = ["--config-file", CONFIG, "--output", str(tmp_path), "--losses", "l2", "rle", "--seeds", "1", "2"]
    arguments = frozen_heads.parse(command)
    assert [run[:2] for run in frozen_heads.planned(arguments)] == [("rle", 1), ("l2", 1), ("rle", 2)]
    (tmp_path / "rle" / "seed1").mkdir(parents=True)
    (tmp_path / "rle" / "seed1" / "metrics.json").write_text("{}")
    assert [run[:2] for run in frozen_heads.planned(arguments)] == [("l2", 1), ("rle", 2)]
    with pytest.raises(ConfigError, match="'l3' is not known"):
        frozen_heads.options_of(["l3"])
