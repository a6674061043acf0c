"""The architecture with the criterion and the decoder of a rule, which its density names."""

from typing import Any, NamedTuple

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone

from rle_onestage.errors import ConfigError
from rle_onestage.modeling.criterion import Criterion
from rle_onestage.modeling.meta_arch.build import build_parts
from rle_onestage.modeling.meta_arch.rle_onestage import RLEOneStage
from rle_onestage.modeling.postprocessing import Decoder

from . import criteria, decoders


class Parts(NamedTuple):
    """What goes with a density."""

    head: str
    criterion: type[Criterion]
    decoder: type[Decoder]


PARTS = {
    "gaussian_matrix": Parts("CorrelationHead", criteria.MatrixCriterion, decoders.MatrixDecoder),
    "rf_detr": Parts("PrecisionHead", criteria.RFDETRCriterion, decoders.RFDETRDecoder),
    "rf_detr_published": Parts("PrecisionHead", criteria.RFDETRCriterion, decoders.PublishedDecoder),
    "yolo26": Parts("StrideHead", criteria.YOLO26Criterion, Decoder),
}


@META_ARCH_REGISTRY.register()
class PeerRule(RLEOneStage):
    """:class:`RLEOneStage` trained and read out by the rule of ``MODEL.RLE_ONESTAGE.DENSITY``."""

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """The parts that ``cfg`` describes.

        Raises:
            ConfigError: the density is none of the rules', the head is another's, or there is a refinement.
        """
        options = cfg.MODEL.RLE_ONESTAGE
        parts = PARTS.get(options.DENSITY)
        if parts is None:
            raise ConfigError(
                f"MODEL.META_ARCHITECTURE PeerRule has no rule {options.DENSITY}; set MODEL.RLE_ONESTAGE.DENSITY to one "
                f"of {', '.join(PARTS)}, or take RLEOneStage"
            )
        if options.HEAD.NAME != parts.head or options.REFINE.STEPS:
            raise ConfigError(
                f"MODEL.RLE_ONESTAGE.DENSITY {options.DENSITY} goes with HEAD.NAME {parts.head} and REFINE.STEPS 0, "
                f"which are {options.HEAD.NAME} and {options.REFINE.STEPS}; set them"
            )
        return build_parts(cfg, build_backbone(cfg), criterion=parts.criterion, decoder=parts.decoder)
