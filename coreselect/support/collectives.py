"""What the ranks of a process group send to each other in collectives, on a device from which the group's backend can send."""

from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from coreselect.errors import ScheduleError
from coreselect.support.ranks import rank, world_size

Made = TypeVar("Made")


def carrier(device: torch.device | None = None) -> torch.device:
    """Return the device whose tensors the group's backend can send: the CPU where it can, else the accelerator in use.

    Args:
        device: where the tensors are; taken if the backend sends from there and cannot send from the CPU.
    """
    kinds = [part.partition(":")[0] for part in str(dist.get_backend_config()).split(",")]
    if "cpu" in kinds:
        return torch.device("cpu")
    if device is not None and device.type in kinds:
        return device
    return torch.device(kinds[0], getattr(torch, kinds[0]).current_device())


def gathered(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the rows of all ranks, in the order of the ranks, for tensors [B, …] of a batch; each rank may have another B.

    A training loop that deals batches out to ranks can so record what all of them have seen, on every rank:

        history.record(*gathered(indices, logits, labels))

    Every rank must call it equally often, with tensors of the same dtypes and of the same shapes but for B. No gradient is kept.
    Without a process group the tensors come back as they are.
    """
    if world_size() == 1:
        return tensors
    carried = [t.detach().to(carrier(t.device)) for t in tensors]
    own = torch.tensor([len(carried[0])], device=carried[0].device)
    sizes = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(sizes, own)
    counts = [int(size) for size in sizes]
    out = []
    for given, tensor in zip(tensors, carried, strict=True):
        padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        every = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(every, padded)
        out.append(torch.cat([e[:count] for e, count in zip(every, counts, strict=True)]).to(given.device))
    return tuple(out)


def of_rank_0(value: Made) -> Made:
    """Return rank 0's value in every process."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, device=carrier())
    return box[0]


def lost(why: RuntimeError, purpose: str) -> ScheduleError:
    """Return the error for a collective that did not come to its end."""
    first = (str(why).splitlines() or [type(why).__name__])[0]
    return ScheduleError(
        f"rank {rank()} lost the other ranks, while every rank had to {purpose} ({first}): one of them has ended; look at what it "
        "wrote."
    )
