"""The reading of a dataset by a selection: every item gives the same values in any process and any batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.data.collate import IMAGE_KEYS, Collate, Failure
from coreselect.data.images import labels_of
from coreselect.data.items import SeededView, loaded
from coreselect.data.labels import LABEL_KEYS, refuse_sparse
from coreselect.errors import DataError
from coreselect.support import seeding
from coreselect.support.structure import is_structure

Unpack = Callable[[Any], tuple[Any, Any]]  # a batch of items -> (inputs, targets or None)
Drawn = Callable[[Sequence[int], Any], Any]  # (positions, a batch of items) -> random draws, or anything else


class EvaluationView(SeededView):
    """The evaluation view of a dataset: item i is read with `random`, numpy and torch seeded from (seed, path, i).

    So a dataset with random augmentation gives one answer for each seed.
    """

    def __init__(self, dataset: Any, seed: int, *path: int | str) -> None:
        self.dataset, self.seed, self.path = dataset, seed, path

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.seeded(index, self.seeds([index])[0])

    def seeds(self, indices: Sequence[int]) -> list[int]:
        """Return the seeds of some items; one call for a batch costs as much as one for an item."""
        return seeding.seeds(self.seed, *self.path, indices=np.asarray(indices, np.int64)).tolist()

    def seeded(self, index: int, seed: int) -> Any:
        """Return an item, read with this seed."""
        seeding.seed_everything(seed)
        return self.dataset[index]


def unpack(batch: Any) -> tuple[Any, Any]:
    """Return the inputs and the targets (or None) of a batch: a tensor, (x,), (x, y, …), or a mapping with usual names.

    Inputs and targets may be tensors, or dictionaries, lists and tuples of tensors. A mapping with `input_ids` is tokenised
    text: everything but its labels is the input.

    Raises:
        DataError: the batch has another form; the user can read it with `unpack=`.
    """
    if isinstance(batch, Tensor):
        return batch, None
    if isinstance(batch, Mapping):
        x = next((batch[k] for k in IMAGE_KEYS if k in batch), None)
        if "input_ids" in batch:
            x = {k: v for k, v in batch.items() if k not in LABEL_KEYS and is_structure(v)}
        if is_structure(x):
            return x, next((batch[k] for k in LABEL_KEYS if k in batch), None)
    elif isinstance(batch, Sequence) and batch and is_structure(batch[0]):
        x = tuple(batch[0]) if isinstance(batch[0], list) else batch[0]  # a loader makes lists of tuples
        return x, batch[1] if len(batch) > 1 and is_structure(batch[1]) else None
    form = f"a mapping with keys {sorted(map(str, batch))}" if isinstance(batch, Mapping) else type(batch).__name__
    raise DataError(f"an item batch is {form}, not a tensor, (x, y) or a mapping with an image: read it with unpack=.")


_DEFAULT = unpack


def read(
    dataset: Any,
    batches: Sequence[NDArray[np.int64]],
    *,
    seed: int,
    path: tuple[int | str, ...],
    unpack: Unpack = unpack,
    num_workers: int = 0,
    timeout: float = 0,
    raw: bool = False,
    pin: bool = False,
    drawn: Drawn | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Yield (positions, x [B, …], labels int64 [B] or None) for each batch of positions, in order.

    Random draws depend only on (seed, path, position). The global random states change, so call this inside
    `coreselect.support.seeding.rng_kept`. Inputs that are Pillow images or uint8 arrays are converted, see
    `coreselect.data.collate.Collate`; arrays only if `unpack` is the usual one, which needs no other form.

    Args:
        batches: int64 [B] each, positions in the dataset.
        seed, path: what the draws of the items depend on.
        unpack: batch of items → (x, labels or None).
        num_workers: as for `torch.utils.data.DataLoader`.
        timeout: seconds to wait for a batch of the workers; 0 waits for ever.
        raw: yield targets as the items carry them, in place of class numbers.
        pin: put batches into pinned memory, from which they are copied to a GPU without waiting.
        drawn: (positions, batch) → what else belongs to a batch; it is called where the batch is put together, in the workers
            if there are some. Its result is yielded as a fourth.
    Raises:
        DataError: an item raises or cannot be put into a batch, a worker dies or does not answer, or a batch has another
            form than `unpack` knows.
    """
    source = loaded(
        EvaluationView(dataset, seed, *path),
        batches,
        Collate(arrays=unpack is _DEFAULT) if drawn is None else _Drawing(Collate(arrays=unpack is _DEFAULT), drawn),
        what=str(path[0]) if path and path[0] in ("pool", "validation") else "dataset",
        num_workers=num_workers,
        timeout=timeout,
        pin=pin,
    )
    for positions, batch in zip(batches, source, strict=True):
        batch, *more = (batch,) if drawn is None else batch
        x, y = unpack(batch)
        yield positions, x, y if raw else class_numbers(y, len(positions)), *more


@dataclass(frozen=True)
class _Drawing:
    """Put items into a batch, and draw what belongs to it."""

    collate: Collate
    drawn: Drawn

    def __call__(self, pairs: Sequence[tuple[int, Any]]) -> Any:
        batch = self.collate(pairs)
        return batch if isinstance(batch, Failure) else (batch, self.drawn([position for position, _ in pairs], batch))


def class_numbers(y: Any, n: int) -> Tensor | None:
    """Return y as class numbers int64 [n], or None if it has not one number for each item (one-hot, boxes, …).

    Raises:
        DataError: the numbers are fractions.
    """
    if not isinstance(y, Tensor) or y.numel() != n:
        return None
    if y.is_floating_point() and not torch.equal(y, y.round()):
        raise DataError(
            "labels are fractions, not class numbers: choose the part of an item that is the class with unpack=."
        )
    return y.reshape(-1).long()


def read_labels(
    dataset: Any,
    *,
    seed: int,
    unpack: Unpack = unpack,
    num_workers: int = 0,
    timeout: float = 0,
    trust_listed: bool = True,
) -> NDArray[np.int64] | None:
    """Return every label, int64 [N], or None if the items have none.

    A dataset that lists its labels (see `coreselect.data.labels_of`) is not read, unless `trust_listed` is False. Any other
    dataset is read once.

    Raises:
        DataError: the labels skip most values, or an item cannot be read.
    """
    listed = labels_of(dataset) if unpack is _DEFAULT and trust_listed else None
    if listed is not None:
        refuse_sparse(listed, "the dataset")
        return listed
    out: list[Tensor] = []
    for _, _, y in read(
        dataset,
        chunks(np.arange(len(dataset)), 256),
        seed=seed,
        path=("labels",),
        unpack=unpack,
        num_workers=num_workers,
        timeout=timeout,
    ):
        if y is None:
            return None
        out.append(y)
    labels = torch.cat(out).cpu().numpy()
    refuse_sparse(labels, "the dataset")
    return labels


def chunks(positions: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Cut positions into consecutive parts of at most `size`."""
    return [positions[i : i + size] for i in range(0, len(positions), size)]
