"""`Dealt`: a sampler that deals its epoch out to ranks itself, in a form that frameworks leave alone.

Lightning, Fabric and Accelerate put a sampler of their own around one that they do not know. Then an epoch is dealt out twice, or
padded. They leave a `DistributedSampler` alone, or can be asked to.
"""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from coreselect import CoresetSampler, Indexed, InfoBatchSampler
from coreselect.errors import ScheduleError
from coreselect.support.seeding import generator

EpochSampler = CoresetSampler | InfoBatchSampler


class Dealt(DistributedSampler[Any]):
    """The positions of a sampler's epoch on this rank; it may begin in the middle.

    `set_epoch` does nothing, because frameworks count from 0 when they resume: who owns the sampler tells it its epoch.

    Frameworks read ahead, skip batches, and give passes up. So the end of a pass says nothing about its weights: that nobody asked
    for them is said when two passes over weighted examples have begun, and a third begins.

    Args:
        sampler: with the ranks of the process group, or its own.
        start: how many positions of this rank's share each pass leaves out at first, ≥ 0; the length stays that of the whole epoch.
    """

    def __init__(self, sampler: EpochSampler, start: int = 0) -> None:
        self.sampler, self.start = sampler, start  # torch's own state is not needed
        self._weighted = 0  # passes over weighted examples that have begun

    def __iter__(self) -> Iterator[int]:
        if self._weighted >= 2:
            self.sampler.warn_of_unasked_weights()
        selection = self.sampler.selection if isinstance(self.sampler, CoresetSampler) else None
        self._weighted += selection is not None and selection.weights is not None
        positions: Any = iter(self.sampler)
        positions.load_state_dict({"epoch": self.sampler.epoch, "position": self.start})
        return positions

    def __len__(self) -> int:
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the owner of the sampler tells its epoch."""


def check_shares(sampler: EpochSampler, processes: int) -> None:
    """Refuse a sampler that does not deal its epochs out to all processes that train.

    Raises:
        ScheduleError: the numbers differ.
    """
    if sampler.world_size != processes:
        raise ScheduleError(
            f"the sampler deals its epochs to {sampler.world_size} processes, and {processes} train: leave rank and world_size "
            "of the sampler out."
        )


def dealt_loader(
    sampler: EpochSampler,
    pool: Any,
    *,
    start: int = 0,
    make: type[DataLoader[Any]] = DataLoader,
    **options: Any,
) -> DataLoader[Any]:
    """Return a loader of (*item, position) over the pool, in the sampler's order.

    Args:
        sampler, start: see `Dealt`.
        pool: the dataset that the sampler's positions count in.
        make: the class of the loader.
        options: of `torch.utils.data.DataLoader`: batch_size, num_workers, drop_last, collate_fn, ….
    """
    draws = generator(
        sampler.seed, "loader", sampler.epoch or 0, sampler.rank
    )  # of workers; else a pass moves the global state
    own: dict[str, Any] = {"generator": draws}
    return make(Indexed(pool), sampler=Dealt(sampler, start), **own | options)
