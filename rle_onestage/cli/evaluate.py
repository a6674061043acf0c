"""Measure a model on the data sets of ``DATASETS.TEST``: COCO's metrics, those of each joint, and of the sigmas.

rle-onestage evaluate --config-file output/run/config.yaml MODEL.WEIGHTS output/run/model_final.pth
rle-onestage evaluate --config-file output/run/config.yaml --resume     # the last checkpoint of its OUTPUT_DIR
rle-onestage evaluate --config-file own.yaml --before-training OUTPUT_DIR output/before   # what a training starts from
rle-onestage evaluate --results results.json --dataset rle_coco_2017_val     # a file of results, of any program
"""

import sys
from collections.abc import Sequence

from rle_onestage.cli import score_results, train


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    # Shorter, it could be --resume.
    if any(word.partition("=")[0] in ("--results", "--result", "--resul") for word in words):
        score_results.main(words, command="evaluate", text=score_results.OF_EVALUATE)
    else:
        train.main(words, command="evaluate", text=__doc__)
