"""Who reads a sampler: loaders and samplers that stand around it, found once per pass on the call stack.

A sampler is never told which loader holds it. The stack of its first read shows it, at the cost of some ten frames an epoch.
"""

import sys
import warnings
from collections.abc import Iterator
from typing import Any

from torch.utils.data.dataloader import _BaseDataLoaderIter  # the iterators of torch's and torchdata's loaders

from coreselect.errors import CoreselectWarning, ScheduleError
from coreselect.loop.trusted import TrustedBatches

_READING = ("__iter__", "__next__", "__getitem__", "_iter", "_next", "_try_put_index", "_reset", "reset")


def readers() -> Iterator[Any]:
    """Yield the objects whose methods read, from the innermost on.

    Only methods with names of reading are looked into: looking keeps a frame's variables alive, so training's must be left alone.
    """
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_varnames[:1] == ("self",) and code.co_name.startswith(_READING):
            yield frame.f_locals.get("self")
        frame = frame.f_back


def check_readers(n: int, world_size: int, length: int) -> bool:
    """Refuse a loader over another dataset than the pool, and a wrapper that deals the shares of ranks out again.

    Args:
        n: examples in the pool.
        world_size: into how many shares the sampler deals its epoch.
        length: positions of the epoch in this share.
    Returns:
        whether a loader reads.
    Raises:
        ScheduleError: the length of a loader's dataset is not n, or a wrapper deals out again.
    Warns:
        CoreselectWarning: Accelerate fills the batches of its processes up with positions from the front.
    """
    by_loader = False
    for reader in readers():
        n += reader.trusted_size if isinstance(reader, TrustedBatches) else 0
        if isinstance(reader, _BaseDataLoaderIter):
            by_loader = True
            _check_dataset(reader._dataset, n)
        _check_padding(reader, length)
        again = _deals(reader)
        if world_size > 1 and again > 1:
            raise ScheduleError(
                f"the epoch is dealt out twice, to {world_size} ranks by the sampler and to {again} by "
                f"{type(reader).__name__}: give the sampler rank=0, world_size=1, or take the wrapper away."
            )
    return by_loader


def no_batch_seen() -> bool:
    """Return whether a loader reads whose user has not seen a batch of it yet: it fetches the first, or fills workers' queues."""
    return any(isinstance(reader, _BaseDataLoaderIter) and reader._num_yielded == 0 for reader in readers())


def _check_dataset(dataset: Any, n: int) -> None:
    """Raise ScheduleError if a dataset with a length has another than the pool."""
    try:
        length = len(dataset)
    except TypeError:
        return
    if length != n:
        raise ScheduleError(
            f"the loader's dataset has {length} examples, and the sampler's positions count in a pool of {n}: give the loader "
            "the pool, DataLoader(pool, sampler=sampler)."
        )


def _check_padding(reader: Any, length: int) -> None:
    """Warn if a batch sampler of Accelerate (`even_batches`) pads an epoch of some length, so that some positions come twice."""
    own = vars(reader) if hasattr(reader, "__dict__") else {}
    processes, size = own.get("num_processes"), own.get("batch_size")
    if (
        not own.get("even_batches")
        or own.get("drop_last")
        or not isinstance(processes, int)
        or not size
        or processes < 2
    ):
        return
    together = size if own.get("split_batches") else size * processes
    padded = -(-length // together) * together - length
    if padded:
        warnings.warn(
            f"Accelerate pads the epoch's {length} positions by {padded} that it has given before, which are trained on twice: "
            "use Accelerator(even_batches=False), or prepare_loader of coreselect_integrations.frameworks.accelerate.",
            CoreselectWarning,
            stacklevel=2,
        )


def _deals(reader: Any) -> int:
    """Return to how many processes a sampler or loader around ours deals out: torch's, Lightning's, Accelerate's."""
    if any(c.__name__ == "DataLoaderDispatcher" for c in type(reader).__mro__):
        return int(getattr(getattr(reader, "state", None), "num_processes", 1))
    own = vars(reader) if hasattr(reader, "__dict__") else {}
    return max((v for v in (own.get("num_replicas"), own.get("num_processes")) if isinstance(v, int)), default=1)
