#!/usr/bin/env python3
r"""Measure a config: parameters, FLOPs, and the median time of its parts.

    python projects/speed/benchmark.py --config-file configs/quickstart.yaml --size 192 --people 1,10,100
    python projects/speed/benchmark.py --config-file C --parts inference,people \
        --output bench.json MODEL.WEIGHTS model_final.pth
"""

import argparse

from speed.benchmark_report import run

from rle_onestage.errors import exits_with_sentence
from rle_onestage.utils.arguments import natural_int, positive_int


@exits_with_sentence
def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument(
        "--size", default="", help="height,width or side; unless given the config's longest side at test, or 640"
    )
    parser.add_argument("--batch", type=positive_int, default=1, help="images at inference")
    parser.add_argument("--people", default="1,10,100", help="numbers of people to decode")
    parser.add_argument("--parts", default="inference,flow,people,loader,training,evaluation", help="what to measure")
    parser.add_argument("--rounds", type=positive_int, default=50, help="of which the median is shown (decode: 200)")
    parser.add_argument("--threads", type=natural_int, default=0, help="of torch; 0 leaves them")
    parser.add_argument("--output", default="", metavar="FILE.json")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config options")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
