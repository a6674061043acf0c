#!/usr/bin/env python3
"""Are a model's intervals honest? Coverage of 50, 80, 90 and 95 % with its correction of sigma and without.

python projects/people/intervals.py --config-file C --weights calibrated.pth --side 640 \\
    --set coco_val A.json DIR --output out/intervals

By joint, by visibility and by size of the person; and AP ranked by the person score alone against the expected OKS. Fit
the correction on other images first: rle-onestage calibrate --dataset D --fit-dataset F. Writes intervals.md and
intervals.json.
"""

import argparse
import os

from people_study.coverage import coverage, format_coverage
from people_study.labels import add_set_flags, sets_from
from people_study.runs import Ours, add_model_flags, config_at

from rle_onestage.errors import exits_with_sentence
from rle_onestage.evaluation import write_json
from rle_onestage.utils.arguments import positive_int
from rle_onestage.utils.safe_files import write_text
from rle_onestage.video.io import make_folder


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_flags(parser)
    parser.add_argument("--side", type=positive_int, default=640, metavar="N")
    add_set_flags(parser)
    parser.add_argument("--resamples", type=positive_int, default=1000, metavar="N", help="of the images")
    parser.add_argument("--output", required=True, metavar="FOLDER")
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    sets = sets_from(args)
    test = config_at(args.config_file, args.side, args.opts).MODEL.RLE_ONESTAGE.TEST
    powers = (test.SCORE_POWER, test.QUALITY_POWER, test.OKS_POWER)
    reports = []
    for labelled in sets.values():  # anew for each, because measuring takes the correction off
        model = Ours(args.config_file, args.side, weights=args.weights, options=args.opts)
        reports.append(coverage(model, labelled, powers, resamples=args.resamples))
    make_folder(args.output)
    text = "\n".join(map(format_coverage, reports))
    write_text(os.path.join(args.output, "intervals.md"), text)
    write_json(reports, os.path.join(args.output, "intervals.json"))
    print(text)


if __name__ == "__main__":
    main()
