"""Training by the ranks of a process group: each has a share of every batch, and all make the update of the whole batch.

With z_r(θ) the outputs (logits, or projections) on the share of rank r, and L the loss of the whole batch,

    ∇L = Σ_r ∂L/∂z_r · ∂z_r/∂θ

Every rank gets the outputs of all, and computes L with the gradient of its own. So the loss may compare examples of different
ranks: the negatives of NT-Xent are those of the whole batch, as in one process. `DistributedDataParallel` sums the gradients.
Attacks run on the bare module.

In training mode, batch normalisation uses the statistics of each rank's own examples. The running statistics are those of
rank 0: `DistributedDataParallel` gives them to all before each update, and `settle` does at the end of an epoch.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from coreselect.support import collectives, ranks
from coreselect.support.seeding import derive
from coreselect_integrations.training.batches import Batches, NonSingletonBatches
from coreselect_integrations.training.shares import Share, SharedBatches, SharedDraws
from coreselect_integrations.training.workers import Made, Worker

PURPOSE = "train"


class DataParallel(Worker):
    """One of the ranks that train a model together.

    Args:
        model: the same on every rank, with its parameters where they are trained.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.rank, self.world = model, ranks.rank(), ranks.world_size()
        self.batches: SharedBatches | None = None
        self.share = Share((1,) * self.world, self.rank)
        self.ddp = DistributedDataParallel(_Passes(model))
        self.ddp.register_comm_hook(None, _summed)

    def generator(self, seed: int, *path: int | str) -> torch.Generator:
        return SharedDraws().manual_seed(derive(seed, *path))

    def dealt(self, batches: NonSingletonBatches) -> Batches:
        self.batches = SharedBatches(batches, self.rank, self.world)
        return self.batches

    def following(self, loader: Batches, draws: torch.Generator) -> Batches:
        return _Following(self, loader, draws)

    def size(self, own: int) -> int:
        return self.share.size

    def forward(self, work: Callable[..., Made], *given: Any) -> Made:
        return self.ddp(work, *given)

    def whole(self, own: Tensor) -> Tensor:
        """Return the values of all ranks' examples, in the order of the batch; only this rank's have a gradient."""
        mine, counts = own[: self.share.own], self.share.counts
        carried = mine.detach().to(collectives.carrier(own.device))
        sent = carried.new_zeros(max(counts), *own.shape[1:])
        sent[: len(mine)] = carried
        every = [torch.empty_like(sent) for _ in counts]
        dist.all_gather(every, sent)
        parts = [values[:count].to(own.device) for values, count in zip(every, counts, strict=True)]
        parts[self.rank] = mine
        return torch.cat(parts)

    def settle(self) -> None:
        for buffer in self.model.buffers():
            carried = buffer.to(collectives.carrier(buffer.device))
            dist.broadcast(carried, 0)
            buffer.copy_(carried)


class _Passes(nn.Module):
    """The forward passes of one update as a single forward pass, since `DistributedDataParallel` counts one for each update."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[..., Made], *given: Any) -> Made:
        return work(*given)


def _summed(_: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # pyright: ignore[reportPrivateImportUsage]  # public
    """Sum gradients over the ranks: each rank's is its own part of the gradient of the whole batch."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None  # as it is asynchronous
    return work.get_future().then(lambda done: done.value()[0])


class _Following:
    """A loader that tells its worker, and the generator, whose share each batch is."""

    def __init__(self, worker: DataParallel, loader: Batches, draws: torch.Generator) -> None:
        self.worker, self.loader, self.draws = worker, loader, draws

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        assert self.worker.batches is not None  # the loader is made of them
        assert isinstance(self.draws, SharedDraws)
        for share, batch in zip(self.worker.batches.shares(), self.loader, strict=True):
            self.worker.share = self.draws.share = share
            yield batch


@contextmanager
def other_ranks_named() -> Iterator[None]:
    """Say in a sentence which rank has failed, where a collective of the block does not come to its end.

    Raises:
        ScheduleError: with the reason of the rank that failed, if it told one.
    """
    try:
        yield
    except RuntimeError as why:
        if ranks.world_size() == 1 or not _of_a_collective(why):
            raise
        ranks.Work(PURPOSE).say("the loss of another rank")  # raises, if a rank has said why, or has ended
        raise collectives.lost(why, PURPOSE) from why


def _of_a_collective(why: RuntimeError) -> bool:
    said = str(why).lower()
    return isinstance(why, dist.DistError) or any(words in said for words in ("gloo", "nccl", "connection closed"))
