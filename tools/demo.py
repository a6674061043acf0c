#!/usr/bin/env python3
"""``rle-onestage demo`` from a checkout, with the flags of Detectron2's demo."""

import sys

from rle_onestage.cli.demo import main

if __name__ == "__main__":
    sys.exit(main())
