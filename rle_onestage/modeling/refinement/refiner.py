"""The refinement as one part: its maps, its passes and its noise, from candidates to candidates."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ..assignment import Assignment
from ..structures import CandidatePredictions, Poses, Refined, Stage, Targets
from .joint_refinement import JointRefinement, SampledMaps
from .noise import joint_noise


class PoseRefiner(nn.Module):
    """Looks again at each predicted joint of each candidate, once or several times.

    Args:
        refinement: one pass; all passes share its weights.
        in_features: names of the backbone's maps that it samples, the finest first.
        steps: passes in training.
        test_steps: passes at inference, at least as many.
        per_person: best candidates of a person that are refined in training: only they will be asked at test time.
        noise: standard deviation of the noise on true joints that a further pass starts from in training, in strides of
            the finest map; 0 turns that pass off.
        noise_draws: noisy copies of each person's true joints.
    """

    def __init__(
        self,
        *,
        refinement: JointRefinement,
        in_features: Sequence[str],
        steps: int,
        test_steps: int,
        per_person: int,
        noise: float,
        noise_draws: int,
    ):
        super().__init__()
        self.refinement, self.in_features = refinement, list(in_features)
        self.steps, self.test_steps, self.per_person = steps, test_steps, per_person
        self.noise, self.noise_draws = noise, noise_draws

    def maps(self, features: Mapping[str, Tensor]) -> SampledMaps:
        """The maps that are sampled, made once for all passes.

        Args:
            features: (B, C, H, W) maps of the backbone by name.
        """
        finest, *context = (features[name] for name in self.in_features)
        return self.refinement.features(finest, context)

    def forward(self, features: Mapping[str, Tensor], candidates: CandidatePredictions) -> CandidatePredictions:
        """The candidates after all passes of inference.

        Args:
            features: (B, C, H, W) maps of the backbone by name.
            candidates: P of them.
        """
        maps = self.maps(features)
        for number in range(self.test_steps):
            before, candidates = candidates.poses, self.refinement(maps, candidates)
            if number >= self.steps:
                # Passes beyond those that were trained move the points; their scale would be a little too small.
                kept = candidates.poses._replace(scale=before.scale, more=before.more, depth=before.depth)
                candidates = candidates._replace(poses=kept)
        return candidates

    def training_passes(
        self,
        features: Mapping[str, Tensor],
        candidates: CandidatePredictions,
        assignment: Assignment,
        targets: Targets,
        iteration: int,
    ) -> Refined:
        """The passes that the losses are of.

        The first is of each person's best candidates, further ones are of the very best, and one starts at noisy true
        joints.

        Args:
            features: (B, C, H, W) maps of the backbone by name.
            candidates: P of them.
            assignment: of the candidates.
            targets: of the batch.
            iteration: of the training; the noise is a function of it.
        """
        maps, stages = self.maps(features), []
        index = ((assignment.person >= 0) & (assignment.rank < self.per_person)).nonzero()[:, 0]
        poses = candidates.poses.rows(index)
        for number in range(self.steps):
            if number == 1:  # what a further pass has to learn, the best candidates teach
                best = assignment.rank[index] == 0
                index, poses = index[best], poses.rows(best)
            poses = self.refinement(maps, candidates.rows(index)._replace(poses=poses)).poses
            stages.append(Stage(poses, index))
        denoised = self._denoised(maps, candidates, assignment, targets, iteration) if self.noise else None
        return Refined(stages, denoised, maps.heat)

    def _denoised(
        self,
        maps: SampledMaps,
        candidates: CandidatePredictions,
        assignment: Assignment,
        targets: Targets,
        iteration: int,
    ) -> Stage:
        """The pass of each person's best candidate from true joints with noise."""
        index = ((assignment.person >= 0) & (assignment.rank == 0)).nonzero()[:, 0]
        person = assignment.person[index]
        truth = targets.joints[candidates.indices.image[index], person]  # (n, K, 2)
        noise = joint_noise(truth, person, iteration, self.noise * self.refinement.stride, self.noise_draws)
        index = index.repeat(self.noise_draws)
        given = candidates.poses
        start = Poses((truth + noise).flatten(0, 1), given.scale[index], given.presence[index])
        return Stage(self.refinement(maps, candidates.rows(index)._replace(poses=start)).poses, index)

    def scale_weights(self) -> list[Tensor]:
        """Of the layers that say scale."""
        return [self.refinement.output, self.refinement.output_bias]
