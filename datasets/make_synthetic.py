#!/usr/bin/env python
"""Make the synthetic people: images, COCO-format labels, videos. ``--preset quickstart`` takes about two minutes on
two cores."""

import argparse
import os

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # one process per core does the work; threads inside them only get in the way
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from synthetic_people import PRESETS, make_dataset, make_settings  # noqa: E402
from synthetic_people.noise import NOISE_MODELS  # noqa: E402
from synthetic_people.preview import write_contact_sheet  # noqa: E402

from rle_onestage.errors import DataError, exits_with_sentence  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__)
    out.add_argument("--preset", default="quickstart", help=f"one of {', '.join(PRESETS)}")
    out.add_argument("--output", required=True, help="folder of the data set")
    out.add_argument("--train", type=int, help="number of training images")
    out.add_argument("--val", type=int, help="number of validation images")
    out.add_argument("--videos", type=int, help="number of videos")
    out.add_argument("--frames", type=int, help="frames of each video")
    out.add_argument(
        "--size", type=int, nargs="+", metavar="N", help="longest side with varied aspect, or width and height"
    )
    out.add_argument("--seed", type=int)
    out.add_argument("--workers", type=int, help="processes (default: all cores; the files do not depend on it)")
    out.add_argument("--people", type=int, nargs=2, metavar=("MIN", "MAX"), help="people an image")
    out.add_argument(
        "--noise",
        metavar="MODEL",
        help="also write annotation files with noisy labels over the same images, whether the set is there already "
        f"or not; one of {', '.join(NOISE_MODELS)}",
    )
    out.add_argument("--noise-scale", type=float, default=1.0, metavar="S", help="factor of the noise (default 1)")
    out.add_argument("--force", action="store_true", help="replace an existing different set")
    out.add_argument(
        "--contact-sheet", metavar="FILE", help="also write a page of validation images, half of them with labels"
    )
    return out


@exits_with_sentence
def main() -> None:
    """Parse, make, draw."""
    args = parser().parse_args()
    if args.workers is not None and args.workers < 1:
        raise DataError(f"--workers {args.workers} is too few; give 1 or more")
    if args.contact_sheet and not args.contact_sheet.lower().endswith((".jpg", ".jpeg", ".png")):
        raise DataError(f"--contact-sheet {args.contact_sheet} has an unknown kind; name a .jpg or .png file")
    size = args.size[0] if args.size and len(args.size) == 1 else args.size
    changes = dict(
        people=args.people,
        train=args.train,
        val=args.val,
        videos=args.videos,
        frames=args.frames,
        size=size,
        seed=args.seed,
    )
    noise = dict(noise=args.noise, noise_scale=args.noise_scale)
    make_dataset(args.output, preset=args.preset, workers=args.workers, force=args.force, **noise, **changes)
    if args.contact_sheet:
        write_contact_sheet(args.contact_sheet, make_settings(args.preset, **changes))


if __name__ == "__main__":
    main()
