"""A sweep that the ranks of a process group share: rank r of W makes the batches r, r + W, …, and all get every record.

The batches are formed before, over the whole pool, and a record depends on its batch alone. So the records have the same bits
for any number of ranks, also where the number of batches is no multiple of W, or less than W.

Records travel in rounds, so that few are in memory at a time. Before each round all ranks say through the group's store what
they bring. A rank that fails says so instead, and the others stop after the batch that they are at.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from coreselect.gradients.parts import Batches, Key, Make, Record
from coreselect.support import collectives, ranks

ROUND_BATCHES = 8  # at most so many batches of a rank in one round
ROUND_BYTES = 32 << 20  # and at most so many bytes of each rank
ALIGNED = 16  # bytes; every tensor of a message starts at a multiple


@dataclass(frozen=True)
class SharedParts:
    """The `Parts` of a rank.

    Args:
        work: what the ranks do together.
        device: where the records are wanted; those made on the CPU stay there.
    """

    work: ranks.Work
    device: torch.device

    def __call__(self, key: Key, batches: Batches, make: Make) -> Iterator[Record]:
        me, world = ranks.rank(), ranks.world_size()
        self.work.agree(
            f"the start of the sweep {key.kind!r}",
            {"sweep": (key.kind, dict(key.settings)), "batches": _digest(batches)},
        )
        mine = batches[me::world]
        made = make(mine) if mine else iter(())
        at, per_rank = 0, 1
        while at < len(batches):
            own: list[Record] = []
            for _ in range(len(batches[at : at + per_rank * world][me::world])):
                if self.work.hears_failure():
                    break
                own.append(next(made))
            records = self._gather(key, own)
            most = max(len(r) for r in records)
            yield from (r[i] for i in range(most) for r in records if i < len(r))
            at += per_rank * world
            largest = max(_bytes(record) for r in records for record in r)
            per_rank = max(1, min(ROUND_BATCHES, ROUND_BYTES // max(1, largest)))

    def _gather(self, key: Key, own: list[Record]) -> list[list[Record]]:
        """Return the records that the ranks bring to this round, by rank."""
        with torch.no_grad():
            heads = self.work.say(f"the sweep {key.kind!r}", [_head(record) for record in own])
            carrier = collectives.carrier(self.device)
            sizes = [sum(size for head in said for _, _, _, size, _ in head) for said in heads]
            sent = torch.zeros(max(1, *sizes), dtype=torch.uint8, device=carrier)
            at = 0
            for record in own:
                for tensor in record.values():
                    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
                    sent[at : at + len(flat)] = flat
                    at += _padded(len(flat))
            every = [torch.empty_like(sent) for _ in heads]
            try:
                dist.all_gather(every, sent)
            except RuntimeError as why:
                raise collectives.lost(why, self.work.purpose) from why
            return [self._records(said, block) for said, block in zip(heads, every, strict=True)]

    def _records(self, heads: list["Head"], block: Tensor) -> list[Record]:
        """Read what one rank has sent."""
        out: list[Record] = []
        at = 0
        for head in heads:
            record: dict[str, Tensor] = {}
            for name, shape, dtype, size, on_cpu in head:
                used = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
                tensor = block[at : at + used].view(dtype).view(shape)
                record[name] = tensor.to("cpu" if on_cpu else self.device)
                at += size
            out.append(record)
        return out


Head = list[tuple[str, tuple[int, ...], torch.dtype, int, bool]]  # name, shape, dtype, bytes with padding, on the CPU


def _head(record: Record) -> Head:
    """Describe the tensors of a record in a few words."""
    return [
        (name, tuple(t.shape), t.dtype, _padded(t.numel() * t.element_size()), t.device.type == "cpu")
        for name, t in record.items()
    ]


def _bytes(record: Record) -> int:
    return sum(_padded(t.numel() * t.element_size()) for t in record.values())


def _padded(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


def _digest(batches: Batches) -> tuple[int, int]:
    """Return the number of batches, and a checksum of their groups."""
    total = 0
    for batch in batches:
        for group in batch:
            total = crc32(group.tobytes(), crc32(b"%d" % len(group), total))
    return len(batches), total
