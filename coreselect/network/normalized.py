"""Input normalisation as part of the model, so that inputs and attack radii have the scale of [0, 1]."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from coreselect.errors import ShapeError


class Normalized(nn.Module):
    """Compute model((x − mean) / std) for inputs [B, C, …] in [0, 1].

    Other arguments, such as a route, are passed to the model unchanged.

    Args:
        model: takes normalised inputs.
        mean: C numbers, one for each channel, or one number for all.
        std: C numbers > 0, one for each channel, or one number for all.
    Raises:
        ShapeError: the lengths of mean and std differ, one is not finite, a std is not above 0, or inputs have another number of
            channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float] | float, std: Sequence[float] | float) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.get_default_dtype()).reshape(-1))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.get_default_dtype()).reshape(-1))
        finite = bool(self.mean.isfinite().all() & self.std.isfinite().all())
        if len(self.mean) != len(self.std) or not finite or not bool((self.std > 0).all()):
            raise ShapeError(
                f"Normalized needs finite means, and as many finite stds above 0, got mean {self.mean.tolist()} and std "
                f"{self.std.tolist()}."
            )

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if len(self.mean) not in (1, x.shape[1]):  # other lengths would be broadcast to more channels
            raise ShapeError(
                f"Normalized has the mean of {len(self.mean)} channels and inputs have {x.shape[1]}: give as many numbers, or 1."
            )
        shape = (1, -1, *[1] * (x.dim() - 2))
        return self.model((x - self.mean.view(shape)) / self.std.view(shape), *args, **kwargs)
