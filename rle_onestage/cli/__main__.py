"""``python -m rle_onestage.cli`` is ``rle-onestage``, where the command is not on the path."""

import sys

from rle_onestage.cli import main

if __name__ == "__main__":
    sys.exit(main())
