"""A training on several sets that disagree, stopped and resumed: the weights are those of one that was not."""

import torch
from data_toys import toy_content, write_set
from modeling_toys import TINY
from set_toys import limbs_content, with_polygons

from rle_onestage.engine.setup import load_config
from rle_onestage.engine.trainer import Trainer


def make_config(root, output):
    """Two sets of different joints, mosaics across them, pasted people, worse photographs: all that is random."""
    files = []
    for name, content in (("resume_a", with_polygons(toy_content(5))), ("resume_b", limbs_content(score=0.5))):
        files.append([name, *write_set(str(root / name), content)])
    files[1].append({"partial": True, "unlabelled": "unknown", "area": "box", "weight_by": "score"})
    return load_config("", [
        *TINY, "DATASETS.KEYPOINT_FILES", str(files), "DATASETS.TRAIN", "('resume_a', 'resume_b')", "DATASETS.TEST",
        "()", "DATASETS.TRAIN_WEIGHTS", "[1.5, [2, 0.5]]", "INPUT.POSE.SIZE", "96", "INPUT.POSE.SCALE", "[0.7, 1.3]",
        "INPUT.POSE.MOSAIC_PROB", "0.5", "INPUT.POSE.MOSAIC_OFF", "0.0", "INPUT.POSE.COPY_PASTE_PROB", "0.5",
        "INPUT.POSE.ERASE_PROB", "0.5", "INPUT.POSE.DEGRADE.NOISE", "0.5", "SOLVER.IMS_PER_BATCH", "3",
        "SOLVER.MAX_ITER", "6", "SOLVER.CHECKPOINT_PERIOD", "4", "DATALOADER.NUM_WORKERS", "0", "SEED", "3",
        "SOLVER.OPTIMIZER", "AdamW", "SOLVER.BASE_LR", "0.001", "OUTPUT_DIR", str(output),
    ])  # fmt: skip


def test_resuming_within_a_training_on_several_sets_gives_the_same_weights(tmp_path):
    whole = Trainer(make_config(tmp_path, tmp_path / "whole"))
    whole.train()
    first = Trainer(make_config(tmp_path, tmp_path / "parts"))
    first.max_iter = 4
    first.train()
    second = Trainer(make_config(tmp_path, tmp_path / "parts"))
    second.resume_or_load(resume=True)
    assert second.start_iter == 4
    second.train()
    kept, resumed = whole.model.state_dict(), second.model.state_dict()
    assert kept.keys() == resumed.keys() and all(torch.equal(kept[name], resumed[name]) for name in kept)
    before = first.model.state_dict()
    assert any(not torch.equal(before[name], resumed[name]) for name in before)
