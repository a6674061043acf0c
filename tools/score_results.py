#!/usr/bin/env python3
"""``rle-onestage score-results`` from a checkout."""

import sys

from rle_onestage.cli.score_results import main

if __name__ == "__main__":
    sys.exit(main())
