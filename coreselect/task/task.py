"""The recipe of what there is to select from; `snapshot` opens what one selection computes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from coreselect.data.reading import Unpack
from coreselect.data.reading import unpack as default_unpack
from coreselect.data.subsets import origin, provably_disjoint
from coreselect.errors import RequirementError, ShapeError
from coreselect.history import History
from coreselect.io.fingerprint import examine, fingerprint
from coreselect.losses import loss as find_loss
from coreselect.network.frozen import frozen, unwrap
from coreselect.network.network import default_call
from coreselect.protocols import Attack, Call, Loss, MakeViews
from coreselect.support.clock import Clock
from coreselect.support.seeding import rng_kept
from coreselect.task.array_snapshot import ArraySnapshot
from coreselect.task.arrays import checked
from coreselect.task.first_look import compare_labels, first_look, length_of
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.recipe import ArrayRecipe, ModelRecipe, Recipe
from coreselect.task.snapshot import Shared, Snapshot


@dataclass(frozen=True, eq=False, kw_only=True)
class Task(Recipe):
    """What there is to select from: made by `Task.from_model` or `Task.from_arrays`.

    A recipe, not a cache: each selection opens a snapshot of what it computes, and nothing of that is kept.
    """

    def fingerprint(self) -> str:
        """Return the identity of the whole pool: its length and a digest of 256 items or of the user's ids."""
        raise NotImplementedError

    def snapshot(self, seed: int, round: int) -> Any:
        """Open what one selection computes: a context manager that gives a `coreselect.task.snapshot.Snapshot`."""
        raise NotImplementedError

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
        timeout: float = 0,
        device: torch.device | str | None = None,
        ids: Sequence[int | str] | None = None,
        history: History | None = None,
    ) -> ModelTask:
        """Describe a model, the pool it is trained on and the validation inputs whose RD should fall.

        Args:
            model: any `nn.Module` whose output, by `call`, is one tensor [B, C]; used as it stands, never changed.
            pool: map-style dataset of N items, read in its evaluation view: item i with `random`, numpy and torch
                seeded from (seed, round, i), so that an augmenting dataset gives one answer.
            validation: disjoint map-style dataset; None for selectors that need none. Subsets of one dataset are compared by
                index; others by hashing inputs as they are read, which cannot see an image that random augmentation changes.
            loss: `"sat"`, `"trades"`, `"cl"`, `"acl"`, or an object (`coreselect.protocols.Loss`).
            attack: crafts the loss's adversarial inputs; None: the loss's published one.
            head: name of the submodule that is the head; None: the smallest that holds a Linear and makes the output.
            capture: None: the head's Linear weights and biases; `"all"`; or `fnmatch` patterns of parameter names.
            call: (model, x, route) → output; None: model(x).
            views: (x [1, …], generator) → tuple of views; None: (x,).
            unpack: collated item batch → (x, y or None); None: tensors, tuples and mappings with usual names.
            batch_size: of forward passes; memory only, no answer depends on it. On a CPU smaller batches (64) are often faster:
                activations of large ones are mapped anew at every pass.
            num_workers: that read the pool.
            timeout: seconds to wait for a batch from these workers, so that an item that never comes back is found; 0 waits
                for ever. With a timeout, workers read validation too.
            device: of forward passes; None: the model's.
            ids: one per pool item, to identify the pool by (its fingerprint); None: by 256 of its items.
            history: what training has recorded of the pool; read as it stands when a selection is made.
        Raises:
            DataError: the pool or validation is empty, a stream, a Subset with repeated or negative positions, or its items
                cannot be read or put into batches; or two reads of an item with one seed differ, and there are no ids.
            ShapeError: the history is of another number of examples.
            RequirementError: a timeout without workers.
        Warns:
            CoreselectWarning: a dataset lists other labels than its items carry, whose labels then count; or two reads of an
                item differ, and there are ids.
        """
        own = find_loss(loss)
        if batch_size < 1:
            raise ShapeError(f"batch_size must be at least 1, got {batch_size}.")
        if timeout < 0 or (timeout and not num_workers):
            raise RequirementError(
                f"timeout={timeout:g} with num_workers={num_workers}: only workers can be waited for, give num_workers=1 or "
                "more, and a timeout of at least 0 seconds."
            )
        read_items = unpack or default_unpack
        n, held = length_of(pool, "pool"), 0 if validation is None else length_of(validation, "validation")
        look = partial(first_look, unpack=read_items, named=ids is not None, timeout=timeout)
        in_pool = look(pool, what="pool", num_workers=num_workers)
        in_validation = look(validation, what="validation", num_workers=num_workers if timeout else 0) if held else None
        return ModelTask(
            n=n,
            history=_of(history, n),
            memo={"labels agree": in_pool.labels_agree},
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
            timeout=timeout,
            device=None if device is None else torch.device(device),
            ids=ids,
            pool_has_labels=in_pool.has_labels,
            validation_has_labels=in_validation is not None and in_validation.has_labels,
        )

    @staticmethod
    def from_arrays(
        features: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        gradients: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        validation_gradient: ArrayLike | None = None,
        history: History | None = None,
    ) -> ArrayTask:
        """Describe a pool by arrays, without a model; memory-mapped arrays stay on disk.

        Args:
            features: float [N, D].
            labels: int [N].
            logits: float [N, C].
            gradients: float [N, P] per example, or [M, P] per group together with `groups`.
            groups: int [N], the group 0…M−1 of each example; every group has a member.
            validation_gradient: float [P], q(θ); as nothing is known to renew it from, it stays what it is.
            history: what training has recorded of the N examples.
        Raises:
            ShapeError: no array was given, or lengths or widths disagree.
            NonFiniteError: an array holds NaN or infinity; `indices` are its rows.
        """
        arrays = checked(features, labels, logits, gradients, groups, validation_gradient)
        return ArrayTask(**arrays, history=_of(history, arrays["n"]))


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelTask(ModelRecipe, Task):
    """A task with a model; see `Task.from_model`."""

    def fingerprint(self) -> str:
        if "fingerprint" not in self.memo:
            found = examine(self.pool, ids=self.ids, what="pool", num_workers=self.num_workers, timeout=self.timeout)
            if self.unpack is default_unpack and self.pool_has_labels and self.memo.get("labels agree", True):
                self.memo["labels agree"] = compare_labels(self.pool, found.labels, "pool")
                if not self.memo["labels agree"]:
                    self.memo.pop("labels", None)
            self.memo["fingerprint"] = found.fingerprint
        return self.memo["fingerprint"]

    def _origins(self) -> dict[str, Any]:
        """Where pool and validation come from, found once: it takes time in N, and rs2 selects every epoch."""
        if "origins" not in self.memo:
            proved = self.validation is not None and provably_disjoint(self.pool, self.validation)
            self.memo["origins"] = {
                "source": origin(self.pool)[1],
                "validation_indices": None if self.validation is None else origin(self.validation)[1],
                "disjoint": None if self.validation is None else "indices of one dataset" if proved else "hashed",
            }
        return self.memo["origins"]

    @contextmanager
    def snapshot(self, seed: int, round: int) -> Iterator[Snapshot]:
        bare = unwrap(self.model)
        own = next((p.device for p in bare.parameters()), torch.device("cpu"))
        device = self.device or own
        if device.type != own.type:
            raise RequirementError(
                f"device={device} and the model is on {own}: move the model there, or leave device out."
            )
        shared = Shared(
            seed=seed,
            round=round,
            clock=Clock(device),
            progress=self.progress,
            fingerprint=self.fingerprint(),
            **self._origins(),
        )
        whole = np.arange(len(self.pool), dtype=np.int64) if self.positions is None else self.positions
        with frozen(self.model) as model:
            yield ModelSnapshot(self, model, shared, whole)


class _OfGroups:
    """Each example with its group's row, without writing them out."""

    def __init__(self, rows: Any, groups: Any) -> None:
        self.rows, self.groups = rows, groups

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.groups[index], self.rows[self.groups[index]]


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayTask(ArrayRecipe, Task):
    """A task made of arrays; see `Task.from_arrays`."""

    def fingerprint(self) -> str:
        if "fingerprint" not in self.memo:
            known = (self.gradients, self.features, self.logits, self.labels)
            first = next(a for a in known if a is not None) if self.groups is None else _OfGroups(known[0], self.groups)
            self.memo["fingerprint"] = fingerprint(cast(Any, first))  # an array is map-style enough
        return self.memo["fingerprint"]

    @contextmanager
    def snapshot(self, seed: int, round: int) -> Iterator[Snapshot]:
        shared = Shared(
            seed=seed,
            round=round,
            clock=Clock(),
            progress=self.progress,
            source=np.arange(self.size, dtype=np.int64),
            fingerprint=self.fingerprint(),
            validation_indices=None,
            disjoint=None,
        )
        with rng_kept():
            yield ArraySnapshot(self, shared, shared.source if self.positions is None else self.positions)


def _of(history: History | None, n: int) -> History | None:
    """Refuse a history of another pool."""
    if history is not None and history.n != n:
        raise ShapeError(
            f"the history is of {history.n} examples and the pool has {n}: make it with History(len(pool))."
        )
    return history
