"""`Task`: the user's statement of what there is to select from, made from a model or from arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from coreselect.data.items import check_timeout
from coreselect.data.reading import Unpack
from coreselect.data.reading import unpack as default_unpack
from coreselect.data.subsets import provably_disjoint
from coreselect.errors import RequirementError, ShapeError
from coreselect.history import History
from coreselect.losses import loss as find_loss
from coreselect.network.attack_at import AttackAt
from coreselect.network.frozen import unwrap
from coreselect.network.gathered import refuse_flat
from coreselect.network.network import default_call
from coreselect.network.routes import check_routes, routed_call
from coreselect.network.split import existing_head
from coreselect.objectives.following import unbounded
from coreselect.protocols import Attack, Call, Loss, MakeViews
from coreselect.support.devices import device_of, usable_device
from coreselect.support.type_checks import refuse_uncallable, whole
from coreselect.task.arrays import check_arrays
from coreselect.task.datasets import check_history, length_of
from coreselect.task.first_look import first_look
from coreselect.task.opening import array_fingerprint, model_fingerprint, open_arrays, open_model
from coreselect.task.recipe import ArrayRecipe, ModelRecipe, Recipe
from coreselect.task.snapshot import Snapshot


@dataclass(frozen=True, eq=False, kw_only=True)
class Task(Recipe):
    """What there is to select from: made by `Task.from_model` or `Task.from_arrays`.

    A recipe, not a cache: each selection opens a snapshot, and what it computes is dropped when the selection ends.
    """

    def fingerprint(self) -> str:
        """Return the identity of the whole pool: its length, and a digest of 256 items or of the user's ids."""
        raise NotImplementedError

    def snapshot(self, seed: int, round: int) -> AbstractContextManager[Snapshot]:
        """Open what one selection computes: a context manager that gives a `coreselect.task.snapshot.Snapshot`."""
        raise NotImplementedError

    @staticmethod
    def from_model(
        model: nn.Module,
        pool: Any,
        validation: Any = None,
        *,
        loss: str | Loss | Callable[..., Tensor] = "sat",
        attack: Attack | None = None,
        attack_at: AttackAt | str | None = None,
        head: str | None = None,
        capture: Sequence[str] | str | None = None,
        call: Call | None = None,
        routes: Sequence[str] | None = None,
        views: MakeViews | None = None,
        unpack: Unpack | None = None,
        batch_size: int = 256,
        num_workers: int = 0,
        timeout: float = 0,
        device: torch.device | str | None = None,
        ids: Sequence[int | str] | None = None,
        history: History | None = None,
        fold: bool = True,
    ) -> ModelTask:
        """Describe a model, the pool that it is trained on, and the validation inputs whose RD should fall.

        Args:
            model: any `nn.Module`. Its output, made by `call`, is one tensor [B, C]. The model is used as it is and never
                changed. One that FSDP has spread over ranks (`fully_shard`, or `FullyShardedDataParallel` with
                `use_orig_params=True`) is gathered once for each selection, into a bare copy.
            pool: map-style dataset of N items, read in its evaluation view: item i is read with `random`, numpy and torch
                seeded from (seed, round, i), so a dataset with random augmentation gives one answer per seed.
            validation: disjoint map-style dataset; None for selectors that need none. Subsets of one dataset are compared
                by index. Other datasets are compared by hashes of their inputs, which cannot recognise an image that
                random augmentation changes.
            loss: `"ce"`, `"sat"`, `"trades"`, `"cl"`, `"acl"`, a function (outputs [B, C], targets) → [B], a module such as
                `nn.MSELoss(reduction="none")`, or an object (`coreselect.protocols.Loss`). A loss of your own gets the targets
                as the items carry them.
            attack: makes the loss's adversarial inputs; None: the loss's published attack, with one step in a `CoresetSampler`.
            attack_at: a submodule whose output attacks change in place of the inputs, such as the embeddings of a text
                classifier: its name, or `AttackAt(name, mask=…)`. The attack's radius is then in the units of that output, and
                there are no bounds; padding is not attacked.
            head: name of the submodule that is the head; None: the smallest one that holds a Linear and whose output is the
                model's output.
            capture: parameters whose gradients are rows. None: the head's Linear weights and biases; `"all"`; or `fnmatch`
                patterns of parameter names. None and `"all"` leave out what has no `requires_grad`, unless nothing has.
            call: (model, x, route) → output; None: model(x), or model(**x) for a dictionary and model(*x) for a tuple. A network
                whose `forward` takes a route (`route`, `bn`, `bn_name`) gets it, where its names of routes are recognised.
            routes: the network's names of the natural and the adversarial route, such as `("normal", "pgd")`, for `forward` or
                `call`; None: they are recognised.
            views: (x [1, …], generator) → tuple of views; None: (x,).
            unpack: collated batch of items → (x, y or None); None: tensors, tuples, and mappings with the usual names. Both
                may be tensors, or dictionaries, lists and tuples of tensors.
            batch_size: of forward passes. It changes memory use only, never the answer. On a CPU, smaller batches (64) are
                often faster, because large activations are allocated again in every pass.
            num_workers: processes that read the pool.
            timeout: seconds to wait for a batch from these processes, so that an item that never comes back is found; 0
                waits for ever. With a timeout, they read the validation inputs too.
            device: of forward passes; None: the model's device.
            ids: one per pool item, used for the pool's fingerprint; None: the fingerprint reads 256 items.
            history: what training has recorded about the pool; read when a selection is made.
            fold: run convolutions with the batch normalisation after them folded in, where only a head is captured and outputs
                stay the same to rounding (`coreselect.network.folding`). The record says how many were. False runs every
                layer, and gives the bits of versions that did not fold.
        Raises:
            DataError: the pool or validation is empty, a stream, or a Subset with repeated or negative positions; its items
                have an unknown form, or cannot be read or put into a batch; or two reads of an item with one seed differ,
                and there are no ids.
            OverlapError: pool and validation are parts of one dataset and share positions of it.
            HeadError: the model has no such head, or no submodule `attack_at`; or `routes` are not two names, or the model
                takes none.
            ShapeError: the history is about another number of examples, or the loss gives one value for a batch.
            RequirementError: a timeout without workers, there is no such device, what is called is no callable, `attack_at`
                without an attack for the loss, or FSDP holds the model without its own parameters.
        Warns:
            CoreselectWarning: a dataset lists other labels than its items carry (then the items count); or two reads of an
                item differ, and there are ids.
        """
        loss_object = find_loss(loss)
        batch_size = whole("batch_size", batch_size, ShapeError, least=1)
        num_workers = whole("num_workers", num_workers, RequirementError)
        refuse_uncallable(attack=attack, call=call, views=views, unpack=unpack)
        check_timeout(timeout, num_workers)
        place = None if device is None else device_of(device)
        if place is not None:
            usable_device(place)
        at = AttackAt(attack_at) if isinstance(attack_at, str) else attack_at
        refuse_flat(model)
        read_items = unpack or default_unpack
        n = length_of(pool, "pool")
        if validation is not None:
            length_of(validation, "validation")
            provably_disjoint(pool, validation)
        if head is not None:
            existing_head(unwrap(model), head)
        look = partial(first_look, unpack=read_items, loss=loss_object, has_ids=ids is not None, timeout=timeout)
        in_pool = look(pool, what="pool", views=views, num_workers=num_workers)
        in_validation = None
        if validation is not None:
            in_validation = look(validation, what="validation", num_workers=num_workers if timeout else 0)
        return ModelTask(
            n=n,
            history=check_history(history, n),
            memo={"labels agree": in_pool.labels_agree},
            model=model,
            pool=pool,
            validation=validation,
            loss=loss_object,
            attack=_attack_of(loss_object, attack, at, model),
            attack_given=attack is not None,
            attack_at=at,
            head=head,
            capture=capture if capture is None or isinstance(capture, str) else tuple(capture),
            call=_call_of(model, call, routes),
            views=views,
            unpack=read_items,
            batch_size=batch_size,
            num_workers=num_workers,
            timeout=timeout,
            device=place,
            ids=ids,
            fold=fold,
            pool_targets=in_pool.targets,
            validation_targets=None if in_validation is None else in_validation.targets,
            first_ranges={
                "pool": in_pool.range,
                "views of the pool": in_pool.view_range,
                "validation": None if in_validation is None else in_validation.range,
            },
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
            labels: int [N], ≥ 0.
            logits: float [N, C].
            gradients: float [N, P], one per example, or [M, P], one per group, together with `groups`.
            groups: int [N], the group 0…M−1 of each example; every group has a member.
            validation_gradient: float [P], q(θ); it stays the same at every pick, because there is no model.
            history: what training has recorded about the N examples.
        Raises:
            ShapeError: no array was given, lengths or widths disagree, or a label is below 0.
            DataError: the arrays are empty.
            NonFiniteError: an array holds NaN or infinity; `indices` are its rows.
        """
        arrays = check_arrays(features, labels, logits, gradients, groups, validation_gradient)
        return ArrayTask(**arrays, history=check_history(history, arrays["n"]))


def _attack_of(loss: Loss, attack: Attack | None, at: AttackAt | None, model: nn.Module) -> Attack | None:
    """Return the attack of a task; inside the model there are no bounds, and the radii published for images mean nothing."""
    if at is None:
        return attack or loss.default_attack
    at.find(model)
    if attack is None and any(route == "adversarial" for route, _ in loss.streams):
        raise RequirementError(
            f"the loss {loss.name!r} attacks the output of {at.module!r}, and its published radius is for images in [0, 1]: give "
            "attack=PGD(radius, step, steps) in the units of that output."
        )
    return None if attack is None else unbounded(attack)


def _call_of(model: nn.Module, call: Call | None, routes: Sequence[str] | None) -> Call:
    """Return how the model is called."""
    if call is None:
        return routed_call(unwrap(model), routes) or default_call
    if routes is None:
        return call
    names, own = check_routes(routes), call
    return lambda m, x, route: own(m, x, names[route == "adversarial"])


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelTask(ModelRecipe, Task):
    """A task with a model; see `Task.from_model`."""

    def fingerprint(self) -> str:
        return model_fingerprint(self)

    def snapshot(self, seed: int, round: int) -> AbstractContextManager[Snapshot]:
        return open_model(self, seed, round)


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayTask(ArrayRecipe, Task):
    """A task made of arrays; see `Task.from_arrays`."""

    def fingerprint(self) -> str:
        return array_fingerprint(self)

    def snapshot(self, seed: int, round: int) -> AbstractContextManager[Snapshot]:
        return open_arrays(self, seed, round)
