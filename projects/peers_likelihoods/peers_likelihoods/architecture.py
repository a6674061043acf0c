"""The architecture with the criterion and the decoder of a rule, which its density names."""

from typing import Any, NamedTuple

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone

from rle_onestage.errors import ConfigError
from rle_onestage.modeling.criterion import Criterion
from rle_onestage.modeling.meta_arch.build import build_parts
from rle_onestage.modeling.meta_arch.rle_onestage import RLEOneStage
from rle_onestage.modeling.postprocessing import Decoder
from rle_onestage.modeling.refinement.joint_refinement import JointRefinement

from . import criteria, decoders, parts


class Parts(NamedTuple):
    """What goes with a density."""

    head: str
    refinement: type[JointRefinement]
    criterion: type[Criterion]
    decoder: type[Decoder]


_RF_DETR = ("PrecisionHead", parts.PrecisionRefinement, criteria.RFDETRCriterion)
PARTS = {
    "gaussian_matrix": Parts(
        "CorrelationHead", parts.CorrelationRefinement, criteria.MatrixCriterion, decoders.MatrixDecoder
    ),
    "rf_detr": Parts(*_RF_DETR, decoders.RFDETRDecoder),
    "rf_detr_published": Parts(*_RF_DETR, decoders.PublishedDecoder),
    "yolo26": Parts("StrideHead", parts.StrideRefinement, criteria.YOLO26Criterion, Decoder),
}


@META_ARCH_REGISTRY.register()
class PeerRule(RLEOneStage):
    """:class:`~rle_onestage.modeling.RLEOneStage` trained and read out by the rule that ``DENSITY`` names."""

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """The parts that ``cfg`` describes.

        Raises:
            ConfigError: the density is none of the rules', the head is another's, or true joints get noise.
        """
        options = cfg.MODEL.RLE_ONESTAGE
        own = PARTS.get(options.DENSITY)
        if own is None:
            raise ConfigError(
                f"MODEL.META_ARCHITECTURE PeerRule has no rule {options.DENSITY}; set MODEL.RLE_ONESTAGE.DENSITY to "
                f"one of {', '.join(PARTS)}, or take RLEOneStage"
            )
        if options.HEAD.NAME != own.head or options.REFINE.NOISE:
            raise ConfigError(
                f"MODEL.RLE_ONESTAGE.DENSITY {options.DENSITY} goes with HEAD.NAME {own.head} and REFINE.NOISE 0, "
                f"which are {options.HEAD.NAME} and {options.REFINE.NOISE:g}; set them"
            )
        return build_parts(
            cfg, build_backbone(cfg), criterion=own.criterion, decoder=own.decoder, refinement=own.refinement
        )
