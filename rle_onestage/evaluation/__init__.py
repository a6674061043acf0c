"""COCO-style figures of boxes and keypoints, the error of each joint, and the worst images."""

from .coco import RESULTS_FILE, PoseEvaluator
from .ground_truth import GroundTruth, ground_truth_as_predictions
from .metrics import coco_figures
from .per_joint import best_match, joint_errors, match_people, worst_images
from .registry import EVALUATOR_REGISTRY, build_evaluator
from .result_files import read_results
from .results import instances_to_coco, write_json
from .tracks import Tracks, TrackWriter, read_tracks

__all__ = [
    "EVALUATOR_REGISTRY",
    "RESULTS_FILE",
    "GroundTruth",
    "PoseEvaluator",
    "TrackWriter",
    "Tracks",
    "best_match",
    "build_evaluator",
    "coco_figures",
    "ground_truth_as_predictions",
    "instances_to_coco",
    "joint_errors",
    "match_people",
    "read_results",
    "read_tracks",
    "worst_images",
    "write_json",
]
