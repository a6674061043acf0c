"""What exported files say of where their weights come from, and of the licence that goes with them."""

import torch
from export_toys import photo, toy

from rle_onestage.export import ExportOptions, describe, export_model


def test_what_is_trained_from_shipped_weights_says_so(tmp_path):
    """The licence goes with it, the data too, and the origin is named whatever licence is given."""
    people, cfg = "rle-onestage://people.pth", toy(tmp_path, "fcos")
    content = torch.load(cfg.MODEL.WEIGHTS, weights_only=True)
    cfg.MODEL.WEIGHTS, cfg.DATASETS.TRAIN = str(tmp_path / "tuned.pth"), ("rle_coco_2017_train",)
    torch.save({**content, "origin": [people]}, cfg.MODEL.WEIGHTS)
    for licence in (None, "CC0"):
        path = str(tmp_path / f"tuned-{licence}.pt")
        export_model(cfg, path, "torchscript", images=[photo()], options=ExportOptions(licence=licence))
        said = describe(path)
        assert said["origin"] == [people] and said["training_data"][0] == "rle_coco_2017_train"
        assert f"{people}: COCO train2017 (coco_train)" in said["training_data"]
        assert said["licence"] == licence or said["licence"].startswith(f"From {people}: For research only. The lic")
