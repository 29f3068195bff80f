"""The model of rank 0 on every rank, for as long as the ranks share a selection.

Under data-parallel training the parameters of the ranks are equal, and the running statistics of batch normalisation are not:
each rank has seen its own share. A selection is made under one model, that of rank 0.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

import torch
import torch.distributed as dist
from torch import Tensor, nn

from coreselect.support.collectives import carrier, lost
from coreselect.support.interruptions import whole_at_the_end
from coreselect.support.ranks import Work
from coreselect.support.records import digest_of


@contextmanager
@whole_at_the_end
def as_on_rank_0(model: nn.Module, work: Work) -> Iterator[None]:
    """Give the model rank 0's parameters and buffers, and its own afterwards, bit for bit; nothing is sent if all are equal.

    Raises:
        ScheduleError: the models have not the same parameters and buffers by name, shape and dtype.
    """
    own = {n: t for n, t in (*model.named_parameters(), *model.named_buffers()) if not nn.parameter.is_lazy(t)}
    form = "; ".join(f"{n} {list(t.shape)} {t.dtype}" for n, t in own.items())
    size = sum(t.numel() for t in own.values())
    work.agree(
        "the comparison of the models",
        {"a model of": f"{len(own)} tensors, {size} numbers (form {crc32(form.encode()):08x})"},
    )
    same = len(set(work.say("the comparison of the weights", digest_of(own)))) == 1
    if same:
        yield
        return
    kept = {n: t.detach().clone() for n, t in own.items()}
    try:
        for tensor in own.values():
            _write(tensor, _of_rank_0(tensor, work))
        yield
    finally:
        for name, tensor in own.items():
            _write(tensor, kept[name])


def _of_rank_0(tensor: Tensor, work: Work) -> Tensor:
    sent = tensor.detach().to(carrier(tensor.device), copy=True).contiguous()
    try:
        dist.broadcast(sent, src=0)
    except RuntimeError as why:
        raise lost(why, work.purpose) from why
    return sent


def _write(tensor: Tensor, value: Tensor) -> None:
    """Write through `.data`, which leaves version counters alone, so that a pending backward pass is valid."""
    with torch.inference_mode(False), torch.no_grad():
        tensor.data.copy_(value)
