#!/usr/bin/env python3
"""``rle-onestage train`` from a checkout, with the name and the flags of Detectron2's own tool."""

from rle_onestage.cli.train import main as run
from rle_onestage.cli.train import train as main  # noqa: F401 -- scripts launch train_net.main in processes

if __name__ == "__main__":
    run()
