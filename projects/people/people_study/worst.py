"""The images that a model does worst on at a threshold, as a page to look at."""

import os
from collections import Counter, defaultdict
from typing import NamedTuple

from rle_onestage.evaluation.calibration import person_oks
from rle_onestage.evaluation.results import by_image, instances_from_labels, instances_from_results
from rle_onestage.utils.images import read_image
from rle_onestage.video.io import make_folder, write_image
from rle_onestage.visualization import contact_sheet, side_by_side

from .joints import matched_people
from .labels import LabelledSet
from .matching import Matching


class ImageMistakes(NamedTuple):
    """How one image did at a threshold."""

    image_id: int
    file_name: str
    people: int  # labelled people who count
    missed: int  # of them, without a detection at an OKS of 0.5
    wrong: int  # detections of nobody
    oks: float  # mean of those who were found
    quality: float  # F1 in which a person who was found counts as its OKS, in [0, 1]


def mistakes(labelled: LabelledSet, results: list[dict], matching: Matching, threshold: float) -> list[ImageMistakes]:
    """All images, worst first; of equals the one with more mistakes.

    Args:
        labelled: the set.
        results: COCO results.
        matching: of both.
        threshold: lowest score that counts.
    """
    found = [pair for pair in matching.pairs if results[pair[0]]["score"] >= threshold]
    matches, oks = matched_people(labelled, results, found), defaultdict(list)
    for image_id, value in zip(matches.image_id.tolist(), person_oks(matches, labelled.skeleton.oks_sigmas).tolist()):
        oks[image_id].append(value)
    everyone = matching.areas["all"]
    counted = everyone.wrong[0] & (everyone.score >= threshold)
    wrong = Counter(matching.image_ids[i] for i in everyone.image[counted])
    rows = []
    for image_id, people in zip(matching.image_ids, everyone.people.astype(int).tolist()):
        own, extra = oks[image_id], wrong[image_id]
        total = people + len(own) + extra
        quality = 2 * sum(own) / total if total else 1.0
        mean = sum(own) / len(own) if own else float("nan")
        name = labelled.truth.images[image_id]["file_name"]
        rows.append(ImageMistakes(image_id, name, people, people - len(own), extra, mean, quality))
    return sorted(rows, key=lambda row: (row.quality, -row.missed - row.wrong, row.file_name))


def draw_worst(
    labelled: LabelledSet, results: list[dict], rows: list[ImageMistakes], threshold: float, output: str
) -> None:
    """A page with predictions beside labels.

    Args:
        labelled: the set, with its folder of images.
        results: COCO results.
        rows: images to draw.
        threshold: lowest score drawn.
        output: image file to write.

    Raises:
        DataError: the set has no folder, or an image cannot be read. MediaError: the page cannot be written.
    """
    folder = labelled.image_folder
    truth, groups, labels, tiles = labelled.truth, by_image(results), labelled.truth.by_image(), []
    for row in rows:
        image = read_image(os.path.join(folder, row.file_name))
        predicted = instances_from_results(groups.get(row.image_id, []), image.shape[:2], truth.num_joints)
        expected = instances_from_labels(labels.get(row.image_id, []), image.shape[:2], truth.num_joints)
        tiles.append(side_by_side(image, predicted, expected, labelled.skeleton, threshold=threshold))
    captions = [_caption(row) for row in rows]
    make_folder(os.path.dirname(output))
    write_image(output, contact_sheet(tiles, 2, captions=captions, tile=(900, 330)))


def _caption(row: "ImageMistakes") -> str:
    found = f", OKS {100 * row.oks:.0f}" if row.missed < row.people else ""
    return f"{row.file_name}  {row.people} people, {row.missed} missed, {row.wrong} too many{found}"
