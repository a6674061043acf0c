"""The layout of weights in memory, where it is a matter of names."""

import torch
from torch import nn


@torch.no_grad()
def use_strides_of_gradients(module: nn.Module) -> None:
    """Give 1 x 1 and depthwise convolutions' weights the strides that their gradients come in.

    Maps are channels last here, so the gradients of weights are too. With a kernel of 1 x 1, or one input channel, both
    layouts are the same numbers in the same places: they differ in the strides of dimensions of size 1, which address
    nothing. ``DistributedDataParallel`` compares these strides too, and warns of a layout that costs time.

    Args:
        module: its parameters keep their values, their order in memory and their places in optimizers.
    """
    for parameter in module.parameters():
        last = torch.channels_last
        if parameter.dim() == 4 and parameter.is_contiguous() and parameter.is_contiguous(memory_format=last):
            parameter.data = parameter.data.to(memory_format=last)
