"""Metrics of boxes, keypoints and sigmas as COCO's, the error of each joint, and the files of results and tracks."""

from .benchmark_evaluators import CrowdPoseEvaluator, H36MEvaluator, MPIIEvaluator, WholeBodyEvaluator
from .calibration import calibration_table, format_calibration
from .coco import RESULTS_FILE, RESULTS_FOLDER, PoseEvaluator
from .ground_truth import GroundTruth, ground_truth_as_predictions
from .metrics import coco_metrics
from .per_joint import best_match, joint_errors, match_people, worst_images
from .ranking import Ranking, compare_scores
from .registry import EVALUATOR_REGISTRY, build_evaluator
from .result_files import read_results
from .results import instances_from_results, instances_to_coco, write_json
from .scoring import format_scores, score_results
from .tracks import Tracks, TrackWriter, read_tracks

__all__ = [
    "EVALUATOR_REGISTRY",
    "RESULTS_FILE",
    "RESULTS_FOLDER",
    "CrowdPoseEvaluator",
    "GroundTruth",
    "H36MEvaluator",
    "MPIIEvaluator",
    "PoseEvaluator",
    "Ranking",
    "TrackWriter",
    "Tracks",
    "WholeBodyEvaluator",
    "best_match",
    "build_evaluator",
    "calibration_table",
    "coco_metrics",
    "compare_scores",
    "format_calibration",
    "format_scores",
    "ground_truth_as_predictions",
    "instances_from_results",
    "instances_to_coco",
    "joint_errors",
    "match_people",
    "read_results",
    "read_tracks",
    "score_results",
    "worst_images",
    "write_json",
]
