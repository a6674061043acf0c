"""A tiny Keypoint R-CNN for the tests of the two-stage heads."""

import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from modeling_toys import tiny_config

TINY_RCNN = [
    "MODEL.META_ARCHITECTURE", "GeneralizedRCNN", "MODEL.KEYPOINT_ON", "True",
    "MODEL.ANCHOR_GENERATOR.SIZES", "[[16], [32]]", "MODEL.RPN.IN_FEATURES", "['p3', 'p4']",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN", "20", "MODEL.RPN.POST_NMS_TOPK_TEST", "10",
    "MODEL.PROPOSAL_GENERATOR.NAME", "RPN", "MODEL.ROI_HEADS.NAME", "StandardROIHeads",
    "MODEL.ROI_HEADS.NUM_CLASSES", "1", "MODEL.ROI_HEADS.IN_FEATURES", "['p3']",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "16", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0",
    "MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead", "MODEL.ROI_BOX_HEAD.NUM_FC", "1",
    "MODEL.ROI_BOX_HEAD.FC_DIM", "16", "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", "4",
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_RESOLUTION", "7", "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS", "[8]",
    "TEST.DETECTIONS_PER_IMAGE", "5",
]  # fmt: skip


def rcnn_config(*options, head="RLEKeypointHead"):
    """The config of the tiny model with this keypoint head, with further ``KEY, VALUE`` options."""
    return tiny_config(*TINY_RCNN, "MODEL.ROI_KEYPOINT_HEAD.NAME", head, *options)


def make_rcnn(*options, head="RLEKeypointHead", seed=0):
    """The model of :func:`rcnn_config`, in training mode."""
    torch.manual_seed(seed)
    return build_model(rcnn_config(*options, head=head))


def detections(boxes, size=(64, 64), scores=None):
    """Boxes [(x0, y0, x1, y1), ...] as Detectron2's box head gives them."""
    result = Instances(size)
    result.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    result.pred_classes = torch.zeros(len(boxes), dtype=torch.int64)
    result.scores = torch.full((len(boxes),), 0.9) if scores is None else torch.tensor(scores)
    return result
