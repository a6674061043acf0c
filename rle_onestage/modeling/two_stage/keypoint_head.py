"""Residual Log-likelihood Estimation as a keypoint head of Detectron2's two-stage models."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads.keypoint_head import ROI_KEYPOINT_HEAD_REGISTRY
from detectron2.structures import Instances
from torch import Tensor, nn

from ...errors import ConfigError
from ...structures.covariance import covariance_of
from ..backbone.timm_fpn import conv_block
from ..codec import ScaleCodec, box_size, decode_in_boxes
from ..density import density_from_config
from ..meta_arch.build import build_decoder, configured_oks_sigmas, flow_groups
from ..people import People
from ..postprocessing import Decoder
from ..structures import CandidatePredictions, Candidates, Poses
from ..tables import FreshTables
from ..targets import people_of_regions
from .criterion import RegionCriterion
from .heatmaps import SoftArgmax
from .instances import PoseInstances, as_pose_instances
from .region_head import RegionHead
from .regions import cat_boxes, check_joints, configured_flip_index, person_boxes_of, scores_of

# The unit of scale is this share of a box's width and height, so that the keys of SCALE mean what they do elsewhere:
# a person is some 16 strides high.
CELLS = 16


class RegionPoses(nn.Module):
    """The network: convolutions if there are any, the mean over the region (or all of it), and one linear layer.

    With ``soft_argmax`` the joints are the means of heatmaps instead, and the linear layer says scale and presence.

    Args:
        channels: of the pooled features.
        cells: of the pooled features, height times width.
        num_joints: K.
        convs: channels of the 3 x 3 convolutions before, with GroupNorm: regions are few, and alike.
        pooling: of the linear layer: ``mean``; ``flat``, every cell counts for itself; ``soft_argmax``, as ``mean``.
        deconvs: channels of the transposed convolutions before the heatmaps.
        scale_codec: the parametrisation of the scale.
    """

    # Tensors whose first axis is that of the joints: neighbouring rows of each. Checkpoints are mapped by it.
    JOINT_ROWS = {
        "offset.weight": 2, "offset.bias": 2, "scale.weight": 2, "scale.bias": 2, "presence.weight": 1,
        "presence.bias": 1, "offset.heatmaps.weight": 1, "offset.heatmaps.bias": 1,
    }  # fmt: skip

    def __init__(
        self,
        *,
        channels: int,
        cells: int,
        num_joints: int,
        convs: Sequence[int],
        pooling: str,
        deconvs: Sequence[int],
        scale_codec: ScaleCodec,
    ):
        super().__init__()
        self.num_joints, self.flat, self.scale_codec = num_joints, pooling == "flat", scale_codec
        widths = [channels, *convs]
        self.convs = nn.Sequential(*(conv_block(a, b, kind="full", norm="GN") for a, b in zip(widths, widths[1:])))
        inputs = widths[-1] * (cells if self.flat else 1)
        # One layer, in three parts, so that checkpoints can be mapped by joint.
        self.offset: nn.Module = nn.Linear(inputs, 2 * num_joints)
        self.scale = nn.Linear(inputs, 2 * num_joints)
        self.presence = nn.Linear(inputs, num_joints)
        for layer in (self.offset, self.scale, self.presence):
            nn.init.normal_(layer.weight, std=0.01 if not self.flat else 0.01 / cells**0.5)
            nn.init.zeros_(layer.bias)
        if pooling == "soft_argmax":
            self.offset = SoftArgmax(channels=widths[-1], deconvs=deconvs, num_joints=num_joints)

    def forward(self, features: Tensor) -> "RawPoses":
        """What the layers say of pooled features (P, C, H, W), in float32."""
        features = self.convs(features)
        offset, maps = self.offset(features) if isinstance(self.offset, SoftArgmax) else (None, None)
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            features = features.flatten(1) if self.flat else features.mean((2, 3))
            offset = self.offset(features) if offset is None else offset
            offset, scale = (each.unflatten(-1, (-1, 2)) for each in (offset, self.scale(features)))
            return RawPoses(offset, scale, self.presence(features), maps)


@ROI_KEYPOINT_HEAD_REGISTRY.register()
class RLEKeypointHead(RegionHead["RawPoses"], FreshTables):
    """Regresses joints and scales relative to the box of each region; the likelihood of their labels is the loss.

    It takes the place of Detectron2's heatmap head: ``MODEL.ROI_KEYPOINT_HEAD.NAME RLEKeypointHead``. Density, preset,
    flow and scale are those of ``MODEL.RLE_ONESTAGE``, the rest is in its ``TWO_STAGE``.

    Args:
        network: from pooled features to raw poses.
        criterion: the losses; owns the density.
        decoder: tables of the density, and what is made of them.
        flip_index: (K,) which joint is which in a mirror.
    """

    criterion: RegionCriterion

    @configurable
    def __init__(
        self, *, network: RegionPoses, criterion: RegionCriterion, decoder: Decoder, flip_index: Sequence[int]
    ):
        super().__init__()
        self.network, self.criterion, self.decoder = network, criterion, decoder
        self.flip_index = list(flip_index)
        self.keep_tables_fresh()

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """The parts that ``cfg`` describes.

        Args:
            cfg: the whole config.
            input_shape: channels, height and width of the pooled features.

        Raises:
            ConfigError: see :func:`~.regions.check_joints`; or hidden joints shall be told, which this head does not.
        """
        check_joints(cfg)
        if cfg.MODEL.RLE_ONESTAGE.HEAD.VISIBILITY:
            raise ConfigError(
                "MODEL.RLE_ONESTAGE.HEAD.VISIBILITY is True, but RLEKeypointHead does not tell hidden joints from "
                "visible ones; set it to False"
            )
        options, joints = cfg.MODEL.RLE_ONESTAGE, cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS
        network = RegionPoses(
            channels=input_shape.channels,
            cells=input_shape.height * input_shape.width,
            num_joints=joints,
            convs=options.TWO_STAGE.CONV_DIMS,
            pooling=options.TWO_STAGE.POOLING,
            deconvs=options.TWO_STAGE.DECONV_DIMS,
            scale_codec=ScaleCodec.from_config(cfg, init=options.SCALE.INIT),
        )
        # After the network, so that this starts from the same weights under every loss of a seed.
        density, oks_sigmas = density_from_config(cfg, flow_groups(cfg)), configured_oks_sigmas(cfg)
        decoder = build_decoder(cfg, oks_sigmas, density, use_peaks=True, oks_power=options.TWO_STAGE.OKS_POWER)
        return {
            "network": network,
            "criterion": RegionCriterion(
                density=density,
                flow_warmup=options.FLOW.WARMUP_ITERS,
                pose_weight=cfg.MODEL.ROI_KEYPOINT_HEAD.LOSS_WEIGHT,
                presence_weight=options.LOSS.PRESENCE,
                heatmap_weight=options.LOSS.HEATMAP,
            ),
            "decoder": decoder,
            "flip_index": configured_flip_index(cfg, joints),
        }

    def scale_weights(self) -> list[Tensor]:
        """Of the layer that says the scale."""
        return list(self.network.scale.parameters())

    def layers(self, features: Tensor) -> "RawPoses":
        """See :class:`~.region_head.RegionHead`."""
        return self.network(features)

    def averaged(self, raw: "RawPoses", mirrored: "RawPoses") -> "RawPoses":
        """See :class:`~.region_head.RegionHead`."""
        return raw.averaged(mirrored.mirrored(self.flip_index))

    def losses(self, raw: "RawPoses", regions: Tensor, instances: Sequence[Instances]) -> dict[str, Tensor]:
        """See :class:`~.criterion.RegionCriterion`."""
        people = people_of_regions(instances, self.network.num_joints).to(regions.device)
        losses = self.criterion(self._poses(raw, regions), people, self.begin_step())
        if raw.maps is not None:
            losses["loss_heatmap"] = self.criterion.heatmap(raw.maps, people, regions)
        return losses

    def _poses(self, raw: "RawPoses", regions: Tensor) -> Poses:
        """Poses of the regions (P, 4), in pixels."""
        scale = self.network.scale_codec.decode(raw.scale, box_size(regions) / CELLS)
        return Poses(mu=decode_in_boxes(raw.offset, regions), scale=scale, presence=raw.presence)

    @torch.no_grad()
    def decoded(self, raw: "RawPoses", regions: Tensor, instances: list[Instances]) -> list[Instances]:
        """People as :class:`~.instances.PoseInstances`, with every field of this project's models."""
        boxes = cat_boxes([person_boxes_of(each) for each in instances], regions)
        scores = torch.cat([scores_of(each) for each in instances]).float().to(regions.device)
        first = torch.zeros_like(scores, dtype=torch.int64)
        candidates = CandidatePredictions(
            indices=Candidates(first, first), boxes=boxes, score=torch.logit(scores, eps=1e-6), quality=None,
            embedding=regions.new_zeros(len(scores), 0), poses=self._poses(raw, regions),
        )  # fmt: skip
        people = self.decoder(candidates, scores[None])
        counts = [len(each) for each in instances]
        rows = zip(*(field[0].split(counts) for field in _fields(people)))
        return [_with_people(each, *row) for each, row in zip(instances, rows)]


class RawPoses(NamedTuple):
    """What the layers say of P regions."""

    offset: Tensor  # (P, K, 2) from the centre, in widths and heights of the region
    scale: Tensor  # (P, K, 2) raw
    presence: Tensor  # (P, K) logits
    maps: Tensor | None = None  # (P, K, H, W) logits of the heatmaps that the offsets are the means of

    def mirrored(self, flip_index: Sequence[int]) -> "RawPoses":
        """The same regions in a mirror, left for right."""
        offset, scale, presence = (part[:, list(flip_index)] for part in self[:3])
        return RawPoses(offset * offset.new_tensor([-1.0, 1.0]), scale, presence)

    def averaged(self, other: "RawPoses") -> "RawPoses":
        """Half of each, but for the heatmaps."""
        return RawPoses(*((mine + theirs) / 2 for mine, theirs in zip(self[:3], other[:3])))


def _fields(people: People) -> list[Tensor]:
    """What instances have of people, each (1, P, ...); own tensors, as they are scaled in place later."""
    correlations = torch.zeros_like(people.presence) if people.correlations is None else people.correlations
    covariances = covariance_of(people.sigmas, correlations)
    parts = (people.scores, people.factors, people.joints, people.sigmas, covariances, people.presence, people.areas)
    return [part.detach().clone() for part in parts]


def _with_people(
    instances: Instances,
    scores: Tensor,
    factors: Tensor,
    joints: Tensor,
    sigmas: Tensor,
    covariances: Tensor,
    presence: Tensor,
    areas: Tensor,
) -> PoseInstances:
    """The instances of one image with what :func:`_fields` says of them, in their order."""
    result = as_pose_instances(instances)
    result.scores, result.pred_score_factors = scores, factors
    result.pred_keypoints, result.pred_keypoint_sigmas = joints, sigmas
    result.pred_keypoint_covariances, result.pred_keypoint_presence = covariances, presence
    result.pred_areas = areas
    return result
