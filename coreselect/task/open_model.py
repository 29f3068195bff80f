"""A model that one selection has opened: how its network is split, and how its pool and validation are read and attacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coreselect.data.reading import chunks, read
from coreselect.errors import RequirementError
from coreselect.gradients.inputs import in_precision, refuse_attack, refuse_inputs, to_device
from coreselect.gradients.loss_check import refuse_wrong_loss
from coreselect.gradients.parts import Batches, Key, Make, Record, stacked
from coreselect.gradients.sweep import Sweeper
from coreselect.losses.own import refuse_loss_elsewhere
from coreselect.losses.targets import for_loss, reads_classes
from coreselect.network.attack_at import CallAt, Point
from coreselect.network.attack_checks import refuse_wrong_place
from coreselect.network.folding import FoldedCall, folded
from coreselect.network.network import HeadSplit, Network, WholeModel
from coreselect.network.split import split
from coreselect.support.one_logit import refuse_one_logit
from coreselect.support.records import settings_of
from coreselect.support.structure import leaves, mapped, rebuilt, size
from coreselect.task.context import Context
from coreselect.task.recipe import ModelRecipe
from coreselect.task.validation import Validation, read_validation
from coreselect.types import Int64

Measure = Callable[[Int64, Tensor, Tensor | None], Record]


class OpenModel:
    """A frozen model and its task, for one selection; results that do not depend on a restriction stay in the context.

    Args:
        task: the recipe.
        model: the model, frozen.
        context: of the selection.
        positions: int64 [n], the examples of the snapshot; the first four probe the model.
    """

    def __init__(self, task: ModelRecipe, model: nn.Module, context: Context, positions: Int64) -> None:
        self.task, self.model, self.context, self.positions = task, model, context, positions
        self.call = task.call if task.attack_at is None else CallAt(task.call, task.attack_at)
        first = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
        self.device = task.device or first.device
        self.dtype = first.dtype

    @property
    def net(self) -> Network:
        """The model, split as the task's capture asks."""
        return self.context.cached("net", self._opened_net)

    def _opened_net(self) -> HeadSplit | WholeModel:
        """Split the model, and fold what is not captured: a row of a normalisation needs the normalisation."""
        net = self._split(self.task.capture)
        if self.task.fold and self.task.attack_at is None and isinstance(net, HeadSplit) and net.name:
            net.call = folded(self.model, net.call, self.probe(), net.name) or net.call
        return net

    @property
    def form(self) -> dict[str, Any]:
        """Describe how the model is run; numbers depend on it to rounding."""
        count = self.net.call.count if isinstance(self.net.call, FoldedCall) else 0
        return {"folded": count} if count else {}

    @property
    def head_split(self) -> Network:
        """The model as features → head, whatever is captured."""
        if isinstance(self.net, HeadSplit):
            return self.net
        return self.context.cached("head split", lambda: self._split(None))

    def _split(self, capture: Sequence[str] | str | None) -> HeadSplit | WholeModel:
        """Split the model; these parameters are captured."""
        task, fixed = self.task, self.context.fixed
        net = split(self.model, self.call, self.probe(), head=task.head, capture=capture, fixed=fixed)
        if task.attack_at is not None:
            name = net.name if isinstance(net, HeadSplit) else None
            refuse_wrong_place(task.attack_at, self.model, task.call, name, self.probe())
        return net

    def probe(self) -> Any:
        """Return up to four pool inputs to probe the model with, [b, …]."""
        return self._probed[0]

    @property
    def _probed(self) -> tuple[Any, Any]:
        """The inputs that probe the model, read once, and their targets as the items carry them."""
        return self.context.cached("probe", lambda: next(self.batches_of([self.positions[:4]], raw=True))[1:])

    def check_devices(self) -> None:
        """Refuse captured parameters on another device than the inputs.

        Raises:
            RequirementError: they are on another one.
        """
        elsewhere = {p.device for p in self.net.captured.values()} - {next(iter(leaves(self.probe()))).device}
        if elsewhere:
            raise RequirementError(
                f"captured parameters are on {min(map(str, elsewhere))} and the inputs go to {self.device}: select with the "
                "whole model on one device."
            )

    def check_loss(self) -> None:
        """Refuse a loss that does not give one value for each example."""
        self.context.cached("loss holds", self._check_loss)

    def _check_loss(self) -> bool:
        if reads_classes(self.task.loss) or not self.task.loss.per_example:
            return True
        refuse_loss_elsewhere(self.task.loss, self.device)
        x, y = self._probed
        with torch.no_grad():
            outputs = self.net.call(self.model, x, "natural")
        refuse_wrong_loss(self.task.loss, outputs, mapped(lambda t: t.to(outputs.device), y))
        return True

    def inputs(self, *, raw: bool = False) -> Iterator[tuple[Int64, Any, Any]]:
        """Yield (pool positions [B], natural inputs [B, …], labels [B] or None) in batches, on the model's device.

        Args:
            raw: yield targets as the items carry them, in place of class numbers.
        """
        return self.batches_of(chunks(self.positions, self.task.batch_size), raw=raw)

    def batches_of(self, batches: list[Int64], *, raw: bool = False) -> Iterator[tuple[Int64, Any, Any]]:
        task, seed = self.task, self.context.seed
        items = read(
            task.pool, batches, seed=seed, path=(task.part, self.context.round), unpack=task.unpack,
            num_workers=task.num_workers, timeout=task.timeout, raw=raw, pin=self.device.type == "cuda",
        )  # fmt: skip
        for positions, x, labels in items:
            x = in_precision(x, self.dtype)
            refuse_inputs(positions, x, task.part)
            yield positions, to_device(x, self.device), labels

    def records(
        self,
        kind: str,
        batches: Batches,
        make: Make,
        settings: Mapping[str, Any],
        *,
        part: str = "sweep",
        alone: bool = False,
    ) -> Iterator[Record]:
        """Yield the record of every batch, in order, and report progress.

        Args:
            kind, settings: what the records hold; see `coreselect.gradients.parts.Key`.
            make: sweeps some of the batches and yields their records.
            part: the name of the progress.
            alone: whether this process makes all of these batches, and shares the work with no other.
        """
        parts = self.context.own_parts if alone else self.context.parts
        done, total = 0, sum(len(group) for batch in batches for group in batch)
        self.context.progress(part, done, total)
        for batch, record in zip(batches, parts(Key(kind, {**settings, **self.form}), batches, make), strict=True):
            yield record
            done += sum(len(group) for group in batch)
            self.context.progress(part, done, total)

    def training(self) -> dict[str, Any]:
        """Describe what the prepared pool and its rows depend on besides the model."""
        task = self.task
        described = {"loss": task.loss, "attack": task.attack, "views": task.views, "head": task.head}
        if task.attack_at is not None:
            described["attack_at"] = task.attack_at
        return {**settings_of(described), "captured": list(self.net.captured)}

    def point(self, x: Any) -> Point:
        """Return where an attack acts on natural inputs [B, …]: on them, or on the output of a submodule at them.

        Raises:
            ShapeError: the inputs are no floating-point tensor, and no submodule is named.
        """
        at = self.task.attack_at
        if at is not None:
            return at.point(self.model, x, self.task.call)
        refuse_attack(x)
        return Point(x, x)

    @property
    def sweeper(self) -> Sweeper:
        """What reads and attacks the pool; it also looks for validation inputs in it, where indices could not prove that."""
        task, context = self.task, self.context
        if getattr(task.loss, "softmax", False):
            refuse_one_logit(self.net.outputs, f"the loss {task.loss.name!r}")
        if task.attack_at is None and any(route == "adversarial" for route, _ in task.loss.streams):
            refuse_attack(self.probe(), task.part)
        return context.cached(
            "sweeper",
            lambda: Sweeper(
                self.model, self.net.call, self.net, task.pool, task.loss, task.attack, task.views, task.unpack,
                context.seed, context.round, task.num_workers, self.device, self.dtype, context.clock,
                self.validation().digests if context.disjoint == "hashed" else frozenset(), self.point, task.timeout,
                task.part,
            ),
        )  # fmt: skip

    def validation(self) -> Validation:
        """Return the validation inputs, read once."""
        hashed = self.context.disjoint == "hashed"
        with self.context.clock("read"):
            return self.context.cached(
                "validation",
                lambda: read_validation(self.task, self.context.seed, self.device, self.dtype, hashed=hashed),
            )

    def all_batches(self) -> Batches:
        """Return the snapshot's examples in batches of the task's size, one group a batch."""
        return [[c] for c in chunks(self.positions, self.task.batch_size)]

    def targets(self, leaves: Sequence[Tensor]) -> Any:
        """Return targets as the loss reads them, put together from their tensors in the order of `structure.leaves`."""
        y = self._probed[1]
        return rebuilt(for_loss(self.task.loss, y, size(y)), leaves) if leaves else None

    def measured(self, kind: str, settings: Mapping[str, Any], measure: Measure, *, part: str) -> dict[str, Tensor]:
        """Return what a method measures of every example's natural input: name -> [n, …].

        Args:
            kind, settings: the name of the method and what its measure depends on.
            measure: (pool positions [B], inputs, labels [B] or None) -> name -> [B, …].
            part: the name of the progress.
        """

        def make(some: Batches) -> Iterator[Record]:
            for positions, x, labels in self.batches_of([np.concatenate(list(b)) for b in some]):
                refuse_attack(x, inside=False)
                yield measure(positions, x, None if labels is None else labels.to(x.device))

        return stacked(list(self.records(kind, self.all_batches(), make, settings, part=part)))


def numbered(batches: Iterator[tuple[Int64, Any, Any]]) -> Iterator[tuple[Int64, Tensor, Tensor | None]]:
    """Replace the pool positions of batches that come in order by 0…n−1, and move the labels to the device of the inputs.

    Raises:
        ShapeError: the inputs are not one floating-point tensor, as those who read them here need.
    """
    done = 0
    for _, x, labels in batches:
        refuse_attack(x, inside=False)
        yield np.arange(done, done + len(x)), x, None if labels is None else labels.to(x.device)
        done += len(x)
