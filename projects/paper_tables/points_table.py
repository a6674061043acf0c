#!/usr/bin/env python3
"""AP by the point of the learned density that is reported: mean, median, mode, or that of the largest expected OKS.

python projects/paper_tables/points_table.py --runs output/paper_frozen/lspet
"""

import argparse

from detectron2.utils.logger import setup_logger
from paper_tables.points import point_table
from paper_tables.trained import find_runs

from rle_onestage.errors import ConfigError, exits_with_sentence
from rle_onestage.utils.tables import table_text


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", required=True, metavar="DIR", help="of one set, with <loss>/seed<k> in it")
    parser.add_argument("--losses", nargs="+", metavar="NAME", help="default: all that have a density")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    setup_logger(name="rle_onestage", abbrev_name="rle")
    runs = [run for run in find_runs(args.runs) if args.losses is None or run.loss in args.losses]
    if not runs:
        raise ConfigError(f"--runs {args.runs} has no finished run of these losses; give the folder of a set")
    body = []
    for run in runs:
        for dataset in run.config().DATASETS.TEST:
            for name, found in point_table(run, dataset).items():
                body.append([dataset, run.loss, run.seed, name, f"{found['AP']:.2f}", f"{found['OKS']:.2f}"])
    head = ["set", "loss", "seed", "point", "AP", "OKS"]
    print(table_text(body, head, left=4))


if __name__ == "__main__":
    main()
