"""The evaluation view: how selection reads a dataset, the same in any process and any batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from coreselect.data.images import labels_of as listed_labels
from coreselect.errors import DataError
from coreselect.support import seeding

Unpack = Callable[[Any], tuple[Tensor, Tensor | None]]
_IMAGES = ("image", "images", "pixel_values", "img", "x", "input", "inputs")
_LABELS = ("label", "labels", "y", "target", "targets")


class EvaluationView(Dataset[Any]):
    """Read item i with `random`, numpy and torch seeded from (seed, path, i): an augmenting dataset gives one answer."""

    def __init__(self, dataset: Any, seed: int, *path: int | str) -> None:
        self.dataset, self.seed, self.path = dataset, seed, path

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        seeding.seed_everything(int(seeding.seeds(self.seed, *self.path, indices=np.array([index]))[0]))
        return self.dataset[index]


def unpack(batch: Any) -> tuple[Tensor, Tensor | None]:
    """Take (inputs, labels or None) from a collated batch: a tensor, (x,), (x, y, …), or a mapping with usual names.

    Raises:
        DataError: the batch has another form; `unpack=` says how to read it.
    """
    if isinstance(batch, Tensor):
        return batch, None
    if isinstance(batch, Mapping):
        x = next((batch[k] for k in _IMAGES if k in batch), None)
        if isinstance(x, Tensor):
            return x, next((batch[k] for k in _LABELS if k in batch), None)
    elif isinstance(batch, Sequence) and batch and isinstance(batch[0], Tensor):
        return batch[0], batch[1] if len(batch) > 1 and isinstance(batch[1], Tensor) else None
    form = f"a mapping with keys {sorted(map(str, batch))}" if isinstance(batch, Mapping) else type(batch).__name__
    raise DataError(
        f"an item batch is {form}, not a tensor, (x, y) or a mapping with an image: say how to read it with unpack=."
    )


_DEFAULT = unpack


def read(
    dataset: Any,
    batches: Sequence[NDArray[np.int64]],
    *,
    seed: int,
    path: tuple[int | str, ...],
    unpack: Unpack = unpack,
    num_workers: int = 0,
) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor | None]]:
    """Yield (positions, x [B, …], labels int64 [B] or None) for each batch of positions, in order.

    Draws depend on (seed, path, position) alone. Global random states move (call inside a guard).
    """
    loader: DataLoader[Any] = DataLoader(
        EvaluationView(dataset, seed, *path),
        batch_sampler=[b.tolist() for b in batches],
        num_workers=num_workers,
        generator=torch.Generator().manual_seed(0),  # else iterating moves the global generator
    )
    for positions, batch in zip(batches, loader, strict=True):
        x, y = unpack(batch)
        yield positions, x, None if y is None else _classes(y, len(positions))


def _classes(y: Tensor, n: int) -> Tensor | None:
    """Read a batch's second part as class numbers int64 [n]; None where it is none (one-hot, boxes, …)."""
    if y.numel() != n:
        return None
    if y.is_floating_point() and not torch.equal(y, y.round()):
        raise DataError("labels are fractions, not class numbers: say which part of an item is the class with unpack=.")
    return y.reshape(-1).long()


def labels_of(dataset: Any, *, seed: int, unpack: Unpack = unpack, num_workers: int = 0) -> NDArray[np.int64] | None:
    """Return every label int64 [N], or None where items carry none; reads the dataset once.

    A dataset (or Subset of one) whose `labels` or `targets` are integers of its own length is asked, not read.
    """
    quick = listed_labels(dataset) if unpack is _DEFAULT else None
    if quick is not None:
        return quick
    out: list[Tensor] = []
    for _, _, y in read(
        dataset,
        chunks(np.arange(len(dataset)), 256),
        seed=seed,
        path=("labels",),
        unpack=unpack,
        num_workers=num_workers,
    ):
        if y is None:
            return None
        out.append(y)
    return torch.cat(out).numpy()


def chunks(positions: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Cut positions into runs of at most `size`."""
    return [positions[i : i + size] for i in range(0, len(positions), size)]
