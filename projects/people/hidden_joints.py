#!/usr/bin/env python3
"""Could other sizes of the ellipses hold as much of hidden joints as of visible ones?

python projects/people/hidden_joints.py --config-file C --set coco_val A.json DIR --set micro_val B.json DIR

The sizes are fitted on the images of all sets but those on which they are measured. One factor, one by the predicted
probability that the joint is hidden, and one by the label's true flag, which no model knows: how much a correction by
what the model tells can gain, and how much there is to gain.
"""

import argparse

from people_study.hidden import format_hidden, hidden_table, joined, labelled_joints
from people_study.labels import add_set_flags, sets_from
from people_study.runs import Ours, add_model_flags

from rle_onestage.errors import counted, exits_with_sentence
from rle_onestage.evaluation import match_people
from rle_onestage.utils.arguments import positive_int


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_flags(parser)
    parser.add_argument("--side", type=positive_int, default=640, metavar="N")
    add_set_flags(parser)
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    sets = sets_from(args)
    model = Ours(args.config_file, args.side, weights=args.weights, options=args.opts)
    density = model.predictor.error_density.to("cpu")
    parts = [
        labelled_joints(match_people(labelled.truth, model.results(labelled)), density) for labelled in sets.values()
    ]
    joints = joined(parts)
    number = int(joints.hidden.sum())
    print(f"{counted(number, 'hidden joint')}, {len(joints.hidden) - number} visible\n")
    print(format_hidden(hidden_table(joints)))


if __name__ == "__main__":
    main()
