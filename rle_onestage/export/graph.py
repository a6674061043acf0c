"""The whole way from the pixels of an image to people, as one module without decisions on the data."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.mapper import TestResize
from ..data.transforms.model_input import resize_for_model
from ..modeling import RLEOneStage
from ..modeling.backbone.fusion import fuse_pixel_std
from ..modeling.backbone.timm_fpn import SameConv2d
from ..modeling.people import EVERYBODY, found_people
from .resizing import BAND, Axis, resize_to_canvas, taps_of_band

# Names among the fields of Found, in its order.
OUTPUTS = ("boxes", "scores", "keypoints", "sigmas", "covariances", "presence", "visibility", "areas")


class InputSize(NamedTuple):
    """How images are resized for the network.

    Attributes:
        shortest: what the shortest edge becomes, in pixels; 0: the image keeps its size.
        longest: what the longest edge must not exceed, in pixels.
        canvas: (height, width) of a canvas that every image is resized to fit into; None: the canvas is as large as
            the resized image.
        static: the file takes images that are as large as the canvas already, see :meth:`fit`.
    """

    shortest: int
    longest: int
    canvas: tuple[int, int] | None = None
    static: bool = False

    def resize(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 as the predictor resizes it, or to fit into the canvas."""
        if self.canvas is None:
            return TestResize(shortest=self.shortest, longest=self.longest)(image)
        return resize_for_model(image, *self.sides_on_canvas(image))

    def sides_on_canvas(self, image: np.ndarray) -> tuple[int, int]:
        """Height and width of an image (H, W, 3) that is resized to fit into the canvas."""
        assert self.canvas is not None
        (height, width), (rows, columns) = image.shape[:2], self.canvas
        numerator, denominator = (rows, height) if height * columns >= width * rows else (columns, width)
        high, wide = (max(1, (2 * side * numerator + denominator) // (2 * denominator)) for side in (height, width))
        return high, wide

    def fit(self, image: np.ndarray, colour: Sequence[int]) -> np.ndarray:
        """An image as a static file takes it.

        Args:
            image: (H, W, 3) uint8.
            colour: of the canvas beyond the image, in the image's channels.

        Returns:
            (height, width, 3) uint8 of the canvas, the image in its upper left corner.
        """
        assert self.canvas is not None
        resized, canvas = self.resize(image), np.empty((*self.canvas, 3), np.uint8)
        canvas[:] = colour
        canvas[: resized.shape[0], : resized.shape[1]] = resized
        return canvas

    def padding(self, image: np.ndarray) -> float:
        """Share of a fixed canvas that an image (H, W, 3) leaves empty; 0 without one."""
        if self.canvas is None:
            return 0.0
        height, width = self.sides_on_canvas(image)
        return 1 - height * width / (self.canvas[0] * self.canvas[1])


def as_size(value: Tensor) -> Any:
    """A number of the graph as the size of a tensor.

    Args:
        value: () int64.
    """
    return value if torch.jit.is_tracing() else value.item()


class _WholeStridesConv2d(SameConv2d):
    """Its padding where sides are multiples of the stride, as all are on a canvas of whole ``size_divisibility``.

    There the padding is the same for all sizes, and runtimes make it part of the convolution.
    """

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        sizes = zip(self.kernel_size, self.stride, self.dilation)
        top, left = (max((kernel - 1) * dilation + 1 - stride, 0) for kernel, stride, dilation in sizes)
        x = F.pad(x, (left // 2, left - left // 2, top // 2, top - top // 2))
        return F.conv2d(x, weight, bias, self.stride, 0, self.dilation, self.groups)


class PeopleGraph(nn.Module):
    """Image to people.

    Args:
        model: in evaluation mode, with its batch norms fused.
        size: of the network's input.
        rgb: the images are RGB instead of BGR.
        batched: the input has a batch (B, H, W, 3) of images of one size, and the outputs are padded to
            :attr:`rows`, with ``count`` (B,).
        candidates: give all candidates, suppressed ones too, whatever their score: what a comparison looks at.
    """

    def __init__(
        self, model: RLEOneStage, size: InputSize, *, rgb: bool = False, batched: bool = False, candidates: bool = False
    ):
        super().__init__()
        self.size, self.batched, self.candidates = size, batched, candidates
        self.model = copy.deepcopy(model)
        self.model.decoder.fill_up = True
        if candidates:
            self.model.decoder.score_thresh, self.model.decoder.max_people = 0.0, 10**6
        for part in self.model.modules():
            if isinstance(part, SameConv2d):
                part.__class__ = _WholeStridesConv2d
        self.flip = rgb != (model.input_format == "RGB")
        self.folded = fuse_pixel_std(self.model, self.flip)
        self.side = max(model.backbone.size_divisibility, 1)

    @property
    def channels(self) -> str:
        """Of the images: "BGR" or "RGB"."""
        return self.model.input_format[:: -1 if self.flip else 1]

    @property
    def colour(self) -> list[int]:
        """The mean colour (3,), which the network sees as nothing, in :attr:`channels`."""
        colour = [round(value) for value in self.model.pixel_mean.flatten().tolist()]
        return colour[::-1] if self.flip else colour

    @property
    def outputs(self) -> list[str]:
        """Names of what :meth:`forward` returns."""
        names = [name for name in OUTPUTS if name != "visibility" or self.model.tells_hidden]
        return names + ["count"] * self.batched

    @property
    def rows(self) -> int:
        """People at most, and rows of the outputs of a batch: there are no more of them than candidates."""
        decoder, limit = self.model.decoder, self.model.half_size_from
        looks = decoder.looks(limit) if limit else (EVERYBODY,)
        return min(decoder.max_people, sum(decoder.candidates_of(look) for look in looks))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """
        Args:
            image: (H, W, 3) uint8, or (B, H, W, 3).

        Returns:
            Tensors in the order of :attr:`outputs`, best score first, in pixels of the image.
        """
        images = image if self.batched else image[None]
        whole, half, given, resized = self.canvas(images)
        people, decoder = self.model.find_in(whole, half), self.model.decoder
        if self.candidates:
            people = people._replace(kept=torch.ones_like(people.kept))
        batch = images.shape[0]
        cut, order, count = decoder.rank(people, resized.expand(batch, 2), given.expand(batch, 2))
        if self.batched:
            found = found_people(people, cut, torch.arange(batch)[:, None], order, given / resized)
        else:
            found = found_people(people, cut, 0, order[0, : as_size(count[0])], given / resized)
        values = [value for name, value in zip(found._fields, found) if name in OUTPUTS and value is not None]
        return tuple(values + [count] * self.batched)

    def canvas(self, images: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Images (B, H, W, 3) uint8 as the network takes them.

        Returns:
            (B, 3, height, width), the same at half size or None, and the sizes (2,) float32 (width, height) of the
            images and of what they are on the canvas.
        """
        if self.size.static:
            return self._same_size(images)
        height, width = (torch.full((), images.shape[axis], dtype=torch.int64) for axis in (1, 2))
        wanted = self.resized(height, width)
        # At half size it is padded to whole sides too: the canvas is made large enough for both.
        looks = 2 if self.model.half_size_from else 1
        small, large = self.lengths(wanted, 1), self.lengths(wanted, looks)
        rows, columns = (
            Axis(given, resized, (length + BAND - 1) // BAND, as_size(taps_of_band(given, resized)))
            for given, resized, length in zip((height, width), wanted, large)
        )
        pixels = resize_to_canvas(images, rows, columns)
        if self.side % BAND:
            pixels = pixels.narrow(2, 0, large[0]).narrow(3, 0, large[1])
        # What is beyond the image is 0 after the normalisation, as Detectron2 pads.
        inside = [torch.arange(length) < resized for length, resized in zip(large, wanted)]
        pixels = self._normalised(pixels) * (inside[0][:, None] & inside[1])
        sizes = torch.stack([width, height]).float(), torch.stack(wanted[::-1]).float()
        if looks == 1:
            return pixels, None, *sizes
        return pixels.narrow(2, 0, small[0]).narrow(3, 0, small[1]), _halved(pixels), *sizes

    def _same_size(self, images: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """:meth:`canvas` of images that have its size."""
        assert self.size.canvas is not None
        height, width = self.size.canvas
        pixels, size = self._normalised(images.permute(0, 3, 1, 2).float()), torch.tensor([width, height]).float()
        if not self.model.half_size_from:
            return pixels, None, size, size
        large = self.lengths((), 2)
        return pixels, _halved(F.pad(pixels, (0, large[1] - width, 0, large[0] - height))), size, size

    def _normalised(self, pixels: Tensor) -> Tensor:
        """What the backbone takes, of pixels (B, 3, H, W) in :attr:`channels`."""
        mean = self.model.pixel_mean
        if self.folded:
            return pixels - (mean.flip(0) if self.flip else mean)
        return ((pixels.flip(1) if self.flip else pixels) - mean) / self.model.pixel_std

    def lengths(self, wanted: Sequence[Tensor], looks: int) -> list[Any]:
        """Height and width of a canvas of whole sides for an image of ``wanted`` pixels, or of the fixed one.

        Args:
            wanted: () int64 each.
            looks: into how many equal parts a side can be cut.
        """
        side = looks * self.side
        if self.size.canvas is not None:
            return [-(-length // side) * side for length in self.size.canvas]
        return [as_size((length + side - 1) // side) * side for length in wanted]

    def resized(self, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Size () int64 each of an image on the canvas, as :class:`InputSize` has it."""
        if self.size.canvas is not None:
            rows, columns = self.size.canvas
            tall = height * columns >= width * rows
            numerator, denominator = torch.where(tall, rows, columns), torch.where(tall, height, width)
        elif self.size.shortest:
            low, high = torch.minimum(height, width), torch.maximum(height, width)
            by_shortest = self.size.shortest * high <= self.size.longest * low
            numerator = torch.where(by_shortest, self.size.shortest, self.size.longest)
            denominator = torch.where(by_shortest, low, high)
        else:
            return height, width
        height, width = (
            ((2 * side * numerator + denominator) // (2 * denominator)).clamp(min=1) for side in (height, width)
        )
        return height, width


def _halved(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 3, H / 2, W / 2)."""
    # Each channel for itself: OpenVINO pads the three of an image to sixteen before it takes their means.
    return F.avg_pool2d(pixels.flatten(0, 1)[:, None], 2)[:, 0].unflatten(0, pixels.shape[:2])
