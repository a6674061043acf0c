#!/usr/bin/env python3
"""MoveNet's side of the latency: runs in MoveNet's environment, without this project.

python movenet_server.py movenet.py MODELS THREADS

Reads lines "SIDE PATH" from standard input and answers each with a line of JSON: the milliseconds from the decoded
image to people, and how many they are (score of 0.02 and more).
"""

import importlib.util
import json
import sys
import time

import cv2


def load(script):
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("movenet", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(script, models, threads):
    """Answer until the input ends."""
    cv2.setNumThreads(int(threads))
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not stand among the answers
    model = load(script).MoveNet(models, 320, threads=int(threads))
    for line in sys.stdin:
        side, path = line.rstrip("\n").split(" ", 1)
        image = cv2.imread(path)[:, :, ::-1].copy()
        model.side = int(side)
        start = time.perf_counter()
        scores = model(image)[2]
        milliseconds = 1e3 * (time.perf_counter() - start)
        print(json.dumps({"ms": milliseconds, "people": int((scores >= 0.02).sum())}), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
