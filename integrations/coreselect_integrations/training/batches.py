"""Batches for training loops: none of a single example, and a loader that reports its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from torch.utils.data import Sampler

from coreselect.protocols import Progress


class NonSingletonBatches(Sampler[list[int]]):
    """Group a sampler's examples into batches of 2 or more, because batch normalisation cannot normalise one example.

    The last batch holds the examples that are left. If only one is left, it joins the batch before.

    Args:
        sampler: of examples; its length may change between epochs.
        batch_size: ≥ 2.
        drop_last: leave out the last batch if it is not full, unless it is the only batch.
    """

    def __init__(self, sampler: Sampler[int], batch_size: int, *, drop_last: bool = False) -> None:
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def sizes(self) -> list[int]:
        """Count the examples of each batch of the current epoch."""
        n, B = len(self.sampler), self.batch_size  # type: ignore[arg-type]  # samplers of finite data have a length
        sizes, left = [B] * (n // B), n % B
        if left and not (sizes and self.drop_last):
            if left == 1 and sizes:
                sizes[-1] += 1
            else:
                sizes.append(left)
        return sizes

    def __len__(self) -> int:
        return len(self.sizes())

    def __iter__(self) -> Iterator[list[int]]:
        examples = iter(self.sampler)
        for size in self.sizes():
            yield [next(examples) for _ in range(size)]


class Batches(Protocol):
    """A loader with a known number of batches."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...


class ProgressLoader:
    """A loader that reports after each batch how many examples are done.

    Args:
        loader: yields tensors, or tuples that begin with one.
        part: the name of the work in the report.
        total: the number of examples in all.
        progress: called with (part, examples done, total); None reports nothing.
        done: examples done before the first batch.
        size: of a batch that holds so many examples; larger where other processes hold the rest.
    """

    def __init__(
        self, loader: Batches, part: str, total: int, progress: Progress | None, done: int = 0,
        size: Callable[[int], int] = int,
    ) -> None:  # fmt: skip
        self.loader, self.part, self.total, self.progress, self.done, self.size = (
            loader,
            part,
            total,
            progress,
            done,
            size,
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        done = self.done
        for batch in self.loader:
            yield batch
            done += self.size(len(batch[0] if isinstance(batch, tuple | list) else batch))
            if self.progress is not None:
                self.progress(self.part, done, self.total)
