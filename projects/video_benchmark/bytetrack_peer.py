#!/usr/bin/env python3
r"""ByteTrack of Roboflow's ``trackers`` on our detections, for ``benchmark_video.py report --peer``.

It runs in an environment of its own (pip install trackers), without this package. Every combination of the values
given is run into a folder of its own, so that the peer can be tuned on the same clips as we are:

python -m venv peer && peer/bin/pip install trackers
peer/bin/python projects/video_benchmark/bytetrack_peer.py --detections output/video/tune \
    --output output/video/tune_bytetrack \
    --activation 0.2 0.3 0.4 --high 0.2 0.3 0.4 --iou 0.1 0.3 --buffer 30 60 --lowest 0.02 0.1 0.2
"""

import argparse
import glob
import itertools
import os
import sys
from collections.abc import Sequence

import numpy as np

OPTIONS = {
    # flag: (argument of ByteTrackTracker, its default in the library)
    "activation": ("track_activation_threshold", 0.7),
    "high": ("high_conf_det_threshold", 0.6),
    "iou": ("minimum_iou_threshold", 0.1),
    "buffer": ("lost_track_buffer", 30),
    "confirm": ("minimum_consecutive_frames", 2),
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", required=True, metavar="DIR", help="of benchmark_video.py detect")
    parser.add_argument("--output", required=True, metavar="DIR", help="a folder for each combination is made in it")
    parser.add_argument("--rate", type=float, default=25.0, help="frames a second (default 25)")
    parser.add_argument("--lowest", type=float, nargs="+", default=[0.02], help="lowest score given to the tracker")
    for flag, (name, default) in OPTIONS.items():
        parser.add_argument(
            f"--{flag}", type=type(default), nargs="+", default=[default], help=f"{name} (default {default})"
        )
    return parser.parse_args(arguments)


def follow(path: str, lowest: float, rate: float, options: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Rows (M,) of the detections that belong to a track, and its identity (M,)."""
    import supervision
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(frame_rate=rate, **options)
    data = np.load(path)
    rows, ids = [], []
    for frame in range(int(data["frame"].max(initial=-1)) + 1):
        index = np.flatnonzero((data["frame"] == frame) & (data["scores"] >= lowest))
        found = supervision.Detections(
            xyxy=data["boxes"][index].astype(np.float32), confidence=data["scores"][index].astype(np.float32),
            data={"row": index},
        )  # fmt: skip
        tracked = tracker.update(found)
        kept = tracked.tracker_id >= 0
        if kept.any():
            rows.append(np.asarray(tracked.data["row"])[kept])
            ids.append(tracked.tracker_id[kept])
    whole = np.zeros(0, int)
    return np.concatenate([whole, *rows]), np.concatenate([whole, *ids])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every combination."""
    args = parse(arguments)
    files = sorted(glob.glob(os.path.join(args.detections, "*.npz")))
    if not files:
        sys.exit(f"error: {args.detections} has no detections; make them with benchmark_video.py detect")
    for values in itertools.product(args.lowest, *(getattr(args, flag) for flag in OPTIONS)):
        lowest, options = values[0], {name: value for (name, _), value in zip(OPTIONS.values(), values[1:])}
        if options["track_activation_threshold"] < options["high_conf_det_threshold"]:
            continue
        label = "_".join(f"{flag}{value:g}" for flag, value in zip(("lowest", *OPTIONS), values))
        folder = os.path.join(args.output, label)
        os.makedirs(folder, exist_ok=True)
        for path in files:
            rows, ids = follow(path, lowest, args.rate, options)
            target = os.path.join(folder, os.path.basename(path))
            np.savez_compressed(f"{target}.tmp.npz", rows=rows, ids=ids)
            os.replace(f"{target}.tmp.npz", target)
        print(folder, flush=True)


if __name__ == "__main__":
    main()
