#!/usr/bin/env python3
"""MoveNet's part of the latency: runs in MoveNet's environment, without this project.

    python projects/people/movenet_server.py movenet.py MODELS THREADS

Reads lines "SIDE PATH" from standard input and answers each with a line of JSON: the milliseconds from the decoded
image to people, and how many they are (score of 0.02 and more).
"""

import argparse
import importlib.util
import json
import sys
import time
from types import ModuleType

import cv2
import numpy as np


def load(script: str) -> ModuleType:
    """The script as a module.

    Args:
        script: path of ``movenet.py``.
    """
    spec = importlib.util.spec_from_file_location("movenet", script)
    assert spec is not None and spec.loader is not None  # for the type checker: a .py file has both
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(script: str, models: str, threads: int) -> None:
    """Answer until the input ends.

    Args:
        script: path of ``movenet.py``.
        models: folder of MoveNet's files.
        threads: of the processor.
    """
    cv2.setNumThreads(threads)
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not stand among the answers
    model = load(script).MoveNet(models, 320, threads=threads)
    for line in sys.stdin:
        side, path = line.rstrip("\n").split(" ", 1)
        image = np.asarray(cv2.imread(path))[:, :, ::-1].copy()
        model.side = int(side)
        start = time.perf_counter()
        scores = model(image)[2]
        milliseconds = 1e3 * (time.perf_counter() - start)
        print(json.dumps({"ms": milliseconds, "people": int((scores >= 0.02).sum())}), file=answers, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", metavar="movenet.py")
    parser.add_argument("models", metavar="MODELS", help="folder of MoveNet's files")
    parser.add_argument("threads", metavar="THREADS", type=int)
    main(**vars(parser.parse_args()))
