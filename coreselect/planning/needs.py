"""What a selector needs of a task, in numbers of examples: the words in which a method says beforehand what it will do.

A selector may have a method `costs(sizes) -> tuple of needs`. One without it is described by what it says anyway: `requires`,
`attacks` and `objective` (`coreselect.planning.derived`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

from coreselect.budget import largest_remainder
from coreselect.objectives.objective import Objective
from coreselect.support.limits import Needs


@dataclass(frozen=True)
class Sizes:
    """The sizes that a plan is made for.

    Attributes:
        n, k: N, the number of examples to choose from, and the budget.
        batch_loss: whether the loss needs whole groups (`Snapshot.batch_loss`).
        caches: whether only a head is captured, so that features do not change (`Network.caches`).
        factored: whether rows of single examples are kept as factors, which give the row of any group.
        classes: how many examples each class has; empty without labels.
        arrays: whether the task is made of arrays; then nothing passes through a model.
        validation: |U|, the number of validation inputs; 0 without a model.
    """

    n: int
    k: int
    batch_loss: bool = False
    caches: bool = True
    factored: bool = True
    classes: tuple[int, ...] = ()
    arrays: bool = False
    validation: int = 0

    def of(self, n: int, k: int) -> "Sizes":
        """Return the sizes of a part of the pool that has its share of each class."""
        return replace(self, n=n, k=k, classes=tuple(largest_remainder(n, list(self.classes))) if self.classes else ())


@dataclass(frozen=True)
class NaturalPass:
    """One forward pass of natural inputs, for features and logits; selectors that share a snapshot share it."""

    examples: int


@dataclass(frozen=True)
class Sweep:
    """Training inputs, attacked and passed through the model, and rows of them.

    Attributes:
        examples: how many examples are swept.
        loss: `own`, the task's, or `natural`: the task's if that is natural, else cross-entropy.
        rows: M, how many rows are kept; 0: none, only outputs are read.
        width: of rows that are sketched; None: 4096 where rows are longer than a head's, else full rows.
        again: how many examples' rows are computed once more, for groups that are trimmed or were sketched.
        at_most: whether `again` is an upper bound.
    """

    examples: int
    loss: Literal["own", "natural"] = "own"
    rows: int = 0
    width: int | None = None
    again: int = 0
    at_most: bool = False


@dataclass(frozen=True)
class OnValidation:
    """An objective on the validation inputs.

    Attributes:
        objective: the objective; None: cross-entropy of natural inputs.
        opened: how often the natural inputs are passed through their route.
        crafted: how often the inputs are attacked.
        queries: how many gradients and values are computed; they cost passes only where more than a head is captured.
        clean: how often the natural inputs are passed through the other route.
        as_task: whether validation is attacked as the task attacks its pool.
        at_most: whether `crafted` and `queries` are upper bounds.
    """

    objective: Objective | None
    opened: int = 1
    crafted: int = 1
    queries: int = 1
    clean: int = 0
    as_task: bool = False
    at_most: bool = False


@dataclass(frozen=True)
class OwnPasses:
    """Passes that a method makes of natural inputs by itself, per example; `at_most` if the inputs decide how many.

    `forward` None: the method does not say how many.
    """

    examples: int
    forward: int | None
    backward: int = 0
    at_most: bool = False


@dataclass(frozen=True)
class RowPasses:
    """How often a method goes over all rows, or all features, after the model is done."""

    times: int
    over: Literal["rows", "features"]


@dataclass(frozen=True)
class Memory:
    """Memory that a method takes beside features and rows; `of` says what is in it."""

    bytes: int
    of: str


@dataclass(frozen=True)
class OwnWork:
    """What a method computes on its features or rows, after the model is done.

    Attributes:
        over: what it works on.
        of: width of these → multiply-adds, bytes read and bytes kept; the method refuses above the limits by the same numbers.
    """

    over: Literal["rows", "features"]
    of: Callable[[int], Needs]


Need = OwnWork | NaturalPass | Sweep | OnValidation | OwnPasses | RowPasses | Memory


@runtime_checkable
class SaysItsCosts(Protocol):
    """A selector that says what it needs."""

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what a selection of this size needs."""
        ...


@runtime_checkable
class SaysItsWork(Protocol):
    """A selector that says what it computes by itself, beside what it `requires`."""

    def work(self, sizes: Sizes) -> OwnWork:
        """Return the work of a selection of this size."""
        ...
