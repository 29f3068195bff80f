"""The interfaces of the library, as protocols: any object with these methods is an implementation."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from coreselect.budget import Budget
from coreselect.types import Selection

Route = str  # "natural" or "adversarial": the normalisation statistics that a forward pass uses
Stream = tuple[Route, int]  # (route, view): one forward pass of a loss
Views = tuple[Tensor, ...]  # one tensor [B, …] for each view
Params = Mapping[str, Tensor]
Call = Callable[[nn.Module, Any, Route], Tensor]  # (model, x, route) -> output
MakeViews = Callable[[Any, torch.Generator], Views]  # (x [1, …], generator) -> views, each [1, …]
Progress = Callable[[str, int, int], None]  # (part, done, total)


@runtime_checkable
class BatchedViews(Protocol):
    """Views that can be made for a whole batch, with the draws that each example has alone.

    The sweep uses `for_each` where views have it; without it, they are called once for each example.
    """

    def __call__(self, x: Any, generator: torch.Generator, /) -> Views:
        """Make the views of x [1, …]."""
        ...

    def for_each(self, x: Any, seeds: Sequence[int], /) -> Views:
        """Make the views of x [B, …]: for each i those of x[i:i+1], with a generator that has seed i of `seeds`."""
        ...


class Divergence(Protocol):
    """A divergence d(h(x̃), h(x)), adversarial output first."""

    @property
    def name(self) -> str: ...

    def __call__(self, adversarial: Tensor, natural: Tensor) -> Tensor:
        """Compute d from outputs [B, C], [B, C]: [B], or a scalar if d compares the two sets."""
        ...


class Attack(Protocol):
    """An attack: it changes inputs inside a ball so that a scalar rises. It computes gradients of inputs only.

    `random_start` says whether it starts at a random point of the ball.
    """

    @property
    def random_start(self) -> bool: ...

    def __call__(self, ascend: Callable[[Views], Tensor], inputs: Views, noise: Views) -> Views:
        """Return the attacked inputs, one tensor [B, …] for each view.

        Args:
            ascend: views → the scalar to raise, summed over examples.
            inputs: the natural inputs, one tensor [B, …] for each view.
            noise: uniform in [−1, 1), one tensor [B, …] for each view; 0 where nothing may move, as at padding.
        """
        ...


class Loss(Protocol):
    """A training loss: the forward passes it needs, how its inputs are attacked, and its value.

    `views` is the number of views, `streams` lists the (route, view) pairs that the loss reads. The attack raises `ascend`
    on all adversarial streams together. A per-example loss returns [B]; a batch loss (NT-Xent) returns a scalar, the mean
    over its batch. `default_attack` is used where the task gives no attack. `labels` are the targets as the items carry them:
    a tensor [B, …], or a dictionary, list or tuple of tensors; a loss with `reads_classes = True` gets class numbers, int64 [B],
    checked against the number of outputs.
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

    def ascend(self, adversarial: Views, natural: Views, labels: Any) -> Tensor:
        """Compute the scalar that the attack raises, summed over examples, from outputs [B, C] of each view."""
        ...

    def __call__(self, adversarial: Views, natural: Views, labels: Any) -> Tensor:
        """Compute the loss from outputs [B, C] of each view: [B] for a per-example loss, else a scalar."""
        ...


class Search(Protocol):
    """A search for the best row: it proposes rows by float32 scores, and `coreselect.gradients.rows.argmax` decides in float64."""

    def propose(self, query: Tensor, alive: Tensor) -> Tensor:
        """Return every row that may be the best within the rounding error, or of these the best, int64 [≥1].

        Args:
            query: [P].
            alive: bool [M], False for rows that are already picked; in one run of greedy they stay picked.
        """
        ...


@runtime_checkable
class Selector(Protocol):
    """A method of choosing examples.

    `requires` names what a task must provide: `labels`, `features`, `logits`, `gradients`, `example_gradients`, `inputs`,
    `validation`, `validation_labels`, `history` (of logits) or `losses`. `renew` says when another call returns another
    selection: `never`, `round` or `epoch`. A selector may also say what it attacks, in `attacks`, a set of `pool` (by the task's
    attack) and `validation` (by that of its `objective`): inputs outside the bounds are then refused before any training.
    It may refuse a task by what is known before any work, in a method `refuse(task)` that raises `RequirementError`.
    It may say what it costs, in a method `costs(sizes)` (`coreselect.planning.needs`); else `coreselect.plan` reads that from
    `requires` and `attacks`.
    """

    @property
    def name(self) -> str: ...
    @property
    def requires(self) -> frozenset[str]: ...
    @property
    def renew(self) -> str: ...

    def select(self, task: "TaskLike", budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        """Choose exactly `budget` examples; every random draw depends on `generator.initial_seed()` and `round` alone."""
        ...


class TaskLike(Protocol):
    """What a selector uses of a task: a `coreselect.Task`, or a snapshot of one.

    `n` is N, the size of the pool; `provides` names what the task has (see `Selector`).
    """

    @property
    def n(self) -> int: ...

    @property
    def provides(self) -> frozenset[str]: ...

    def snapshot(self, seed: int, round: int) -> AbstractContextManager[Any]:
        """Open the `coreselect.task.snapshot.Snapshot`, which computes what one selection needs."""
        ...

    def restrict(self, indices: Any) -> "TaskLike":
        """Return the task with only these positions of the pool."""
        ...
