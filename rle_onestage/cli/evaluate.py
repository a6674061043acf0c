"""Measure a model on the data sets of ``DATASETS.TEST``: COCO's metrics, those of each joint, and of the sigmas.

rle-onestage evaluate --config-file output/run/config.yaml MODEL.WEIGHTS output/run/model_final.pth
rle-onestage evaluate --config-file output/run/config.yaml --resume     # the last checkpoint of its OUTPUT_DIR
"""

from collections.abc import Sequence

from rle_onestage.cli import train


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    train.main(arguments, command="evaluate", text=__doc__)
