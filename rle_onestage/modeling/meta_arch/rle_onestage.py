"""The meta-architecture: wiring and ``from_config``, nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone, build_backbone
from detectron2.structures import ImageList, Instances
from torch import Tensor
from torch.nn import functional as F

from ...errors import PoseError
from ...structures.root import read_camera
from ..assignment import Assigner
from ..criterion import Criterion
from ..head import PoseHead
from ..layout import use_strides_of_gradients
from ..locations import Locations, check_strides, make_locations
from ..losses import zero_of
from ..people import EVERYBODY, Look, People
from ..postprocessing import Decoder
from ..refinement.refiner import PoseRefiner
from ..renamed import rename_weights
from ..space.branch import DepthBranch
from ..structures import NOT_REFINED, DenseOutputs, Predictions, Targets
from ..tables import FreshTables
from ..targets import make_targets
from ..trained_parts import train_only
from ..visibility import VisibilityBranch
from .build import build_parts


@META_ARCH_REGISTRY.register()
class RLEOneStage(FreshTables):
    """One-stage multi-person pose with a likelihood.

    Args:
        backbone: a Detectron2 backbone.
        in_features: names of the maps for the dense head, in order of stride.
        head: what is said at every location, and at candidates.
        assigner: which candidate answers for which person, in training.
        criterion: the losses; owns the density.
        decoder: from candidates to people.
        refiner: from candidates to candidates, or None.
        half_size_from: size of person, in pixels of the network's input, from which people are looked for in the image
            at half size; 0 turns that look off.
        pixel_mean: of each channel.
        pixel_std: of each channel.
        input_format: of the images, "BGR" or "RGB".
        trained: beginnings of the names of the parameters that learn, see
            :func:`rle_onestage.modeling.train_only`; none: all.
    """

    # In files of earlier versions: their own count of the steps, which would go on counting in the next training.
    OBSOLETE_KEYS = ("iteration",)
    # Beginnings of the names of what says whether joints are hidden, and of what says depth: without these in a file,
    # a model does not say it.
    OPTIONAL_KEYS = (
        ("head.visibility.", "refiner.refinement.visible"),
        ("head.depth.", "refiner.refinement.depth.", "criterion.space.", "decoder.space."),
    )
    criterion: Criterion | None
    assigner: Assigner | None
    pixel_mean: Tensor
    pixel_std: Tensor

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        in_features: Sequence[str],
        head: PoseHead,
        assigner: Assigner,
        criterion: Criterion,
        decoder: Decoder,
        refiner: PoseRefiner | None,
        half_size_from: float,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        input_format: str,
        trained: Sequence[str] = (),
    ):
        super().__init__()
        self.backbone, self.head, self.refiner = backbone, head, refiner
        self.assigner, self.criterion, self.decoder = assigner, criterion, decoder
        self.in_features = list(in_features)
        self.half_size_from, self.input_format = half_size_from, input_format
        used = {*in_features, *([] if refiner is None else refiner.in_features)}
        self.declared = {name: shape.stride for name, shape in backbone.output_shape().items() if name in used}
        self.strides = [self.declared[name] for name in in_features]
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)
        use_strides_of_gradients(self)
        self.keep_tables_fresh()
        train_only(self, trained)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """The parts that ``cfg`` describes; see :func:`rle_onestage.modeling.meta_arch.build.build_parts`."""
        return build_parts(cfg, build_backbone(cfg))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.pixel_mean.device

    @property
    def visibility(self) -> VisibilityBranch | None:
        """What tells hidden joints from visible ones; None in a model without it."""
        return getattr(self.head, "visibility", None)

    @property
    def tells_hidden(self) -> bool:
        """Whether people come with ``pred_keypoint_visibility`` at inference."""
        return self.visibility is not None and self.visibility.has_opinion

    @property
    def depth(self) -> DepthBranch | None:
        """What says depth; None in a model without it."""
        return getattr(self.head, "depth", None)

    @property
    def tells_depth(self) -> bool:
        """Whether people come with ``pred_keypoints_3d`` at inference."""
        return self.depth is not None and self.depth.has_opinion

    def settle(self) -> None:
        """Let the model speak of hidden joints, and of depth, if it was taught."""
        for branch in (self.visibility, self.depth):
            if branch is not None:
                branch.settle()

    def scale_weights(self) -> list[Tensor]:
        """Of the layers that say the scale."""
        refined = [] if self.refiner is None else self.refiner.scale_weights()
        return [*self.head.scale.parameters(), *refined]

    def space_weights(self) -> list[Tensor]:
        """Of the layers that say depth."""
        parts = [self.depth, None if self.refiner is None else self.refiner.refinement.depth]
        return [parameter for part in parts if part is not None for parameter in part.parameters()]

    def drop_training_parts(self) -> None:
        """Forget the criterion with its flow, and the assigner: inference needs neither."""
        self.criterion = self.assigner = None

    def preprocess_image(self, inputs: Sequence[dict[str, Any]]) -> ImageList:
        """Normalise and pad to one tensor."""
        images = [x["image"].to(self.device, non_blocking=True).float() for x in inputs]
        images = [(image - self.pixel_mean) / self.pixel_std for image in images]
        return ImageList.from_tensors(images, self.backbone.size_divisibility)

    def forward(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Detectron2's contract: dict of losses in training, ``[{"instances": Instances}]`` otherwise.

        Args:
            inputs: dicts with "image" (3, H, W) in ``input_format``; in training "instances"; "height" and "width" of
                the output, and for joints in the camera's space "camera", its intrinsics in the pixels of the output
                (:func:`rle_onestage.structures.root.read_camera`).
        """
        images = self.preprocess_image(inputs)
        if self.training:
            features = self.features(images.tensor)
            check_strides(features, self.declared, images.tensor)
            return self._losses(features, make_targets(inputs, self.head.num_joints, self.device))
        people = self.find(images.tensor)
        sizes = [(x.get("height", h), x.get("width", w)) for x, (h, w) in zip(inputs, images.image_sizes)]
        cameras = [read_camera(x.get("camera")) for x in inputs]
        instances = self.decoder.to_instances(people, images.image_sizes, sizes, cameras)
        return [{"instances": each} for each in instances]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for key in self.OBSOLETE_KEYS:
            state_dict.pop(prefix + key, None)
        rename_weights(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The backbone's maps of normalised and padded images (B, 3, H, W)."""
        return self.backbone(images.contiguous(memory_format=torch.channels_last))

    def find(self, images: Tensor) -> People:
        """Normalised and padded images (B, 3, H, W) to people; raw tensors of static shapes: what an export wraps."""
        return self.find_in(images, self.at_half_size(images) if self.half_size_from else None)

    def find_in(self, images: Tensor, halves: Tensor | None) -> People:
        """People of images, and of the same images at half size.

        A network finds people of some sizes best. Larger people have half their size in the half-size image,
        which costs a quarter of the whole one.

        Args:
            images: (B, 3, H, W) normalised and padded.
            halves: (B, 3, H', W') from :meth:`at_half_size`; None: there is one look only.
        """
        if halves is None:
            return self.decode(self.features(images))
        whole, half = self.decoder.looks(self.half_size_from)
        people = self.decode(self.features(images), whole)
        return self.decoder.unite(people, self.decode(self.features(halves), half))

    def at_half_size(self, images: Tensor) -> Tensor:
        """Normalised and padded images (B, 3, H, W) at half size, padded as the backbone wants it."""
        half = F.avg_pool2d(images, 2, ceil_mode=True)
        side = max(self.backbone.size_divisibility, 1)
        return F.pad(half, (0, -half.shape[3] % side, 0, -half.shape[2] % side))

    def dense(self, features: Mapping[str, Tensor]) -> tuple[DenseOutputs, Locations]:
        """What the head says at all R locations of the backbone's maps, and where they are."""
        maps = [features[name] for name in self.in_features]
        return self.head.dense(maps), make_locations(
            [(m.shape[2], m.shape[3]) for m in maps], self.strides, maps[0].device
        )

    def decode(self, features: Mapping[str, Tensor], look: Look = EVERYBODY) -> People:
        """Features to the people whom a look is for."""
        return self.decode_dense(*self.dense(features), features, look)

    def decode_dense(
        self, dense: DenseOutputs, locations: Locations, features: Mapping[str, Tensor], look: Look = EVERYBODY
    ) -> People:
        """From the dense outputs on: choose candidates, project, refine, decode.

        Args:
            dense: of all R locations.
            locations: all of them.
            features: maps of the backbone by name, which the refinement samples.
            look: for whom.
        """
        indices, score = self.decoder.select(dense, locations, look)
        candidates = self.head.project(dense, indices, locations)
        if self.refiner is not None:
            candidates = self.refiner(features, candidates)
        return self.decoder(candidates, score, look)

    def _losses(self, features: Mapping[str, Tensor], targets: Targets) -> dict[str, Tensor]:
        if self.criterion is None or self.assigner is None:
            raise PoseError("this model is for inference, without what training needs; build it anew to train it")
        iteration = self.begin_step()
        dense, locations = self.dense(features)
        pairs = self.assigner.candidates(locations, targets)
        candidates = self.head.project(dense, pairs.candidates, locations)
        if self.visibility is not None and self.visibility.training:
            self.visibility.count(targets)
        if self.depth is not None and self.depth.training:
            self.depth.count(targets)
        assignment = self.assigner(pairs, locations, targets, candidates)
        refined = NOT_REFINED
        if self.refiner is not None:
            refined = self.refiner.training_passes(features, candidates, assignment, targets, iteration)
        predictions = Predictions(dense, candidates, refined)
        losses = self.criterion(predictions, pairs, assignment, locations, targets, iteration)
        return self._touch(losses, features)

    def _touch(self, losses: dict[str, Tensor], features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give every parameter a gradient, 0 where this batch or phase has no use for it: DDP and clipping want one.

        The maps that are in use have theirs; the plain layout of a sum's gradient would slow those before it.
        """
        parts = [part for part in (self.backbone, self.head, self.refiner, self.criterion) if part is not None]
        used = {*self.in_features, *([] if self.refiner is None else self.refiner.in_features)}
        idle = [x for name, x in features.items() if name not in used]
        idle += [p for part in parts for p in part.parameters() if p.requires_grad]
        return {**losses, "loss_score": losses["loss_score"] + zero_of(idle)}
