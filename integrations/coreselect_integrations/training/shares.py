"""How a batch is dealt out to ranks: whole batches are formed first, and each rank gets a run of neighbouring examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from coreselect_integrations.training.batches import NonSingletonBatches

COMPANY = 2  # examples that a rank without a share computes on, so that batch normalisation has two


@dataclass(frozen=True, slots=True)
class Share:
    """One rank's part of a batch.

    Attributes:
        counts: how many examples each rank has; their sum is the size of the batch.
        rank: whose part this is.
    """

    counts: tuple[int, ...]
    rank: int

    @classmethod
    def of(cls, size: int, rank: int, world: int) -> Share:
        """Deal out `size` ≥ 1 examples as evenly as possible, at least 2 to each rank that gets any.

        The first ranks get one example more. In a batch of fewer than 2·`world` examples the last ranks get none.
        """
        users = min(world, max(1, size // 2))
        each, more = divmod(size, users)
        return cls(tuple(each + (r < more) if r < users else 0 for r in range(world)), rank)

    @property
    def size(self) -> int:
        """The number of examples in the batch."""
        return sum(self.counts)

    @property
    def own(self) -> int:
        """The number of this rank's examples; a rank with none computes on the first examples of the batch, which count nothing."""
        return self.counts[self.rank]

    def positions(self) -> slice:
        """Return which examples of the batch this rank computes on."""
        first = sum(self.counts[: self.rank])
        return slice(first, first + self.own) if self.own else slice(0, COMPANY)


class SharedBatches(Sampler[list[int]]):
    """One rank's share of each batch, in the order of the batches.

    Args:
        batches: of the whole epoch, the same on every rank.
        rank, world: which share, of how many.
    """

    def __init__(self, batches: NonSingletonBatches, rank: int, world: int) -> None:
        self.batches, self.rank, self.world = batches, rank, world

    def shares(self) -> list[Share]:
        """Return the share of each batch of the current epoch."""
        return [Share.of(size, self.rank, self.world) for size in self.batches.sizes()]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch, share in zip(self.batches, self.shares(), strict=True):
            yield batch[share.positions()]


class SharedDraws(torch.Generator):
    """A generator that every rank has in the same state: `uniform` draws for the whole batch and keeps the numbers of the share.

    So an example gets the numbers that it gets in one process, and the ranks draw different ones.
    """

    share: Share | None = None


def uniform(shape: Sequence[int], generator: torch.Generator, *, dim: int = 0, **options: Any) -> Tensor:
    """Draw float32 numbers in [0, 1) on the generator's device.

    Args:
        shape: of the result.
        generator: `SharedDraws` or any other.
        dim: which dimension counts the examples.
        options: of `torch.rand`.
    """
    share = getattr(generator, "share", None)
    if share is None:
        return torch.rand(shape, generator=generator, device=generator.device, **options)
    whole = (*shape[:dim], share.size, *shape[dim + 1 :])
    drawn = torch.rand(whole, generator=generator, device=generator.device, **options)
    return drawn[(*[slice(None)] * dim, share.positions())]
