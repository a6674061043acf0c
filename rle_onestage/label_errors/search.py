"""What ``rle-onestage label-errors`` does: the labels of a data set that a model finds least likely, ranked."""

import csv
import io
import logging
import os
from typing import NamedTuple

import numpy as np
from detectron2.data import MetadataCatalog
from tqdm import tqdm

from ..data.datasets import get_skeleton
from ..data.loader import build_test_loader
from ..engine.inference import bare, build_for_inference, run_on_loader
from ..errors import ConfigError, DataError, check_score
from ..evaluation import GroundTruth, write_json
from ..utils.safe_files import write_text
from ..video import io as media
from .evidence import Case, Collector, Ratios, Views, compare, match_cases, share_of_misses, weigh
from .mistakes import Explanation, describe, explain
from .pages import PER_PAGE, write_pages

logger = logging.getLogger(__name__)

PROGRESS = {"desc": "comparing", "unit": "people", "leave": False, "disable": None}
COLUMNS = ("rank image annotation joint label_x label_y predicted_x predicted_y sigma_x sigma_y surprise gain "
           "gain_per_label explanation corrected_x corrected_y").split()  # fmt: skip


class Suspect(NamedTuple):
    """A labelled person whose labels another explanation fits better."""

    case: Case
    ratios: Ratios
    explanation: Explanation

    @property
    def joints(self):
        """The suspect labels."""
        return sorted({j for m in self.explanation.mistakes for j in m.joints})

    @property
    def gain_per_label(self):
        """What suspects are ranked by: nats that the explanation gains, over the number of labels that it concerns.

        The sum would put those first of whom most labels are suspect; but where a model fails, taking a person's back
        for the front, it contradicts all of them at once.
        """
        return self.explanation.gain / max(len(self.joints), 1)


class Findings(NamedTuple):
    """What :func:`rank` found."""

    suspects: list[Suspect]  # best first
    missed: list[Case]  # people whom no view found, largest first
    people: int  # labelled, in all
    labels: int
    misses: np.ndarray  # (K,) share of labels that the model misses


def rank(cases, density, skeleton, *, views=1):
    """Explain every labelled person, and put first whose labels another explanation fits better by most nats a label.

    Args:
        cases: of :func:`~.evidence.match_cases`. density: the :class:`~..error_density.ErrorDensity` of the model.
        skeleton: the joints. views: how many must have found a person for the model to have a say.

    Returns:
        :class:`Findings`.
    """
    seen = [case for case in cases if len(case.views) >= views]
    ratios = [compare(case, density, skeleton.sigmas, skeleton.flip_index) for case in tqdm(seen, **PROGRESS)]
    misses = _misses(seen, ratios, skeleton)
    suspects = []
    for case, ratio in zip(seen, ratios):
        explanation = explain(case, weigh(ratio, misses), skeleton)
        if explanation.mistakes and explanation.gain > 0:
            suspects.append(Suspect(case, ratio, explanation))
    missed = [case for case in cases if not case.views]
    suspects.sort(key=lambda s: -s.gain_per_label)
    missed.sort(key=lambda case: -case.annotation["area"])
    labels = int(sum((case.visibility > 0).sum() for case in cases))
    return Findings(suspects, missed, len(cases), labels, misses)


def _misses(cases, ratios, skeleton):
    own = np.array([r.own.diagonal() for r in ratios]).reshape(-1, skeleton.num_joints)
    labelled = np.array([case.visibility > 0 for case in cases], dtype=bool).reshape(own.shape)
    return share_of_misses(own, labelled, skeleton.flip_index)


def find_suspects(cfg, dataset_name, output, *, number=50, min_score=0.1):
    """Run the config's model over a data set and write its suspect labels to a folder.

    Written are ``suspects.json`` and ``suspects.csv`` (a line for each suspect label), ``suspects_01.jpg`` and so on
    with ten people each, and ``not_found_01.jpg`` with the largest labelled people whom the model does not find.

    Args:
        cfg: the config, with weights. dataset_name: a registered data set with labels. output: folder.
        number: how many people. min_score: lowest score of a prediction.

    Returns:
        :class:`Findings`, cut to ``number`` suspects.

    Raises:
        ConfigError: there are no weights, the model has no density, or ``min_score`` is no score.
        DataError: nobody is labelled.
        MediaError: something cannot be written.
    """
    check_score(min_score, "min_score (--confidence-threshold)")
    if not cfg.MODEL.WEIGHTS:
        raise ConfigError("MODEL.WEIGHTS is empty; give trained weights, e.g. MODEL.WEIGHTS output/run/model_final.pth")
    media.make_folder(output)
    skeleton, metadata = get_skeleton(cfg, dataset_name), MetadataCatalog.get(dataset_name)
    truth = GroundTruth.of_dataset(dataset_name, skeleton.num_joints)
    if not truth.by_image():
        raise DataError(f"{metadata.json_file} has no labelled people; use a data set with keypoint labels")
    model = build_for_inference(cfg, cfg.MODEL.WEIGHTS)
    if not hasattr(bare(model), "decoder"):
        raise ConfigError(f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} has no density; use RLEOneStage")
    collector = Collector()
    views = Views(model=model, flip_index=skeleton.flip_index)
    run_on_loader(views, build_test_loader(cfg, dataset_name), collector, name=dataset_name)
    density = model.decoder.error_density().to("cpu")
    views = list(collector.results.values())
    cases = match_cases(truth, views, min_score=min_score, max_people=cfg.TEST.MAX_PEOPLE)
    found = rank(cases, density, skeleton, views=len(collector.results))
    logger.info(
        "%d labels of %d people: %d people suspect, %d not found", found.labels, found.people, len(found.suspects),
        len(found.missed),
    )  # fmt: skip
    found = found._replace(suspects=found.suspects[:number])
    write_findings(found, output, truth, skeleton, metadata.image_root)
    return found


def write_findings(found, output, truth, skeleton, image_root):
    """Write the lists and the pages; see :func:`find_suspects`."""
    names = {image_id: image["file_name"] for image_id, image in truth.images.items()}
    entries = [_entry(i, s, skeleton, names) for i, s in enumerate(found.suspects, start=1)]
    missed = [
        {"image": names[c.annotation["image_id"]], "annotation": _file_id(c.annotation), "bbox": c.annotation["bbox"]}
        for c in found.missed
    ]
    content = {"people": found.people, "labels": found.labels, "suspects": entries, "not_found": missed}
    write_json(content, os.path.join(output, "suspects.json"))
    write_text(os.path.join(output, "suspects.csv"), _table(entries))
    tiles = [(s.case, s.joints, e["image"], _captions(e)) for s, e in zip(found.suspects, entries)]
    write_pages(output, "suspects", tiles, image_root, skeleton)
    tiles = [
        (c, [], m["image"], ("no person found", f"{m['image']}, annotation {m['annotation']}"))
        for c, m in zip(found.missed[:PER_PAGE], missed)
    ]
    write_pages(output, "not_found", tiles, image_root, skeleton)


def _entry(number, suspect, skeleton, names):
    case, explanation, first = suspect.case, suspect.explanation, suspect.case.views[0]
    joints = [
        {
            "joint": skeleton.names[j],
            "label": case.labels[j].tolist(),
            "predicted": first.joints[j].tolist(),
            "sigma": first.sigmas[j].tolist(),
            "surprise": float(suspect.ratios.surprise[j]),
            "corrected": explanation.keypoints[j].tolist(),
        }
        for j in suspect.joints
    ]
    return {
        "rank": number,
        "image": names[case.annotation["image_id"]],
        "image_id": case.annotation["image_id"],
        "annotation": _file_id(case.annotation),
        "explanation": describe(explanation, skeleton),
        "gain": explanation.gain,
        "gain_per_label": suspect.gain_per_label,
        "score": first.score,
        "joints": joints,
        "keypoints": explanation.keypoints.reshape(-1).tolist(),
    }


def _file_id(annotation):
    """The annotation's id in the file, where it had to be numbered anew."""
    return annotation.get("file_id", annotation["id"])


def _captions(entry):
    head = f"{entry['rank']}  {entry['explanation']}: {entry['gain']:+.0f} nats"
    surprises = ", ".join(f"{j['joint'].replace('_', ' ')} {j['surprise']:.1f}" for j in entry["joints"])
    return head, f"{entry['image']}, score {entry['score']:.2f}; surprise in nats: {surprises}"


def _table(entries):
    """The suspect labels as CSV, positions in pixels."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for e in entries:
        for j in e["joints"]:
            numbers = [*j["label"], *j["predicted"], *j["sigma"], j["surprise"], e["gain"], e["gain_per_label"]]
            corrected = j["corrected"][:2] if j["corrected"][2] > 0 else ["", ""]
            writer.writerow(
                [e["rank"], e["image"], e["annotation"], j["joint"], *(f"{v:.2f}" for v in numbers), e["explanation"]]
                + [v if v == "" else f"{v:.2f}" for v in corrected]
            )
    return file.getvalue()
