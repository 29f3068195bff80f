"""The reading of items, in this process or in workers: whatever goes wrong is a `DataError` that names the position."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler, get_worker_info

from coreselect.data.collate import Collate, Failure
from coreselect.errors import DataError, RequirementError, first_few


class Guarded(Dataset[Any]):
    """A dataset of (position, item): an item that raises becomes a `Failure`, and each worker says what it is reading.

    `reading` is int64 [workers] in memory that all processes share: the position that a worker reads now, or −1. So a worker
    that dies, or never comes back, leaves the position behind.
    """

    def __init__(self, view: Any, workers: int) -> None:
        self.view = view
        reading = torch.full((workers,), -1, dtype=torch.int64)  # [workers]
        self.reading = reading.share_memory_() if workers else reading

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        worker = get_worker_info()
        if worker is not None:
            self.reading[worker.id] = index
        try:
            return index, self.view[index]
        except Exception as why:  # code of the user, which may raise anything
            said = " ".join(str(why).split())[:300].rstrip(".")
            said = f"{type(why).__name__}: {said}" if said else type(why).__name__
            cause = why if worker is None else _portable(why, said)
            return index, Failure(index, f"cannot be read ({said}): correct the dataset, or leave the item out", cause)
        finally:
            if worker is not None:
                self.reading[worker.id] = -1


class CheckedLoader:
    """A `DataLoader` of a map-style dataset whose failures are `DataError`s that name the position.

    It draws from `generator` as a `DataLoader` does, so the batches and the draws in workers are the same.

    Args:
        view: map-style dataset.
        batch_sampler: yields lists of positions.
        collate: (position, item) pairs → batch or `Failure`; it runs in the workers, so it must be picklable. None:
            `coreselect.data.collate.Collate`.
        what: the dataset's name in messages: "pool", "validation".
        generator: decides the draws of the workers; None: a fixed one. The global generator is never used.
        num_workers: as for `torch.utils.data.DataLoader`.
        timeout: seconds to wait for a batch of the workers; 0 waits for ever.
    """

    def __init__(
        self,
        view: Any,
        batch_sampler: Iterable[Sequence[int]],
        collate: Callable[[Sequence[tuple[int, Any]]], Any] | None = None,
        *,
        what: str,
        generator: torch.Generator | None = None,
        num_workers: int = 0,
        timeout: float = 0,
    ) -> None:
        self.what, self.num_workers, self.timeout = what, num_workers, timeout
        self._guarded = Guarded(view, num_workers)
        self._loader: DataLoader[Any] = DataLoader(
            self._guarded,
            batch_sampler=batch_sampler,  # type: ignore[arg-type]  # any iterable of lists serves
            num_workers=num_workers,
            collate_fn=collate or Collate(),
            timeout=timeout,
            generator=generator or torch.Generator().manual_seed(0),
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches.

        Raises:
            DataError: an item raises or cannot be put into a batch, or a worker dies or does not answer; the exception that
                was raised is the cause.
        """
        iterator = iter(self._loader)
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except RuntimeError as why:
                if not self.num_workers:
                    raise
                refusal = _lost(why, self.what, self._guarded, iterator, self.timeout)
                _end(iterator)
                raise refusal from why
            if isinstance(batch, Failure):
                _end(iterator)
                space = "" if batch.said.startswith("[") else " "  # "item 3[1] is …" names a part of item 3
                raise DataError(f"{self.what} item {batch.position}{space}{batch.said}.") from batch.cause
            yield batch


def loaded(
    view: Any,
    batches: Sequence[NDArray[np.int64]],
    collate: Callable[[Sequence[tuple[int, Any]]], Any],
    *,
    what: str,
    num_workers: int = 0,
    timeout: float = 0,
) -> Iterator[Any]:
    """Yield what `collate` makes of each batch of (position, item) pairs, in order; see `CheckedLoader`.

    Args:
        batches: int64 [B] each, positions.
    """
    positions = [b.tolist() for b in batches]
    yield from CheckedLoader(view, positions, collate, what=what, num_workers=num_workers, timeout=timeout)


def loaded_in_order(
    dataset: Any, batch_size: int, *, what: str, num_workers: int = 0, timeout: float = 0
) -> CheckedLoader:
    """Return a loader of a whole dataset in its order; see `CheckedLoader`."""
    batches = BatchSampler(SequentialSampler(dataset), batch_size, drop_last=False)
    return CheckedLoader(dataset, batches, what=what, num_workers=num_workers, timeout=timeout)


def _end(iterator: Any) -> None:
    """End the workers now; the traceback of a refusal would keep them."""
    shut_down = getattr(iterator, "_shutdown_workers", None)  # torch has no public name for it
    if shut_down is not None:
        shut_down()


def check_timeout(timeout: float, num_workers: int) -> None:
    """Refuse a timeout that nothing would keep: only workers can be waited for.

    Raises:
        RequirementError: it is negative, or there are no workers.
    """
    if timeout < 0 or (timeout and not num_workers):
        raise RequirementError(
            f"timeout={timeout:g} with num_workers={num_workers}: only workers can be waited for, give num_workers=1 or "
            "more, and a timeout of at least 0 seconds."
        )


def refuse_stream(dataset: Any, what: str) -> None:
    """Refuse a dataset whose items cannot be read by position.

    Raises:
        DataError: it is an iterable dataset, or it has no items by position.
    """
    stream = isinstance(dataset, IterableDataset)
    if stream or not hasattr(dataset, "__getitem__"):
        inner = getattr(dataset, "dataset", None)
        way = (
            "give its .dataset"
            if inner is not None and hasattr(inner, "__getitem__")
            else "read it into a list first, or write a dataset with __len__ and __getitem__"
        )
        kind = "an iterable dataset" if stream else "without items by position"
        raise DataError(f"the {what} is a {type(dataset).__name__}, {kind}; a map-style dataset is needed: {way}.")


def _lost(why: RuntimeError, what: str, guarded: Guarded, iterator: Any, timeout: float) -> DataError:
    """Describe workers that died or do not answer, by the positions they were reading."""
    alive = [worker.is_alive() for worker in getattr(iterator, "_workers", [])]
    reading = guarded.reading.tolist()
    dead = [at for at, lives in zip(reading, alive, strict=False) if at >= 0 and not lives]
    busy = dead or [at for at in reading if at >= 0]
    where = f"{what} item{'s' if len(busy) > 1 else ''} {first_few(busy)}" if busy else f"the {what}'s items"
    if all(alive) and timeout:
        return DataError(
            f"{where} did not come back within the timeout of {timeout:g} seconds: correct the dataset, or give a larger timeout."
        )
    said = " ".join(str(why).split())[:200].rstrip(".")
    return DataError(
        f"a worker died while it read {where} ({said}): read it with num_workers=0 to see why, or give workers more memory."
    )


def _portable(why: Exception, said: str) -> BaseException:
    """Return the exception if it can travel between processes, else one with its name and message."""
    try:
        again = pickle.loads(pickle.dumps(why))
    except Exception:
        return RuntimeError(said)
    return why if type(again) is type(why) else RuntimeError(said)
