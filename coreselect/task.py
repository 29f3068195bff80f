"""The recipe of what there is to select from; `snapshot` opens what one selection computes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from coreselect.array_snapshot import ArraySnapshot
from coreselect.arrays import checked
from coreselect.clock import Clock
from coreselect.errors import DataError, ShapeError
from coreselect.gradients.frozen import frozen, unwrap
from coreselect.io.fingerprint import fingerprint
from coreselect.losses import loss as find_loss
from coreselect.model_snapshot import ModelSnapshot
from coreselect.network import default_call
from coreselect.protocols import Attack, Call, Loss, MakeViews, Progress
from coreselect.reading import Unpack, labels_of, read
from coreselect.reading import unpack as default_unpack
from coreselect.seeding import rng_kept
from coreselect.snapshot import Shared, Snapshot
from coreselect.subsets import origin, provably_disjoint
from coreselect.types import Int64


def _silent(part: str, done: int, total: int) -> None:
    """Report no progress."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """What there is to select from: made by `Task.from_model` or `Task.from_arrays`.

    A recipe, not a cache: it holds references and settings, and what it memorises (labels, fingerprint) belongs to
    the datasets and not to the model.
    """

    n: int
    positions: Int64 | None = None  # a restriction, None: the whole pool
    progress: Progress = _silent
    memo: dict[str, Any] = field(default_factory=dict)

    @property
    def provides(self) -> frozenset[str]:
        """What there is, in the words of `Selector.requires`."""
        raise NotImplementedError

    def snapshot(self, seed: int, round: int) -> Any:
        """Open what one selection computes: a context manager that gives a `coreselect.snapshot.Snapshot`."""
        raise NotImplementedError

    def restrict(self, indices: Sequence[int] | Int64) -> Self:
        """Return the task over some of its examples, counted anew in the order given."""
        base = np.arange(self.n, dtype=np.int64) if self.positions is None else self.positions
        chosen = base[np.asarray(indices, dtype=np.int64)]
        return replace(self, positions=chosen, n=len(chosen))

    def reporting(self, progress: Progress) -> Self:
        """Return the task with (part, done, total) reported to a callable."""
        return replace(self, progress=progress)

    @staticmethod
    def from_model(
        model: nn.Module,
        pool: Any,
        validation: Any = None,
        *,
        loss: str | Loss = "sat",
        attack: Attack | None = None,
        head: str | None = None,
        capture: Sequence[str] | str | None = None,
        call: Call | None = None,
        views: MakeViews | None = None,
        unpack: Unpack | None = None,
        batch_size: int = 256,
        num_workers: int = 0,
        device: torch.device | str | None = None,
        ids: Sequence[int | str] | None = None,
    ) -> ModelTask:
        """Describe a model, the pool it is trained on and the validation inputs whose RD should fall.

        Args:
            model: any `nn.Module` whose output, by `call`, is one tensor [B, C]; used as it stands, never changed.
            pool: map-style dataset of N items, read in its evaluation view: item i with `random`, numpy and torch
                seeded from (seed, round, i), so that an augmenting dataset gives one answer.
            validation: disjoint map-style dataset; None for selectors that need none.
            loss: `"sat"`, `"trades"`, `"cl"`, `"acl"`, or an object (`coreselect.protocols.Loss`).
            attack: crafts the loss's adversarial inputs; None: the loss's published one.
            head: name of the submodule that is the head; None: the smallest that holds a Linear and makes the output.
            capture: None: the head's Linear weights and biases; `"all"`; or `fnmatch` patterns of parameter names.
            call: (model, x, route) → output; None: model(x).
            views: (x [1, …], generator) → tuple of views; None: (x,).
            unpack: collated item batch → (x, y or None); None: tensors, tuples and mappings with usual names.
            batch_size: of forward passes; memory only, no answer depends on it.
            num_workers: that read the pool.
            device: of forward passes; None: the model's.
            ids: one per pool item, to identify the pool by (its fingerprint); None: by 256 of its items.
        Raises:
            DataError: the pool or validation is empty or its items are not understood.
        """
        own = find_loss(loss)
        if batch_size < 1:
            raise ShapeError(f"batch_size must be at least 1, got {batch_size}.")
        read_items = unpack or default_unpack
        return ModelTask(
            n=_length(pool, "pool"),
            model=model,
            pool=pool,
            validation=validation,
            loss=own,
            attack=attack or own.default_attack,
            head=head,
            capture=capture if capture is None or isinstance(capture, str) else tuple(capture),
            call=call or default_call,
            views=views,
            unpack=read_items,
            batch_size=batch_size,
            num_workers=num_workers,
            device=None if device is None else torch.device(device),
            ids=ids,
            pool_has_labels=_has_labels(pool, read_items),
            validation_has_labels=validation is not None
            and _length(validation, "validation") > 0
            and _has_labels(validation, read_items),
        )

    @staticmethod
    def from_arrays(
        features: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        gradients: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        validation_gradient: ArrayLike | None = None,
    ) -> ArrayTask:
        """Describe a pool by arrays, without a model; memory-mapped arrays stay on disk.

        Args:
            features: float [N, D].
            labels: int [N].
            logits: float [N, C].
            gradients: float [N, P] per example, or [M, P] per group together with `groups`.
            groups: int [N], the group 0…M−1 of each example; every group has a member.
            validation_gradient: float [P], q(θ); as nothing is known to renew it from, it stays what it is.
        Raises:
            ShapeError: nothing was given, or lengths or widths disagree.
            NonFiniteError: an array holds NaN or infinity; `indices` are its rows.
        """
        return ArrayTask(**checked(features, labels, logits, gradients, groups, validation_gradient))


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelTask(Task):
    """A task with a model; see `Task.from_model`."""

    model: nn.Module
    pool: Any
    validation: Any
    loss: Loss
    attack: Attack | None
    head: str | None
    capture: Sequence[str] | str | None
    call: Call
    views: MakeViews | None
    unpack: Unpack
    batch_size: int
    num_workers: int
    device: torch.device | None
    ids: Sequence[int | str] | None
    pool_has_labels: bool
    validation_has_labels: bool

    @property
    def provides(self) -> frozenset[str]:
        out = {"features", "logits", "gradients"}
        if self.pool_has_labels:
            out.add("labels")
        if self.validation is not None:
            out.add("validation")
            if self.validation_has_labels:
                out.add("validation_labels")
        return frozenset(out)

    def pool_labels(self) -> Int64 | None:
        """int64 [N of the whole pool], or None where items carry none; the pool is read for them at most once."""
        if "labels" not in self.memo:
            with rng_kept():
                self.memo["labels"] = (
                    labels_of(self.pool, seed=0, unpack=self.unpack, num_workers=self.num_workers)
                    if self.pool_has_labels
                    else None
                )
        return self.memo["labels"]

    @contextmanager
    def snapshot(self, seed: int, round: int) -> Iterator[Snapshot]:
        if "fingerprint" not in self.memo:
            self.memo["fingerprint"] = fingerprint(self.pool, ids=self.ids)
        proved = self.validation is not None and provably_disjoint(self.pool, self.validation)
        bare = unwrap(self.model)
        device = self.device or next((p.device for p in bare.parameters()), torch.device("cpu"))
        shared = Shared(
            seed=seed,
            round=round,
            clock=Clock(device),
            progress=self.progress,
            source=origin(self.pool)[1],
            fingerprint=self.memo["fingerprint"],
            validation_indices=None if self.validation is None else origin(self.validation)[1],
            disjoint=None if self.validation is None else "indices of one dataset" if proved else "hashed",
        )
        whole = np.arange(len(self.pool), dtype=np.int64) if self.positions is None else self.positions
        with frozen(self.model) as model:
            yield ModelSnapshot(self, model, shared, whole)


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayTask(Task):
    """A task made of arrays; see `Task.from_arrays`."""

    features: NDArray[Any] | None
    labels: Int64 | None
    logits: NDArray[Any] | None
    gradients: NDArray[Any] | None
    groups: Int64 | None
    validation_gradient: NDArray[Any] | None

    @property
    def size(self) -> int:
        """N of the whole pool."""
        return len(
            next(a for a in (self.groups, self.features, self.labels, self.logits, self.gradients) if a is not None)
        )

    @property
    def provides(self) -> frozenset[str]:
        out = {w for w in ("features", "labels", "logits", "gradients") if getattr(self, w) is not None}
        return frozenset(out | ({"validation"} if self.validation_gradient is not None else set()))

    @contextmanager
    def snapshot(self, seed: int, round: int) -> Iterator[Snapshot]:
        if "fingerprint" not in self.memo:
            first = next(a for a in (self.gradients, self.features, self.logits, self.labels) if a is not None)
            self.memo["fingerprint"] = fingerprint(cast(Any, first))  # an array is map-style enough
        shared = Shared(
            seed=seed,
            round=round,
            clock=Clock(),
            progress=self.progress,
            source=np.arange(self.size, dtype=np.int64),
            fingerprint=self.memo["fingerprint"],
            validation_indices=None,
            disjoint=None,
        )
        with rng_kept():
            yield ArraySnapshot(self, shared, shared.source if self.positions is None else self.positions)


def _length(dataset: Any, what: str) -> int:
    try:
        n = len(dataset)
    except TypeError as why:
        raise DataError(
            f"the {what} is a {type(dataset).__name__} without a length: a map-style dataset is needed."
        ) from why
    if n == 0:
        raise DataError(f"the {what} is empty.")
    return n


def _has_labels(dataset: Any, unpack: Unpack) -> bool:
    with rng_kept():
        _, _, y = next(read(dataset, [np.zeros(1, np.int64)], seed=0, path=("labels",), unpack=unpack))
        return y is not None
