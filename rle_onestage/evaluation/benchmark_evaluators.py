"""Evaluators of benchmarks that score in a way of their own; a set's metadata choose one in place of PoseEvaluator."""

from collections import OrderedDict
from collections.abc import Mapping

from .coco import PoseEvaluator
from .ground_truth import GroundTruth
from .registry import EVALUATOR_REGISTRY
from .results import Result
from .space.actions import action_tables


@EVALUATOR_REGISTRY.register()
class CrowdPoseEvaluator(PoseEvaluator):
    """CrowdPose: AP and AR, and AP of easy, medium and hard images; see :mod:`.protocols.crowdpose`."""

    evaluator_type = "crowdpose"


@EVALUATOR_REGISTRY.register()
class WholeBodyEvaluator(PoseEvaluator):
    """COCO-WholeBody: AP and AR of the parts of the body, and of all joints; see :mod:`.protocols.wholebody`."""

    evaluator_type = "coco_wholebody"


@EVALUATOR_REGISTRY.register()
class MPIIEvaluator(PoseEvaluator):
    """MPII: PCKh of single people, and AP and AR over all people of an image; see :mod:`.protocols.mpii`."""

    evaluator_type = "mpii"


@EVALUATOR_REGISTRY.register()
class H36MEvaluator(PoseEvaluator):
    """Human3.6M: MPJPE, PA-MPJPE and N-MPJPE of each action; see :mod:`.space.actions`."""

    evaluator_type = "h36m"

    def space_tables(self, truth: GroundTruth, results: list[Result]) -> OrderedDict[str, Mapping[str, float]]:
        """The table ``pose_3d`` over all frames, and one for each metric over the actions."""
        return action_tables(truth, results, self.skeleton.names, self.space_density)
