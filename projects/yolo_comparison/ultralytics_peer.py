#!/usr/bin/env python3
r"""The other model of head_to_head.py: train, run and time an Ultralytics pose model on COCO-format data.

Runs in an environment of its own, without this project: pip install ultralytics

python projects/yolo_comparison/ultralytics_peer.py train --data ROOT --model yolo26n-pose.yaml \
    --imgsz 256 --epochs 30 --output runs/n
python projects/yolo_comparison/ultralytics_peer.py predict --data ROOT --split val \
    --weights runs/n/weights/last.pt --imgsz 256 \
    --results R.json
python projects/yolo_comparison/ultralytics_peer.py serve --weights yolo26n-pose.yaml --imgsz 640 --threads 2

ROOT holds annotations/person_keypoints_{train,val}.json and the folders train/ and val/. Training is with the peer's
own defaults, from scratch. "serve" reads paths of images from standard input and answers each with a line of JSON:
the milliseconds from the decoded image to people, and how many they are.
"""

import argparse
import copy
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("YOLO_OFFLINE", "true")


def flip_index(names: list[str]) -> list[int]:
    """Which joint each becomes in a mirror, by left and right in the names."""
    swap = {"left": "right", "right": "left"}
    return [names.index("_".join(swap.get(part, part) for part in name.split("_"))) for name in names]


def label_lines(annotations: list[dict], width: int, height: int) -> list[str]:
    """The annotations of one image as Ultralytics' label lines; crowds have none."""
    lines = []
    for annotation in annotations:
        if annotation.get("iscrowd"):
            continue
        x, y, w, h = annotation["bbox"]
        row = [0, (x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
        keypoints = annotation["keypoints"]
        for i in range(0, len(keypoints), 3):
            px, py, flag = keypoints[i : i + 3]
            row += [px / width, py / height, flag] if flag else [0, 0, 0]
        lines.append(" ".join(f"{value:.6g}" for value in row))
    return lines


def write_yolo(root: Path, work: Path) -> Path:
    """Copy images and write label files and ``data.yaml`` for ``root`` in ``work``; returns the yaml's path."""
    for split in ("train", "val"):
        data = json.loads((root / "annotations" / f"person_keypoints_{split}.json").read_text())
        names = data["categories"][0]["keypoints"]
        by_image: dict[int, list[dict]] = {}
        for annotation in data["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        images, labels = work / "images" / split, work / "labels" / split
        for folder in (images, labels):
            folder.mkdir(parents=True, exist_ok=True)
        for image in data["images"]:
            name = image["file_name"]
            shutil.copyfile(root / split / name, images / name)
            lines = label_lines(by_image.get(image["id"], []), image["width"], image["height"])
            (labels / name).with_suffix(".txt").write_text("\n".join(lines))
    file = work / "data.yaml"
    file.write_text(
        f"path: {work.resolve()}\ntrain: images/train\nval: images/val\nnames:\n  0: person\n"
        f"kpt_shape: [{len(names)}, 3]\nflip_idx: {flip_index(names)}\n"
    )
    return file


def train(args: argparse.Namespace) -> None:
    """Train from scratch; writes ``OUTPUT/weights/last.pt`` and ``OUTPUT/training.json`` (the time if in one go)."""
    from ultralytics import YOLO

    output = Path(args.output)
    last, report = output / "weights" / "last.pt", output / "training.json"
    if args.resume and report.exists():
        return
    if args.resume and last.exists():
        YOLO(str(last)).train(resume=True)
        report.write_text(json.dumps({"epochs": args.epochs, "batch": args.batch}))
        return
    data = write_yolo(Path(args.data), output / "data")
    model, start = YOLO(args.weights or args.model), time.perf_counter()
    model.train(
        data=str(data), imgsz=args.imgsz, epochs=args.epochs, batch=args.batch, device=args.device,
        workers=args.workers, pretrained=bool(args.weights), plots=False, val=False, fraction=args.fraction,
        project=str(output.parent.resolve()), name=output.name,
        exist_ok=True, verbose=False, seed=args.seed,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    report.write_text(json.dumps({"seconds": seconds, "epochs": args.epochs, "batch": args.batch}))
    print(f"trained in {seconds:.0f} s")


def people_of(result: Any, image_id: int) -> list[dict[str, Any]]:
    """COCO results of one image, from Ultralytics' ``Results``."""
    if result.keypoints is None:
        return []
    rows, boxes = [], result.boxes
    for points, box, score in zip(*(x.cpu().numpy() for x in (result.keypoints.data, boxes.xyxy, boxes.conf))):
        flat = [round(float(v), 2) for x, y in points[:, :2] for v in (x, y, 1.0)]
        x0, y0, x1, y1 = map(float, box)
        bbox = [round(v, 2) for v in (x0, y0, x1 - x0, y1 - y0)]
        row = {"image_id": image_id, "category_id": 1, "keypoints": flat, "bbox": bbox, "score": float(score)}
        rows.append(row)
    return rows


def predict(args: argparse.Namespace) -> None:
    """Write COCO keypoint results of a split."""
    from ultralytics import YOLO

    root, model, rows = Path(args.data), YOLO(args.weights), []
    data = json.loads((root / "annotations" / f"person_keypoints_{args.split}.json").read_text())
    for image in data["images"]:
        path = str(root / args.split / image["file_name"])
        options = {"imgsz": args.imgsz, "conf": 0.001, "max_det": 100, "device": args.device, "verbose": False}
        rows += people_of(model.predict(path, **options)[0], image["id"])
    Path(args.results).parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(f"{args.results}.tmp")
    temporary.write_text(json.dumps(rows))
    temporary.replace(args.results)
    print(f"{len(rows)} people in {len(data['images'])} images")


def serve(args: argparse.Namespace) -> None:
    """Answer paths of images on standard input, one line of JSON each."""
    import cv2
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from ultralytics import YOLO

    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    model = YOLO(args.weights)
    options = {"imgsz": args.imgsz, "conf": 0.05, "max_det": 100, "device": args.device, "verbose": False}
    network = copy.deepcopy(model.model).fuse().eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, args.imgsz, args.imgsz))
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    sys.stderr.flush()
    print(json.dumps({"parameters_M": millions, "gflops": counter.get_total_flops() / 1e9}), flush=True)
    for line in sys.stdin:
        image = cv2.imread(line.strip())
        start = time.perf_counter()
        result = model.predict(image, **options)[0]
        seconds = time.perf_counter() - start
        print(json.dumps({"ms": 1e3 * seconds, "people": len(result.boxes)}), flush=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(name: str, function: Callable, weights: bool) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=(function.__doc__ or "").splitlines()[0])
        sub.set_defaults(run=function)
        sub.add_argument("--imgsz", type=int, default=640)
        sub.add_argument("--device", default="cpu")
        sub.add_argument("--weights", required=weights, default="", help="a .pt file, or a .yaml for random ones")
        return sub

    sub = command("train", train, weights=False)
    sub.add_argument("--data", required=True)
    sub.add_argument("--output", required=True)
    sub.add_argument("--model", default="yolo26n-pose.yaml")
    sub.add_argument("--resume", action="store_true", help="go on after a stop")
    sub.add_argument("--fraction", type=float, default=1.0, help="of the training images, to measure time")
    for name, default in (("epochs", 30), ("batch", 16), ("workers", 1), ("seed", 0)):
        sub.add_argument(f"--{name}", type=int, default=default)
    sub = command("predict", predict, weights=True)
    sub.add_argument("--data", required=True)
    sub.add_argument("--split", default="val")
    sub.add_argument("--results", required=True)
    sub = command("serve", serve, weights=True)
    sub.add_argument("--threads", type=int, default=2)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    arguments = parse()
    arguments.run(arguments)
