#!/usr/bin/env python3
"""AP under other thresholds of suppression, numbers of candidates and passes; each image goes through the trunk once.

python projects/people/suppression.py --config-file C --weights W --side 640 --output out/suppression \\
    --set held A.json DIR --list held held_out.txt --box 0.5 0.65 0.8 --oks 0.5 0.7 0.9 --passes 2 3

Choose on held-out images: what is best on the images that are reported on is no measurement. Writes suppression.md and
suppression.json.
"""

import argparse
import itertools
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from detectron2.structures import Instances
from people_study.labels import add_set_flags, sets_from, together
from people_study.matching import match, metrics
from people_study.runs import Ours, add_model_flags
from people_study.tables import shown, table

from rle_onestage import Predictor
from rle_onestage.errors import exits_with_sentence
from rle_onestage.evaluation import instances_to_coco, write_json
from rle_onestage.modeling.people import EVERYBODY
from rle_onestage.utils.arguments import natural_float, natural_int, positive_float, positive_int
from rle_onestage.utils.images import read_image
from rle_onestage.utils.safe_files import write_text
from rle_onestage.video.io import make_folder

if TYPE_CHECKING:
    from people_study.labels import LabelledSet

# BOX_NMS, OKS_NMS, TOPK, PRE_NMS_TOPK, TEST_STEPS, HALF_SIZE_FROM.
Setting = tuple[float, float, int, int, int, float]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_flags(parser)
    parser.add_argument("--side", type=positive_int, default=640, metavar="N")
    parser.add_argument(
        "--box", type=positive_float, nargs="+", default=[0.5, 0.65, 0.8], metavar="T", help="TEST.BOX_NMS"
    )
    parser.add_argument(
        "--oks", type=positive_float, nargs="+", default=[0.5, 0.7, 0.9], metavar="T", help="TEST.OKS_NMS"
    )
    parser.add_argument("--topk", type=positive_int, nargs="+", default=[100], metavar="N", help="TEST.TOPK")
    parser.add_argument("--among", type=natural_int, nargs="+", default=[0], metavar="N", help="TEST.PRE_NMS_TOPK")
    parser.add_argument("--passes", type=positive_int, nargs="+", default=[2], metavar="N", help="REFINE.TEST_STEPS")
    parser.add_argument("--half", type=natural_float, nargs="+", default=[0.0], metavar="S", help="TEST.HALF_SIZE_FROM")
    add_set_flags(parser)
    parser.add_argument("--output", required=True, metavar="FOLDER")
    return parser.parse_args(arguments)


@torch.no_grad()
def people_under(predictor: Predictor, image: np.ndarray, settings: Sequence[Setting]) -> list[Instances]:
    """``Instances`` of one image for each setting, from one look of the trunk at each size."""
    model, given = predictor.model, predictor._input(image)
    batch = model.preprocess_image([given])
    features = model.features(batch.tensor)
    halved = model.features(model.at_half_size(batch.tensor)) if any(half for *_, half in settings) else None
    found = []
    for box, oks, topk, among, passes, half in settings:
        decoder = model.decoder
        decoder.box_nms, decoder.oks_nms, decoder.topk, decoder.pre_nms_topk = box, oks, topk, among
        model.refiner.test_steps = passes
        large, small = decoder.looks(half) if half else (EVERYBODY, EVERYBODY)
        people = model.decode(features, large)
        if half:
            people = decoder.unite(people, model.decode(halved, small))
        found.append(decoder.to_instances(people, batch.image_sizes, [image.shape[:2]])[0])
    return found


def measure(model: Ours, sets: "dict[str, LabelledSet]", settings: Sequence[Setting]) -> list[dict[str, float]]:
    """COCO's metrics on all sets as one, for each setting."""
    results: dict[Setting, dict[str, list]] = {setting: {} for setting in settings}
    for labelled in sets.values():
        rows: dict[Setting, list] = {setting: [] for setting in settings}
        for image_id, entry in labelled.truth.images.items():
            image = read_image(os.path.join(labelled.image_folder, entry["file_name"]))
            for setting, people in zip(settings, people_under(model.predictor, image, settings)):
                rows[setting] += instances_to_coco(people, image_id, labelled.truth.category_id)
        for setting in settings:
            results[setting][labelled.name] = rows[setting]
    whole = together(list(sets.values()))
    return [metrics(match(whole.labelled, whole.results(results[setting]))) for setting in settings]


@exits_with_sentence
def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parse(arguments)
    sets = sets_from(args)
    settings = list(itertools.product(args.box, args.oks, args.topk, args.among, args.passes, args.half))
    scores = measure(Ours(args.config_file, args.side, weights=args.weights, options=args.opts), sets, settings)
    names = ("BOX_NMS", "OKS_NMS", "TOPK", "PRE_NMS_TOPK", "TEST_STEPS", "HALF_SIZE_FROM")
    rows = [OrderedDict(zip(names, setting)) | score for setting, score in zip(settings, scores)]
    make_folder(args.output)
    columns = ("AP", "AP50", "AP75", "AR")
    lines = [[*setting, *(shown(score[key], 2) for key in columns)] for setting, score in zip(settings, scores)]
    text = table([*names, *columns], lines)
    write_json(rows, os.path.join(args.output, "suppression.json"))
    write_text(os.path.join(args.output, "suppression.md"), text + "\n")
    print(text)


if __name__ == "__main__":
    main()
