"""Input normalisation as part of the model, so that inputs and attack radii have the scale of [0, 1]."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Normalized(nn.Module):
    """Compute model((x − mean) / std) for inputs [B, C, …] in [0, 1].

    Other arguments, such as a route, are passed to the model unchanged.

    Args:
        model: takes normalised inputs.
        mean: C numbers, one for each channel.
        std: C numbers > 0, one for each channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        shape = (1, -1, *[1] * (x.dim() - 2))
        return self.model((x - self.mean.view(shape)) / self.std.view(shape), *args, **kwargs)
