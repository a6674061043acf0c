"""Detectron2's own tools on our data sets, and our mapper on Detectron2's dictionaries."""

import copy

import numpy as np
import torch
from data_toys import toy_config, toy_content
from detectron2.data import DatasetMapper, MetadataCatalog, build_detection_test_loader
from detectron2.data.datasets import load_coco_json
from detectron2.utils.visualizer import Visualizer

from rle_onestage.data import PoseMapper, get_skeleton, load_dataset, read_image
from rle_onestage.data.handover import pack, unpack


def test_stock_mapper_and_ours_give_the_same_labels(tmp_path):
    cfg = toy_config(tmp_path, "stock_set", toy_content(2))
    cfg.MODEL.KEYPOINT_ON = True
    cfg.INPUT.MIN_SIZE_TRAIN = (120,)
    cfg.INPUT.RANDOM_FLIP = "none"
    mapper = PoseMapper(cfg, True, skeleton=get_skeleton(cfg, "stock_set"))
    stock = DatasetMapper(cfg, is_train=True, augmentations=[], use_keypoint=True, image_format="BGR")
    for record in load_dataset(cfg, "stock_set"):
        theirs = stock(copy.deepcopy(record))
        assert theirs["image"].shape[1:] == (record["height"], record["width"])
        ours = mapper(record, np.random.default_rng(0))["instances"]
        scale = ours.image_size[0] / record["height"]
        assert torch.allclose(ours.gt_boxes.tensor, scale * theirs["instances"].gt_boxes.tensor, atol=1e-4)
        expected = theirs["instances"].gt_keypoints.tensor * torch.tensor([scale, scale, 1])
        assert torch.allclose(ours.gt_keypoints.tensor, expected, atol=1e-4)


def test_dictionaries_of_detectron2s_loader_can_be_mapped(tmp_path):
    cfg = toy_config(tmp_path, "exchange_set", toy_content(2))
    (name, path, folder) = cfg.DATASETS.KEYPOINT_FILES[0]
    mapper = PoseMapper(cfg, False, skeleton=get_skeleton(cfg, name), annotations=True)
    for theirs, ours in zip(load_coco_json(path, folder), load_dataset(cfg, name)):
        a, b = mapper(theirs)["instances"], mapper(ours)["instances"]
        assert torch.equal(a.gt_keypoints.tensor, b.gt_keypoints.tensor)
        assert torch.equal(a.gt_boxes.tensor, b.gt_boxes.tensor)
        assert torch.allclose(a.gt_area, 0.53 / 0.5 * b.gt_area)  # their dictionaries have no area


def test_stock_visualizer_and_test_loader_work(tmp_path):
    cfg = toy_config(tmp_path, "visual_set", toy_content(3))
    record = load_dataset(cfg, "visual_set")[0]
    metadata = MetadataCatalog.get("visual_set")
    image = read_image(record["file_name"])
    drawn = Visualizer(image[:, :, ::-1], metadata).draw_dataset_dict(record).get_image()
    assert drawn.shape == image.shape and (drawn != image[:, :, ::-1]).any()
    assert [batch[0]["image_id"] for batch in build_detection_test_loader(cfg, "visual_set")] == [0, 1, 2]


def test_batches_come_out_of_a_worker_as_they_were(tmp_path):
    cfg = toy_config(tmp_path, "packed_set", toy_content(3))
    mapper = PoseMapper(cfg, True, skeleton=get_skeleton(cfg, "packed_set"))
    batch = [mapper(r, np.random.default_rng(0)) for r in load_dataset(cfg, "packed_set")]
    batch.insert(1, {"error": "a sentence", "unreadable": [("a", "b")]})
    again = unpack(pack(batch))
    assert again[1] == batch[1]
    for a, b in zip(batch[:1] + batch[2:], again[:1] + again[2:]):
        assert a.keys() == b.keys() and torch.equal(a["image"], b["image"])
        assert a["instances"].image_size == b["instances"].image_size
        for name, field in a["instances"].get_fields().items():
            other = b["instances"].get(name)
            assert type(field) is type(other)
            assert torch.equal(getattr(field, "tensor", field), getattr(other, "tensor", other))
        assert torch.equal(a["ignore_boxes"].tensor, b["ignore_boxes"].tensor)
    assert unpack(pack([{"error": "x"}])) == [{"error": "x"}]
