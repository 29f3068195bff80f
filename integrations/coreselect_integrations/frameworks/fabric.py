"""Lightning Fabric: a loader in the sampler's order for a loop of your own.

    loader = setup_loader(fabric, sampler, pool, batch_size=32)
    for epoch in range(start, epochs):
        sampler.set_epoch(epoch)
        for x, y, i in loader: ...
    fabric.save(path, {"model": model, "sampler": sampler.state_dict(), "epoch": epoch})

Fabric puts a distributed sampler around one that it does not know, and tells it epochs that count from 0 in each process. This
loader is left alone: the sampler deals out to ranks itself, and only the loop tells the epoch.
"""

from typing import TYPE_CHECKING, Any

from coreselect_integrations.frameworks.dealt import EpochSampler, check_shares, dealt_loader

if TYPE_CHECKING:
    from lightning.fabric import Fabric


def setup_loader(
    fabric: "Fabric", sampler: EpochSampler, pool: Any, *, batch_size: int, start: int = 0, **options: Any
) -> Any:
    """Return `fabric.setup_dataloaders` of a loader of (*item, position) over the pool, in the sampler's order.

    Args:
        fabric: launched.
        sampler: with ranks of the process group, which is the default.
        pool: the dataset that the sampler's positions count in.
        batch_size: of each process.
        start: how many batches each pass leaves out: to resume in the middle of an epoch, make one such loader for its rest.
        options: of `torch.utils.data.DataLoader`.
    Raises:
        ScheduleError: the sampler deals to another number of processes than Fabric has.
    """
    check_shares(sampler, fabric.world_size)
    loader = dealt_loader(sampler, pool, start=start * batch_size, batch_size=batch_size, **options)
    return fabric.setup_dataloaders(loader, use_distributed_sampler=False)
