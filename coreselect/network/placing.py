"""A network on its device, with the memory layout that convolutions are fast in.

In channels_last the channels of a pixel lie side by side, as the fast kernels of cuDNN and oneDNN read them; weights in that
layout make every activation after them follow. The numbers are the same, and products may round otherwise.
"""

from typing import TypeVar

import torch
from torch import nn

Made = TypeVar("Made", bound=nn.Module)


def placed(network: Made, device: torch.device | str | None) -> Made:
    """Move a network to a device, its convolutions in channels_last; call it before an optimiser reads the parameters.

    It is for the networks of this project. A network of a user's has a module that is marked `keeps_layout`, and keeps it: code
    such as `x.view(len(x), -1)` fails in this one. `select` tries it with a user's network, and undoes it where it fails.

    Args:
        device: None leaves the network where it is.
    """
    if any(getattr(m, "keeps_layout", False) for m in network.modules()):
        return network.to(device=device)
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def memory_format(network: nn.Module) -> str:
    """Return "channels_last" if every convolution whose kernel has a choice lies so, else "contiguous"."""
    kernels = [p for p in network.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2:].numel() > 1]
    lie = [p.is_contiguous(memory_format=torch.channels_last) for p in kernels]
    return "channels_last" if lie and all(lie) else "contiguous"
