"""The conversion between named parameters and one vector; no other file flattens."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from coreselect.errors import ShapeError


@dataclass(frozen=True)
class Layout:
    """The order of named parameters in a vector of length P = `size`."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @classmethod
    def of(cls, params: Mapping[str, Tensor]) -> "Layout":
        """Make the layout in the order of the mapping."""
        return cls(tuple(params), tuple(p.shape for p in params.values()))

    @property
    def size(self) -> int:
        """P, the length of the vector."""
        return sum(math.prod(s) for s in self.shapes)

    def flatten(self, params: Mapping[str, Tensor], batch: int = 0) -> Tensor:
        """Join named tensors into [..., P]; each has `batch` leading dimensions, which are kept."""
        return torch.cat([params[n].reshape(*params[n].shape[:batch], -1) for n in self.names], dim=-1)

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the named tensors of a vector [P], as views of it.

        Raises:
            ShapeError: the vector's length is not P.
        """
        if vector.shape != (self.size,):
            raise ShapeError(
                f"a vector of shape [{self.size}] is needed for {len(self.names)} parameters, got {list(vector.shape)}."
            )
        out, at = {}, 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            n = math.prod(shape)
            out[name] = vector[at : at + n].view(shape)
            at += n
        return out
