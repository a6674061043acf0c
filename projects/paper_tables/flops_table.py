#!/usr/bin/env python3
"""Parameters and multiply-adds of backbone, heatmap head and regression head, beside the paper's claims.

python projects/paper_tables/flops_table.py
"""

import argparse
from pathlib import Path

from detectron2.utils.logger import setup_logger
from paper_tables.flops import cost_table, format_costs

from rle_onestage.errors import exits_with_sentence
from rle_onestage.evaluation import write_json

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "coco"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regression", default=str(CONFIGS / "topdown_R50_256x192_rle.yaml"), metavar="CONFIG")
    parser.add_argument("--heatmap", default=str(CONFIGS / "topdown_R50_256x192_heatmap.yaml"), metavar="CONFIG")
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE", help="of both configs")
    parser.add_argument("--output", metavar="FILE.json")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    setup_logger(name="rle_onestage", abbrev_name="rle")
    costs = cost_table(args.regression, args.heatmap, args.opts)
    print(format_costs(costs))
    if args.output:
        write_json({name: cost._asdict() for name, cost in costs.items()}, args.output)


if __name__ == "__main__":
    main()
