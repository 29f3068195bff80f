"""Accelerate: a prepared loader in the sampler's order, for a loop of your own.

    loader = prepare_loader(accelerator, sampler, pool, batch_size=32)
    accelerator.register_for_checkpointing(sampler)
    for epoch in range(start, epochs):
        sampler.set_epoch(epoch)
        for x, y, i in loader: ...

A loader that `prepare` deals out itself is padded until all processes have equally many full batches (`even_batches`), so some
picks are trained on twice. Here the sampler deals out: shares differ from an equal split by less than one example a process. Resume
in the middle of an epoch with `accelerator.skip_first_batches(loader, batches)` after `load_state` and `sampler.set_epoch(epoch)`.
"""

from typing import Any

from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader

from coreselect_integrations.frameworks.dealt import EpochSampler, check_shares, dealt_loader


def prepare_loader(
    accelerator: Accelerator, sampler: EpochSampler, pool: Any, *, batch_size: int, **options: Any
) -> Any:
    """Return a prepared loader of (*item, position) over the pool, which moves batches to the accelerator's device.

    `accelerator.skip_first_batches` works on it, and `accelerator.prepare` returns it as it is.

    Args:
        accelerator: with any number of processes.
        sampler: with ranks of the process group, which is the default.
        pool: the dataset that the sampler's positions count in.
        batch_size: of each process.
        options: of `torch.utils.data.DataLoader`.
    Raises:
        ScheduleError: the sampler deals to another number of processes than the accelerator has.
    """
    check_shares(sampler, accelerator.num_processes)
    loader = prepare_data_loader(
        dealt_loader(sampler, pool, batch_size=batch_size, **options),
        accelerator.device,
        num_processes=1,  # it is dealt out already
        process_index=0,
        put_on_device=accelerator.device_placement,
        dispatch_batches=False,
        non_blocking=accelerator.non_blocking,
    )
    loader._is_accelerate_prepared = True  # so that the accelerator takes it as it is
    return accelerator.prepare_data_loader(loader)
