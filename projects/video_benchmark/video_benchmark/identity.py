"""Are identities kept? HOTA, IDF1 and MOTA with OKS as similarity, by TrackEval.

HOTA: Luiten et al., IJCV 2020; IDF1: Ristani et al., ECCV workshops 2016; MOTA: Bernardin and Stiefelhagen, 2008.
IDF1 and MOTA take a pair for right from an OKS of 0.5 on.
"""

import numpy as np

from rle_onestage.errors import ConfigError

from .clips import similarities

NAMES = ("IDF1", "HOTA", "DetA", "AssA", "MOTA", "IDSW")


def _metrics():
    try:
        from trackeval.metrics import CLEAR, HOTA, Identity
    except ImportError as error:
        raise ConfigError("TrackEval is not installed; pip install --no-deps trackeval") from error
    quiet = {"PRINT_CONFIG": False}
    return HOTA(), CLEAR(quiet), Identity(quiet)


def identity_results(clip, tracked, sigmas):
    """TrackEval's results of one clip, to be given to :func:`identity_metrics`.

    Args:
        clip: :class:`~.clips.Clip`. tracked: :class:`~.clips.Tracked`. sigmas: (K,) COCO's.

    Raises:
        ConfigError: TrackEval is not installed.
    """
    true_ids, mine = np.unique(clip.people.track_id, return_inverse=True)
    ids, theirs = np.unique(tracked.track_id, return_inverse=True)
    pairs = similarities(clip, tracked, sigmas)
    data = {
        "num_timesteps": clip.frames,
        "num_gt_ids": len(true_ids),
        "num_tracker_ids": len(ids),
        "num_gt_dets": len(mine),
        "num_tracker_dets": len(theirs),
        "gt_ids": [mine[rows] for rows, _, _ in pairs],
        "tracker_ids": [theirs[rows] for _, rows, _ in pairs],
        "similarity_scores": [oks for _, _, oks in pairs],
    }
    return [metric.eval_sequence(data) for metric in _metrics()]


def identity_metrics(results):
    """Metrics of several clips together.

    Args:
        results: list of :func:`identity_results`.

    Returns:
        dict of ``NAMES`` -> percent (``IDSW``: number of switches).
    """
    hota, clear, identity = (
        metric.combine_sequences({str(i): result[k] for i, result in enumerate(results)})
        for k, metric in enumerate(_metrics())
    )
    return {
        "IDF1": 100 * float(identity["IDF1"]),
        "HOTA": 100 * float(np.mean(hota["HOTA"])),
        "DetA": 100 * float(np.mean(hota["DetA"])),
        "AssA": 100 * float(np.mean(hota["AssA"])),
        "MOTA": 100 * float(clear["MOTA"]),
        "IDSW": int(clear["IDSW"]),
    }
