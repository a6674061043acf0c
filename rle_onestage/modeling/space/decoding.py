"""From depth in pixels to joints in millimetres, with their standard deviations."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from detectron2.structures import Instances
from torch import Tensor, nn

from ...structures.depth_density import SpaceDensity, widths_of_density
from ...structures.error_density import LEVELS, REACH, ErrorDensity
from ...structures.root import Camera
from ..density import Density, GroupedDensity
from ..structures import Depths


class PeopleInSpace(NamedTuple):
    """Of N candidates of each image, in pixels of the network's input."""

    depth: Tensor  # (B, N, K) relative to the root
    depth_sigma: Tensor  # (B, N, K)
    pixel_size: Tensor  # (B, N) millimetres of a pixel at the root
    pixel_size_sigma: Tensor  # (B, N) as a share of it

    def at_double_size(self) -> "PeopleInSpace":
        """The same people in an image of twice the size."""
        return self._replace(depth=2 * self.depth, depth_sigma=2 * self.depth_sigma, pixel_size=self.pixel_size / 2)

    def at(self, image: int, index: Tensor) -> "PeopleInSpace":
        """Some candidates (n,) int64 of one image: (n, ...)."""
        return PeopleInSpace(*(part[image, index] for part in self))

    def joined(self, other: "PeopleInSpace") -> "PeopleInSpace":
        """Those of two looks at the same images."""
        return PeopleInSpace(*(torch.cat(pair, 1) for pair in zip(self, other)))


class SpaceDecoder(nn.Module):
    """Tables of the density of depth, the root, and the correction that a calibration fits.

    Args:
        group: (K,) which of the density's groups is each joint's.
        root: (K,) weights of the joints whose mean is the root.
    """

    STEPS = 4001  # of the table that widths are taken from
    group: Tensor
    root: Tensor
    mean: Tensor
    std: Tensor
    widths: Tensor
    correction: Tensor
    intervals: Tensor
    JOINT_ROWS = {"root": 1, "correction": 1, "intervals": 1}

    def __init__(self, *, group: Sequence[int], root: Sequence[float]):
        super().__init__()
        joints, groups = len(root), max(group) + 1
        # What belongs to some of the joints only, or to one each.
        self.group_tensors = ("mean", "std", "widths") if groups > 1 else ()
        if list(group) == list(range(joints)):
            self.JOINT_ROWS = {**self.JOINT_ROWS, **dict.fromkeys(self.group_tensors, 1)}
        self.register_buffer("group", torch.tensor(list(group)), persistent=False)
        self.register_buffer("root", torch.tensor(list(root), dtype=torch.float32))
        self.register_buffer("mean", torch.zeros(groups))  # in units of the scale
        self.register_buffer("std", torch.ones(groups))
        self.register_buffer("widths", torch.ones(groups, len(LEVELS)))  # in standard deviations
        # What a calibration fits: logs of factors of sigma in x, y and depth; half-widths (zeros: not fitted).
        self.register_buffer("correction", torch.zeros(joints, 3))
        self.register_buffer("intervals", torch.zeros(joints, 3, len(LEVELS)))

    @torch.no_grad()
    def set_density(self, density: Density | GroupedDensity) -> None:
        """Take the tables of a density of depth whose nodes are fresh; a correction for another one goes."""
        _, _, mean, std = density.table()
        self.mean.copy_(mean[:, 0])
        self.std.copy_(std[:, 0])
        t = torch.linspace(-7, 7, self.STEPS, device=mean.device)
        position = mean + std * (REACH / torch.sinh(t[-1])) * torch.sinh(t)  # (G, S)
        log_q = density.reported_log_q(position[..., None])
        for row, places, values, m, s in zip(self.widths, position, log_q, self.mean, self.std):
            row.copy_(widths_of_density(places, values, float(m), float(s), LEVELS))
        self.reset_correction()

    @torch.no_grad()
    def set_correction(self, log_scale: Tensor, intervals: Tensor) -> None:
        """Correct sigma from now on.

        Args:
            log_scale: (K, 3) logs of factors, of x, y and depth.
            intervals: (K, 3, L) half-widths in corrected standard deviations at ``LEVELS``.
        """
        self.correction.copy_(log_scale)
        self.intervals.copy_(intervals)

    @torch.no_grad()
    def reset_correction(self) -> None:
        """Report sigma as it was learned."""
        self.correction.zero_()
        self.intervals.zero_()

    def density(self, in_image: ErrorDensity) -> SpaceDensity:
        """The intervals in units of the sigma that is reported.

        Args:
            in_image: the density of errors in x and y.
        """
        flat = torch.stack([in_image.half_width(level) for level in LEVELS], 1)  # (K, L)
        own = torch.stack([flat, flat, self.widths[self.group]], 1)
        fitted = self.intervals.flatten(1).any(1)[:, None, None]
        return SpaceDensity(levels=torch.where(fitted, self.intervals, own))

    def forward(self, depths: Depths, shape: Sequence[int]) -> PeopleInSpace:
        """What the network says of P = B N candidates, in a batch of ``shape`` (B, N)."""
        joints = depths.mu.shape[1]
        return PeopleInSpace(
            depth=(depths.mu + depths.scale * self.mean[self.group]).view(*shape, joints),
            depth_sigma=(depths.scale * self.std[self.group]).view(*shape, joints),
            pixel_size=torch.exp(depths.pixel_size).view(*shape),
            pixel_size_sigma=depths.pixel_size_scale.view(*shape),
        )

    def to_fields(self, instances: Instances, people: PeopleInSpace, scale: Tensor, camera: Camera | None) -> None:
        """Give people of one image their places in space.

        With ``m`` millimetres of a pixel, a joint is at ``m (x - x_root, y - y_root, depth)``, and with a camera
        further out by its depth along its ray. Errors of the joints are taken as independent of each other, and the
        person's size has an error that all lengths share.

        Args:
            instances: N people with ``pred_keypoints`` and ``pred_keypoint_sigmas``, in the pixels of the output.
            people: their rows, (N, ...).
            scale: (2,) from the network's input to the output, x and y.
            camera: in the pixels of the output; None: without perspective, and no place of the root.
        """
        zoom = scale.prod().sqrt()
        size = people.pixel_size / zoom  # (N,)
        xy, sigma = instances.pred_keypoints[..., :2], instances.pred_keypoint_sigmas
        origin = torch.einsum("k,nkd->nd", self.root, xy)
        # A joint less the root is a sum over the joints, with these factors.
        factor = (torch.eye(len(self.root), device=xy.device) - self.root).square()  # (K, K)
        flat = (xy - origin[:, None]) * size[:, None, None]
        variance = torch.einsum("jk,nkd->njd", factor, sigma.square()) * size[:, None, None].square()
        depth = (people.depth * zoom * size[:, None])[..., None]
        deep = (people.depth_sigma * zoom * size[:, None])[..., None].square()
        if (self.root == 1).any():  # the root is a joint: it is at its own place
            depth, deep = depth * (self.root != 1)[:, None], deep * (self.root != 1)[:, None]
        if camera is not None:
            focal = xy.new_tensor(camera.focal)
            flat, variance = flat * (camera.mean_focal / focal), variance * (camera.mean_focal / focal).square()
            ray = (xy - xy.new_tensor(camera.principal_point)) / focal
            flat, variance = flat + ray * depth, variance + ray.square() * deep
            far = camera.mean_focal * size
            middle = (origin - xy.new_tensor(camera.principal_point)) / focal
            instances.pred_roots_3d = torch.cat([middle, torch.ones_like(middle[:, :1])], 1) * far[:, None]
            instances.pred_root_depth_sigmas = far * people.pixel_size_sigma
        points = torch.cat([flat, depth], -1)
        shared = (points * people.pixel_size_sigma[:, None, None]).square()
        sigmas = (torch.cat([variance, deep], -1) + shared).sqrt()
        instances.pred_keypoints_3d = points
        instances.pred_keypoint_3d_sigmas = sigmas * torch.exp(self.correction)
        instances.pred_pixel_sizes = size
