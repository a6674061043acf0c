#!/usr/bin/env python3
"""Draw what the model is fed, or what the annotation files say.

    python tools/visualize_data.py --config-file configs/quickstart.yaml --source dataloader --output-dir output/data
    python tools/visualize_data.py --config-file C --source annotation --num 40 DATASETS.TRAIN "('my_set',)"

Left is blue, right is orange; hidden joints are hollow. White boxes are people, grey ones are crowds and slivers that
training ignores. Beside the pictures, ``page.png`` has the first of them on one page.
"""

import argparse
import os

import cv2
import numpy as np
import torch
from detectron2.structures import Boxes, BoxMode, Instances

from rle_onestage.data import build_train_loader, load_dataset, model_skeleton, own_skeleton, read_image
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import MediaError, exits_with_sentence
from rle_onestage.visualization import contact_sheet, draw_people

PAGE_COLUMNS, PAGE_SIZE = 4, 24


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default="", metavar="FILE", help="the config whose DATASETS.TRAIN is drawn")
    parser.add_argument(
        "--source", choices=("annotation", "dataloader"), default="dataloader", help="file, or augmented"
    )
    parser.add_argument("--output-dir", default="output/data", help="folder for the pictures")
    parser.add_argument("--num", type=int, default=24, help="how many pictures")
    parser.add_argument("opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    return parser.parse_args(argv)


def to_draw(boxes, keypoints, size):
    """Labels in the fields that ``draw_people`` knows: visible joints are certain, hidden ones are not.

    Args:
        boxes: (M, 4) x0, y0, x1, y1.
        keypoints: (M, K, 3).
        size: height and width.
    """
    people = Instances(size)
    keypoints = torch.as_tensor(keypoints, dtype=torch.float64).clone()
    people.pred_keypoint_presence = (keypoints[..., 2] > 0).double()
    keypoints[..., 2] = (keypoints[..., 2] > 1).double()
    people.pred_keypoints = keypoints
    people.pred_boxes = Boxes(torch.as_tensor(boxes))
    people.scores = torch.ones(len(keypoints))
    return people


def fed_pictures(cfg):
    """(name, image, boxes, keypoints, ignored boxes, skeleton) of what the loader gives, without end."""
    skeleton = model_skeleton(cfg)
    for batch in build_train_loader(cfg):
        for sample in batch:
            image = sample["image"].numpy().transpose(1, 2, 0)
            image = np.ascontiguousarray(image[:, :, ::-1] if cfg.INPUT.FORMAT == "RGB" else image)
            people = sample["instances"]
            boxes, keypoints = people.gt_boxes.tensor, people.gt_keypoints.tensor
            ignored = sample["ignore_boxes"].tensor.numpy()
            yield sample["file_name"], image, boxes.numpy(), keypoints.numpy(), ignored, skeleton


def filed_pictures(cfg):
    """The same of what the annotation files say."""
    for name in cfg.DATASETS.TRAIN:
        skeleton = own_skeleton(cfg, name)
        num_joints = skeleton.num_joints
        for record in load_dataset(cfg, name, own_joints=True):
            image = read_image(record["file_name"], record["width"], record["height"])
            labels = record["annotations"]
            boxes = np.array([BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in labels])
            keypoints = np.array([a.get("keypoints") or [0] * 3 * num_joints for a in labels], float)
            boxes, keypoints = boxes.reshape(-1, 4), keypoints.reshape(-1, num_joints, 3)
            crowd = np.array([bool(a.get("iscrowd")) for a in labels], bool)
            yield record["file_name"], image, boxes[~crowd], keypoints[~crowd], boxes[crowd], skeleton


def draw(image, boxes, keypoints, ignored, skeleton):
    """One picture, enlarged if it is small."""
    scale = max(1.0, 480 / max(image.shape[:2]))
    people = to_draw(boxes, keypoints, image.shape[:2])
    canvas = draw_people(image, people, skeleton, labels=False, scale=scale)
    for kind, colour in ((ignored, (128, 128, 128)), (boxes, (255, 255, 255))):
        for box in np.round(kind * scale).astype(int).tolist():
            cv2.rectangle(canvas, tuple(box[:2]), tuple(box[2:]), colour, 1)
    return canvas


def write_image(path, image):
    """Write a picture under a temporary name, then rename it."""
    stem, suffix = os.path.splitext(path)
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if not cv2.imwrite(f"{stem}.part{suffix}", image):
            raise OSError(None, "OpenCV cannot encode it")
        os.replace(f"{stem}.part{suffix}", path)
    except (OSError, cv2.error) as error:
        raise MediaError(
            f"{path} cannot be written ({getattr(error, 'strerror', error)}); choose another --output-dir"
        ) from error


@exits_with_sentence
def main(argv=None):
    """Draw the pictures and the page."""
    args = parse_args(argv)
    cfg = load_config(args.config_file, args.opts)
    source = fed_pictures(cfg) if args.source == "dataloader" else filed_pictures(cfg)
    page, i = [], -1
    for i, (name, *labels) in zip(range(args.num), source):
        picture = draw(*labels)
        stem = os.path.splitext(os.path.basename(name))[0]
        write_image(os.path.join(args.output_dir, f"{i:04d}_{stem}.jpg"), picture)
        page += [(picture, stem)] if i < PAGE_SIZE else []
    if page:
        pictures, captions = zip(*page)
        sheet = contact_sheet(list(pictures), PAGE_COLUMNS, captions=list(captions), tile=(360, 360))
        write_image(os.path.join(args.output_dir, "page.png"), sheet)
    print(f"{i + 1} pictures are in {args.output_dir}")


if __name__ == "__main__":
    main()
