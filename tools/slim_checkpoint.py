#!/usr/bin/env python3
"""``rle-onestage slim`` from a checkout."""

import sys

from rle_onestage.cli.slim import main

if __name__ == "__main__":
    sys.exit(main())
