"""Evaluators of benchmarks that score in a way of their own; a set's metadata choose one in place of PoseEvaluator."""

from .coco import PoseEvaluator
from .registry import EVALUATOR_REGISTRY


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
