#!/usr/bin/env python3
"""Time the flow, forward and backward, beside the usual layout of its networks; or show the densities' gradients.

    python projects/speed/benchmark_flow.py --points 8704,69632 --threads 1,2
    python projects/speed/benchmark_flow.py --gradients

Beside other work several threads wait for one another at every step; OMP_WAIT_POLICY=PASSIVE lets them sleep meanwhile.
"""

import argparse

from speed.flow_benchmark import run

from rle_onestage.errors import exits_with_sentence
from rle_onestage.utils.arguments import positive_int


@exits_with_sentence
def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", default="8704,69632", help="numbers of residuals")
    parser.add_argument("--threads", default="1,2", help="numbers of torch's threads")
    parser.add_argument(
        "--rounds", type=positive_int, default=20, help="of which the median is shown; the layouts take turns"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--gradients", action="store_true", help="show gradients of the likelihoods instead")
    parser.add_argument("--output", default="", metavar="FILE.json")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
