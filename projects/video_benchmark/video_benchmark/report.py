"""Tables of identities and smoothness over clips, differences with intervals, as Markdown and JSON."""

import glob
import os
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tabulate import tabulate

from rle_onestage.errors import DataError
from rle_onestage.video.tracking import TrackerOptions

from .clips import Tracked
from .identity import identity_metrics, identity_results
from .smoothness import match, smoothness, smoothness_metrics
from .variants import Variant, filtered, metrics, run

if TYPE_CHECKING:
    from rle_onestage.structures.skeleton import Skeleton
    from video_benchmark.clips import Clip
    from video_benchmark.detections import Found


DRAWS = 2000  # of the bootstrap


class Result(NamedTuple):
    """Results of a row, one a clip: ``identity`` and ``smoothness``, each empty where it is not measured."""

    identity: list
    smoothness: list


def variants(equal: float, equal_options: "TrackerOptions") -> "dict[str, Variant]":
    """The rows of ours: dict name -> :class:`~.variants.Variant`.

    Args:
        equal: what stands for all sigmas, person sizes.
        equal_options: of the tracker then.
    """
    own = Variant(TrackerOptions())
    return {
        "ours, joints as found": own._replace(smooth=False),
        "ours": own,
        "ours, 4 frames later": own._replace(lag=4),
        "ours, 8 frames later": own._replace(lag=8),
        "ours, all sigmas equal": Variant(equal_options, equal=equal),
    }


def measure_ours(
    cases: "dict[str, tuple[Clip, Found]]", skeleton: "Skeleton", equal: float, equal_options: "TrackerOptions"
) -> "dict[str, Result]":
    """Results of our variants: dict name -> :class:`Result`.

    Args:
        cases: of :func:`~.detections.load_all`.
        skeleton: of the joints.
        equal: see :func:`variants`.
        equal_options: see :func:`variants`.
    """
    out = {}
    for name, variant in variants(equal, equal_options).items():
        pairs = [metrics(variant, clip, found, skeleton) for clip, found in cases.values()]
        out[name] = Result([a for a, _ in pairs], [b for _, b in pairs])
    return out


def measure_filters(
    cases: "dict[str, tuple[Clip, Found]]", skeleton: "Skeleton", filters: dict[str, tuple[str, dict]]
) -> "dict[str, Result]":
    """Results of other filters on the tracks of ours: dict name -> :class:`Result`.

    Args:
        cases: see :func:`measure_ours`.
        skeleton: see :func:`measure_ours`.
        filters: dict name -> (kind, parameters) of
        :func:`~.variants.filtered`.
    """
    out: dict[str, list] = {name: [] for name in filters}
    for clip, found in cases.values():
        done = run(Variant(smooth=False), clip, found, skeleton)
        pairs = match(clip, done.raw, skeleton.oks_sigmas)
        for name, (kind, parameters) in filters.items():
            out[name].append(smoothness(clip, pairs, filtered(done, clip.rate, kind, **parameters), done.raw.sigmas))
    return {name: Result([], results) for name, results in out.items()}


def measure_peer(cases: "dict[str, tuple[Clip, Found]]", folder: str, skeleton: "Skeleton") -> Result:
    """Result of another tracker's files: ``rows`` of the detections, and ``ids``. See ``bytetrack_peer.py``.

    Raises:
        DataError: a clip is missing.
    """
    results = []
    for name, (clip, found) in cases.items():
        path = os.path.join(folder, f"{name}.npz")
        try:
            with np.load(path) as data:
                rows, ids = data["rows"], data["ids"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} cannot be read as tracks ({error}); run bytetrack_peer.py again") from error
        order = np.argsort(found.frame[rows], kind="stable")
        rows, ids = rows[order], ids[order]
        tracked = Tracked(found.frame[rows], ids, found.keypoints[rows, :, :2].astype(float))
        results.append(identity_results(clip, tracked, skeleton.oks_sigmas))
    return Result(results, [])


def best_peer(cases: "dict[str, tuple[Clip, Found]]", folder: str, skeleton: "Skeleton") -> tuple[str, int]:
    """Of the combinations in a folder the one with the largest sum of IDF1 and HOTA, and how many there were.

    Raises:
        DataError: there is none.
    """
    folders = sorted(path for path in glob.glob(os.path.join(folder, "*")) if os.path.isdir(path))
    if not folders:
        raise DataError(f"{folder} has no tracks; make them with projects/video_benchmark/bytetrack_peer.py")
    scores = {}
    for path in folders:
        found = identity_metrics(measure_peer(cases, path, skeleton).identity)
        scores[path] = found["IDF1"] + found["HOTA"]
    return max(scores, key=lambda path: scores[path]), len(folders)


def difference(first: list, second: list, of: Callable, name: str) -> tuple[float, float, float]:
    """A metric of one row minus another's, with its 95 % interval (bootstrap over clips, paired).

    Args:
        first: list of results, one a clip.
        second: list of results of the same clips.
        of: ``identity_metrics`` or ``smoothness_metrics``.
        name: the
        figure.

    Returns:
        (difference, low, high).
    """
    rng = np.random.default_rng(0)
    number = len(first)
    draws = []
    for _ in range(DRAWS if of is smoothness_metrics else DRAWS // 10):
        index = rng.integers(0, number, number)
        draws.append(of([first[i] for i in index])[name] - of([second[i] for i in index])[name])
    return of(first)[name] - of(second)[name], *np.percentile(draws, [2.5, 97.5]).tolist()


def table(results: "dict[str, Result]", of: Callable, part: str) -> str:
    """A Markdown table of the rows that have a part (``identity`` or ``smoothness``)."""
    rows = {name: of(getattr(result, part)) for name, result in results.items() if getattr(result, part)}
    names = list(next(iter(rows.values())))
    lines = [
        [name, *(f"{metrics[key]:.{0 if key == 'IDSW' else 2 if key == 'lag' else 1}f}" for key in names)]
        for name, metrics in rows.items()
    ]
    return tabulate(lines, ["", *names], tablefmt="pipe", disable_numparse=True)


def as_json(results: "dict[str, Result]") -> dict[str, dict[str, Any]]:
    """All metrics of all rows, over all clips and of each clip."""
    out: dict[str, dict[str, Any]] = {}
    for name, result in results.items():
        out[name] = {}
        for part, of in (("identity", identity_metrics), ("smoothness", smoothness_metrics)):
            one = getattr(result, part)
            if one:
                out[name].update(of(one))
                out[name][f"{part}_by_clip"] = [of([clip]) for clip in one]
    return out
