#!/usr/bin/env python3
"""Images that are read in random order in a second of processor time: of a folder, tar archives, Parquet files.

    python projects/speed/benchmark_shards.py --annotations train.json --images train --output output/shards

The sets are packed into the folder of --output. The files are in the page cache: what a disk or a network adds is the
same for a folder and for tar archives, and at least that for Parquet.
"""

import argparse

from speed.shard_benchmark import run

from rle_onestage.errors import exits_with_sentence
from rle_onestage.utils.arguments import positive_int


@exits_with_sentence
def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", required=True, metavar="FILE", help="of COCO's format")
    parser.add_argument("--images", required=True, metavar="DIR")
    parser.add_argument("--number", type=positive_int, default=500, metavar="N", help="images of a round")
    parser.add_argument("--rounds", type=positive_int, default=5, help="of which the median is shown, in turn")
    parser.add_argument("--shard-mb", type=positive_int, default=256, metavar="MB")
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder for the shards")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
