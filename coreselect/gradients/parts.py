"""A sweep over the pool in parts: one record of a few tensors for every batch, whoever makes it.

    records = parts(key, batches, make)        the record of every batch, in the order of the batches

`make(some)` sweeps some of the batches and yields their records. A record depends on the model, the seed and the positions in
its batch, and on nothing that other batches leave behind. So a form of `Parts` may call `make` with any of the batches, in
this process or in another one, or take records that an earlier run has kept, and the answer has the same bits:

    alone        this process makes all of them
    ranks        rank r of W makes the batches r, r + W, …, and all records are gathered

Every form yields records in the order of the batches, and keeps no more than a few of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Batches = Sequence[Sequence[NDArray[np.int64]]]  # each a list of groups, each group positions in the pool
Record = Mapping[str, Tensor]  # name -> [b, …], one line for each example, or for each group, of the batch
Make = Callable[[Batches], Iterator[Record]]


@dataclass(frozen=True)
class Key:
    """What a sweep computes.

    Attributes:
        kind: "prepared", "rows", "natural", "losses", "attacked", or the name of the method that measures.
        settings: what decides the records besides model, pool, seed, round and batches, as values that JSON can hold.
    """

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class Parts(Protocol):
    """How the records of a sweep come about."""

    def __call__(self, key: Key, batches: Batches, make: Make) -> Iterator[Record]:
        """Yield the record of every batch, in order.

        Args:
            key: what the records hold.
            batches: all batches of the sweep; each is a list of groups.
            make: sweeps the batches that it is given and yields one record for each, in order. It may be called several times,
                with batches of the same objects; never with none.
        """
        ...


def alone(key: Key, batches: Batches, make: Make) -> Iterator[Record]:
    """Make every record in this process; a `Parts`."""
    return make(batches) if batches else iter(())


def stacked(records: Sequence[Record]) -> dict[str, Tensor]:
    """Join the records of consecutive batches, name by name."""
    return {name: torch.cat([r[name] for r in records]) for name in records[0]}
