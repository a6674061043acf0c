"""Write a checkpoint that has only what inference needs: no flow, no optimizer, no second copy of the weights.

rle-onestage slim output/quickstart/model_final.pth --output people.pth
rle-onestage slim model_calibrated.pth --output people.pth --half     # half the size; a correction stays
"""

import argparse
import os
from collections.abc import Sequence

from rle_onestage.cli.checks import check_weights
from rle_onestage.cli.options import start
from rle_onestage.errors import exits_with_sentence
from rle_onestage.utils.arguments import CommandParser
from rle_onestage.utils.output_files import check_folder, check_target


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = CommandParser("slim", __doc__)
    parser.add_argument("checkpoint", metavar="FILE", help="of a training, or calibrated")
    parser.add_argument("--output", required=True, metavar="FILE", help="the checkpoint to write")
    parser.add_argument("--half", action="store_true", help="convolutions and linear layers in float16")
    parser.add_argument(
        "--joints", metavar="NAME,NAME,...",
        help="names of the joints for a file that does not have them, in its order, or coco, crowdpose, mpii, h36m",
    )  # fmt: skip
    return parser.parse_args(arguments)


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    check_target(args.output, "--output", through=False)
    check_folder(args.output, "--output")
    check_weights(args.checkpoint, "its name")
    start(log=False)
    from rle_onestage.engine.checkpoint import read_checkpoint, slim
    from rle_onestage.engine.checkpoint.joints import KEY, joints_of_weights
    from rle_onestage.engine.checkpoint.last import check_not_needed
    from rle_onestage.utils.safe_files import local_path, save_tensors

    content = read_checkpoint(args.checkpoint)  # an address is at hand as a file afterwards
    check_not_needed(args.output, local_path(args.checkpoint))
    if args.joints is not None:
        content[KEY] = joints_of_weights(args.joints, content, args.checkpoint)
    save_tensors(args.output, slim(content, half=args.half))
    sizes = [os.path.getsize(path) / 1e6 for path in (local_path(args.checkpoint), args.output)]
    print(f"{args.output}: {sizes[1]:.1f} MB instead of {sizes[0]:.1f}")
