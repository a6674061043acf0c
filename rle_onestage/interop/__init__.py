"""Our people in the formats of other tools: ``supervision.KeyPoints``, FiftyOne's labels.

COCO results are written by ``demo --json`` and ``evaluate``, see ``rle_onestage.evaluation.results``.
"""

from .fiftyone import FiftyOneLabels, fiftyone_skeleton, to_fiftyone
from .supervision import supervision_edges, to_supervision, to_supervision_detections

__all__ = [
    "FiftyOneLabels",
    "fiftyone_skeleton",
    "supervision_edges",
    "to_fiftyone",
    "to_supervision",
    "to_supervision_detections",
]
