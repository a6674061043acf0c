"""What ``rle-onestage label-errors`` does: the labels of a data set that a model finds least likely, ranked."""

import csv
import io
import logging
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from tqdm import tqdm

from ..data.datasets import get_skeleton
from ..data.loader import build_test_loader
from ..data.lookup import check_model_joints
from ..data.trained import trained_on
from ..engine.checkpoint.named import no_weights
from ..engine.inference import run_on_loader
from ..engine.models import bare, build_for_inference
from ..errors import ConfigError, DataError, check_score, counted
from ..evaluation import GroundTruth, write_json
from ..modeling.postprocessing import Decoder
from ..structures.covariance import packed
from ..structures.error_density import ErrorDensity
from ..structures.skeleton import Skeleton
from ..utils.safe_files import write_text
from ..video import io as media
from .evidence import Case, Collector, Ratios, Views, compare, match_cases, share_of_misses, weigh
from .mistakes import Explanation, describe, explain
from .pages import PER_PAGE, SIDES, Entry, write_pages
from .trust import Trust, measure_trust

logger = logging.getLogger(__name__)

PROGRESS: dict[str, Any] = {"desc": "comparing", "unit": "people", "leave": False, "disable": None}
COLUMNS = ("rank image annotation joint label_x label_y predicted_x predicted_y sigma_x sigma_y surprise gain "
           "gain_per_label explanation corrected_x corrected_y corrected_v").split()  # fmt: skip


class LabelError(NamedTuple):
    """A labelled person whose labels another explanation fits better."""

    case: Case
    ratios: Ratios
    explanation: Explanation

    @property
    def joints(self) -> list[int]:
        """The labels concerned."""
        return sorted({j for m in self.explanation.mistakes for j in m.joints})

    @property
    def changed(self) -> list[int]:
        """These, and the joints without a label that one of them goes to."""
        before = np.concatenate([self.case.labels, self.case.visibility[:, None]], 1)
        other = (self.explanation.keypoints != before).any(1)
        return sorted({*self.joints, *np.flatnonzero(other).tolist()})

    @property
    def absent(self) -> list[int]:
        """Those of them that should not be labelled."""
        return [j for m in self.explanation.mistakes if m.kind == "surplus" for j in m.joints]

    @property
    def gain_per_label(self) -> float:
        """What people are ranked by: nats that the explanation gains, over the number of labels that it concerns.

        The sum would put those first of whom most labels are unlikely; but where a model fails, taking a person's back
        for the front, it contradicts all of them at once.
        """
        return self.explanation.gain / max(len(self.joints), 1)


class Findings(NamedTuple):
    """What :func:`rank` found."""

    label_errors: list[LabelError]  # best first
    missed: list[Case]  # people whom no view found, largest first
    people: int  # labelled, in all
    labels: int
    misses: np.ndarray  # (K,) share of labels that the model misses
    trust: Trust  # in the model, on these people


def rank(cases: Sequence[Case], density: ErrorDensity, skeleton: Skeleton, *, views: int = 1) -> Findings:
    """Explain every labelled person, and put first whose labels another explanation fits better by most nats a label.

    Args:
        cases: of :func:`~.evidence.match_cases`.
        density: the :class:`~.error_density.ErrorDensity` of the model.
        skeleton: the joints.
        views: how many must have found a person for the model to have a say.

    Returns:
        :class:`Findings`.
    """
    seen = [case for case in cases if len(case.views) >= views]
    ratios = [compare(case, density, skeleton.oks_sigmas, skeleton.flip_index) for case in tqdm(seen, **PROGRESS)]
    misses = _misses(seen, ratios, skeleton)
    errors: list[LabelError] = []
    for case, ratio in zip(seen, ratios):
        explanation = explain(case, weigh(ratio, misses), skeleton)
        if explanation.mistakes and explanation.gain > 0:
            errors.append(LabelError(case, ratio, explanation))
    missed = [case for case in cases if not case.views]
    errors.sort(key=lambda error: -error.gain_per_label)
    missed.sort(key=lambda case: -case.annotation["area"])
    labels = int(sum((case.visibility > 0).sum() for case in cases))
    trust = measure_trust(cases, skeleton, seen=len(seen), unlikely=len(errors))
    return Findings(errors, missed, len(cases), labels, misses, trust)


def _misses(cases: Sequence[Case], ratios: Sequence[Ratios], skeleton: Skeleton) -> np.ndarray:
    own = np.array([r.own.diagonal() for r in ratios]).reshape(-1, skeleton.num_joints)
    labelled = np.array([case.visibility > 0 for case in cases], dtype=bool).reshape(own.shape)
    return share_of_misses(own, labelled, skeleton.flip_index)


def find_label_errors(
    cfg: CfgNode, dataset_name: str, output: str, *, number: int = 50, min_score: float = 0.1
) -> Findings:
    """Run the config's model over a data set and write its least likely labels to a folder.

    Written are ``label_errors.json`` and ``label_errors.csv`` (a line for each joint), ``label_errors_01.jpg`` and so
    on with ten people each, and ``not_found_01.jpg`` with the largest labelled people whom the model does not find. A
    warning says where the model is too weak for its verdict to be trusted (:class:`~.trust.Trust`), and where it was
    trained on these images.

    Args:
        cfg: the config, with weights.
        dataset_name: a registered data set with labels.
        output: folder.
        number: how many people.
        min_score: lowest score of a prediction.

    Returns:
        :class:`Findings`, cut to ``number`` people.

    Raises:
        ConfigError: there are no weights, the model has no density, or ``min_score`` is no score.
        DataError: nobody is labelled; or the joints are not the model's in its order.
        MediaError: something cannot be written.
    """
    check_score(min_score, "min_score (--confidence-threshold)")
    if not cfg.MODEL.WEIGHTS:
        raise ConfigError(no_weights(cfg))
    skeleton, metadata = get_skeleton(cfg, dataset_name), MetadataCatalog.get(dataset_name)
    truth = GroundTruth.of_dataset(dataset_name, skeleton.num_joints)
    if not truth.by_image():
        raise DataError(f"{metadata.json_file} has no labelled people; use a data set with keypoint labels")
    which = trained_on(cfg, [dataset_name])
    if which:
        logger.warning(
            "%s: the model may have learned the errors of their labels, which it then does not find. Train one model "
            "on each half of the images, and let it look at the other half (as the page Label errors of the "
            "documentation says)", which
        )  # fmt: skip
    model = build_for_inference(cfg, cfg.MODEL.WEIGHTS)
    check_model_joints(dataset_name, getattr(model, "joint_names", None))
    decoder = getattr(bare(model), "decoder", None)
    if not isinstance(decoder, Decoder):
        raise ConfigError(f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} has no density; use RLEOneStage")
    media.make_folder(output)  # after all that is refused, before the work
    collector = Collector()
    views = Views(model=model, flip_index=skeleton.flip_index)
    run_on_loader(views, build_test_loader(cfg, dataset_name), collector, name=dataset_name)
    density = decoder.error_density().to("cpu")
    results = list(collector.results.values())
    cases = match_cases(truth, results, min_score=min_score, max_people=cfg.TEST.MAX_PEOPLE)
    found = rank(cases, density, skeleton, views=len(collector.results))
    found = found._replace(label_errors=found.label_errors[:number])
    _tell(found, dataset_name)
    write_findings(found, output, truth, skeleton, metadata.image_root)
    return found


def _tell(found: Findings, dataset_name: str) -> None:
    """Say what was found, and whether the model is good enough to say so."""
    trust = found.trust
    logger.info(
        "%s of %s: %s with unlikely labels, of whom the first %d are listed. First come those whose labels gain the "
        "most nats a label from another explanation. Not judged: %d found in no view, %d found in some views only",
        counted(found.labels, "label"), counted(found.people, "person", "people"),
        counted(trust.unlikely, "person", "people"), len(found.label_errors), len(found.missed),
        found.people - trust.seen - len(found.missed),
    )  # fmt: skip
    if trust.doubt():
        logger.warning(
            "The model is too weak on %s for its verdict to be trusted: %s. Look at each label before you change it, "
            "or train the model longer.", dataset_name, trust.doubt(),
        )  # fmt: skip


def write_findings(found: Findings, output: str, truth: GroundTruth, skeleton: Skeleton, image_root: str) -> None:
    """Write the lists and the pages; see :func:`find_label_errors`.

    Args:
        found: what to write.
        output: folder.
        truth: the labels.
        skeleton: the joints.
        image_root: folder of the images.
    """
    names = {image_id: image["file_name"] for image_id, image in truth.images.items()}
    entries = [_entry(i, error, skeleton, names) for i, error in enumerate(found.label_errors, start=1)]
    missed = [
        {"image": names[c.annotation["image_id"]], "annotation": _file_id(c.annotation), "bbox": c.annotation["bbox"]}
        for c in found.missed
    ]
    content = {"people": found.people, "labels": found.labels, "trust": _trust_entry(found.trust)}
    content |= {"label_errors": entries, "not_found": missed}
    write_json(content, os.path.join(output, "label_errors.json"))
    write_text(os.path.join(output, "label_errors.csv"), _table(entries))
    tiles: list[Entry] = [
        Entry(error.case, error.joints, e["image"], _captions(e), error.absent)
        for error, e in zip(found.label_errors, entries)
    ]
    write_pages(output, "label_errors", tiles, image_root, skeleton)
    tiles = [
        Entry(c, [], m["image"], ("no person found", f"{m['image']}, annotation {m['annotation']}"))
        for c, m in zip(found.missed[:PER_PAGE], missed)
    ]
    legend = f"the largest labelled people whom the model does not find, with their labelled box; {SIDES}"
    write_pages(output, "not_found", tiles, image_root, skeleton, legend=legend)


def _trust_entry(trust: Trust) -> dict[str, Any]:
    doubt = trust.doubt()
    return {"mean_oks": trust.oks, "seen": trust.seen, "unlikely": trust.unlikely, "trusted": not doubt, "doubt": doubt}


def _entry(number: int, error: LabelError, skeleton: Skeleton, names: dict[Any, str]) -> dict[str, Any]:
    case, explanation, first = error.case, error.explanation, error.case.views[0]
    joints = [
        {
            "joint": skeleton.names[j],
            "label": case.labels[j].tolist() if case.visibility[j] > 0 else None,
            "predicted": first.joints[j].tolist(),
            "sigma": first.sigmas[j].tolist(),
            "covariance": packed(first.covariances[j]).tolist(),
            "surprise": float(error.ratios.surprise[j]) if case.visibility[j] > 0 else None,
            "corrected": explanation.keypoints[j].tolist(),
        }
        for j in error.changed
    ]
    return {
        "rank": number,
        "image": names[case.annotation["image_id"]],
        "image_id": case.annotation["image_id"],
        "annotation": _file_id(case.annotation),
        "explanation": describe(explanation, skeleton),
        "gain": explanation.gain,
        "gain_per_label": error.gain_per_label,
        "score": first.score,
        "joints": joints,
        "keypoints": explanation.keypoints.reshape(-1).tolist(),
    }


def _file_id(annotation: dict[str, Any]) -> Any:
    """The annotation's id in the file, where it had to be numbered anew."""
    return annotation.get("file_id", annotation["id"])


def _captions(entry: dict[str, Any]) -> tuple[str, str]:
    head = f"{entry['rank']}  {entry['gain_per_label']:+.1f} nats a label: {entry['explanation']}"
    surprises = ", ".join(
        f"{j['joint'].replace('_', ' ')} {j['surprise']:.1f}"
        for j in entry["joints"] if j["label"]
    )  # fmt: skip
    return head, f"{entry['image']}, score {entry['score']:.2f}; surprise in nats: {surprises}"


def _table(entries: Sequence[dict[str, Any]]) -> str:
    """The joints whose labels are unlikely or change, as CSV, positions in pixels; empty what is not there."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for e in entries:
        for j in e["joints"]:
            label, (x, y, visibility) = j["label"] or (None, None), j["corrected"]
            place = (x, y) if visibility > 0 else (None, None)
            numbers = [*label, *j["predicted"], *j["sigma"], j["surprise"], e["gain"], e["gain_per_label"], *place]
            words = ["" if v is None else f"{v:.2f}" for v in numbers]
            head = [e["rank"], e["image"], e["annotation"], j["joint"]]
            writer.writerow([*head, *words[:-2], e["explanation"], *words[-2:], f"{visibility:.0f}"])
    return file.getvalue()
