"""The seams: structural types, so that any object with these methods is an implementation."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from coreselect.budget import Budget
from coreselect.types import Selection

Route = str  # "natural" or "adversarial": which normalisation statistics a forward pass sees
Stream = tuple[Route, int]  # (route, view): one forward pass that a loss reads
Views = tuple[Tensor, ...]  # one [B, …] tensor per view
Params = Mapping[str, Tensor]
Call = Callable[[nn.Module, Tensor, Route], Tensor]  # (model, x, route) -> output
MakeViews = Callable[[Tensor, torch.Generator], Views]  # (x [1, …], generator) -> views, each [1, …]
Progress = Callable[[str, int, int], None]  # (part, done, total)


class Divergence(Protocol):
    """d(h(x̃), h(x)), adversarial first."""

    @property
    def name(self) -> str: ...

    def __call__(self, adversarial: Tensor, natural: Tensor) -> Tensor:
        """[B, C], [B, C] → [B], or a scalar where d is between the two sets."""
        ...


class Attack(Protocol):
    """Inputs that raise a scalar, inside a ball; gradients with respect to inputs only."""

    @property
    def random_start(self) -> bool: ...

    def __call__(self, ascend: Callable[[Views], Tensor], inputs: Views, noise: Views) -> Views:
        """`ascend(views)` is a scalar, summed over examples; `noise` is uniform in [−1, 1), one tensor per view."""
        ...


class Loss(Protocol):
    """A training loss: which forwards it reads, how its inputs are attacked, and its value.

    `streams` lists the (route, view) pairs it reads; adversarial streams are crafted jointly by `attack` on `ascend`.
    A per-example loss returns [B]; a batch loss (NT-Xent) returns a scalar, the mean over its batch.
    """

    @property
    def name(self) -> str: ...
    @property
    def views(self) -> int: ...
    @property
    def streams(self) -> tuple[Stream, ...]: ...
    @property
    def per_example(self) -> bool: ...
    @property
    def needs_labels(self) -> bool: ...
    @property
    def default_attack(self) -> Attack | None: ...

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        """Outputs [B, C] per adversarial view (and per natural view, if read) → scalar to raise, summed over examples."""
        ...

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        """Outputs per view of each route → [B] if per example, else a scalar."""
        ...


class Search(Protocol):
    """Proposes rows whose float32 score may be the largest; `coreselect.search.decide` has the last word in float64."""

    def propose(self, query: Tensor, alive: Tensor) -> Tensor:
        """query [P], alive bool [M] → int64 [≥1]: every living row that rounding cannot rule out."""
        ...


@runtime_checkable
class Selector(Protocol):
    """A method of choosing.

    `requires` names what a task must provide (`labels`, `features`, `logits`, `gradients`, `example_gradients`, `inputs`,
    `validation`, `validation_labels`, `history`, which is of logits, `losses`); `renew` says when another call gives another
    answer: `never`, `round` or `epoch`.
    """

    @property
    def name(self) -> str: ...
    @property
    def requires(self) -> frozenset[str]: ...
    @property
    def renew(self) -> str: ...

    def select(self, task: "TaskLike", budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        """Choose exactly `budget` examples; every draw is a function of `generator.initial_seed()` and `round`."""
        ...


class TaskLike(Protocol):
    """What a selector may ask of a task: `coreselect.Task`, or the snapshot of one."""

    @property
    def n(self) -> int: ...

    @property
    def provides(self) -> frozenset[str]: ...

    def snapshot(self, seed: int, round: int) -> AbstractContextManager[Any]:
        """Open what one selection computes: a `coreselect.task.snapshot.Snapshot`."""
        ...

    def restrict(self, indices: Any) -> "TaskLike": ...
