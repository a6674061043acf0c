"""Programs of torch.export as converters for devices take them."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from ..graph import PeopleGraph
from .torch_files import quiet


def plain_program(graph: PeopleGraph, image: np.ndarray, *, planes: bool = False) -> torch.export.ExportedProgram:
    """A graph with fixed shapes whose tensors all lie in memory in the order of their axes.

    PyTorch computes with channels last, and the strides of its tensors say so. Converters read a layout from strides,
    which for sides of 1 say nothing.

    Args:
        graph: with batches of a fixed size.
        image: (B, H, W, 3) uint8, its input.
        planes: the program takes (B, 3, H, W) float32 from 0 to 255 in the place of it.

    Returns:
        A program with the input ``image``, and the outputs in the order of ``graph.outputs``.
    """
    given = torch.from_numpy(image)
    if planes:
        given = given.permute(0, 3, 1, 2).float()
    with torch.no_grad(), quiet():
        named = _Named(_plain(graph), planes).eval()
        program = torch.export.export(named, (), {"image": given.clone(memory_format=torch.contiguous_format)})
        for node in program.graph.nodes:
            if node.target == torch.ops.aten.contiguous.default:
                node.kwargs = {}  # in place of channels last
    return program


def _plain(graph: PeopleGraph) -> PeopleGraph:
    graph = copy.deepcopy(graph)
    for tensor in [*graph.parameters(), *graph.buffers()]:
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return graph


class _Named(nn.Module):
    """A graph whose outputs have names."""

    def __init__(self, graph: PeopleGraph, planes: bool):
        super().__init__()
        self.people, self.planes = graph, planes  # modules of torch.fx have a graph of their own

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        found = self.people(image.permute(0, 2, 3, 1) if self.planes else image)
        return dict(zip(self.people.outputs, found))
