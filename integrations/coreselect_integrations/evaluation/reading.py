"""Read labelled data for an evaluation: batches, counts, and the examples that a classifier gets right without attack."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from coreselect.data.items import loaded_in_order
from coreselect.errors import RequirementError
from coreselect.protocols import Call, Progress, Route
from coreselect.support.seeding import generator
from coreselect_integrations.evaluation.checks import check_finite, check_logits, class_numbers

Unpack = Callable[[Any], tuple[Tensor, Tensor]]  # batch -> (x, y)
Check = Callable[[Tensor], None]  # raises an error for inputs or outputs that an evaluation cannot use


@dataclass(frozen=True, slots=True)
class CorrectBatch:
    """The correctly classified examples of one batch.

    `x` [B', …] and `y` [B'] are the examples, `positions` int64 [B'] their positions in the data, on the CPU; `classes` is
    the number of logits.
    """

    x: Tensor
    y: Tensor
    positions: Tensor
    classes: int


class CorrectExamples:
    """Iterate over the examples that a classifier gets right without attack, and count all examples.

    Args:
        forward: x [B, …] → logits [B, classes].
        data: a labelled dataset, or a loader of one.
        part: the name of the work in reports of progress.
        batch_size: of the batches made from a dataset.
        unpack: batch → (x, y); None takes its first two entries.
        device: where batches are moved; None leaves them where they are.
        progress: called with (part, examples done, examples in all) after each batch.
        check_inputs, check_outputs: called with x and with the logits of each batch.

    After the loop, `n` is the number of examples and `correct` the number of correct ones.

    Raises:
        ShapeError: the model gives no logits of two or more classes, or the labels are no class numbers.
        DataError: the labels are fractions.
        NonFiniteError: logits hold NaN or infinity; `indices` are positions in the data.
    """

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        data: DataLoader[Any] | Dataset[Any],
        part: str,
        *,
        batch_size: int,
        unpack: Unpack | None = None,
        device: torch.device | str | None = None,
        progress: Progress | None = None,
        check_inputs: Check = lambda x: None,
        check_outputs: Check = lambda out: None,
    ) -> None:
        self.forward, self.data, self.part, self.batch_size, self.unpack = forward, data, part, batch_size, unpack
        self.device, self.progress = device, progress
        self.check_inputs, self.check_outputs = check_inputs, check_outputs
        self.n = self.correct = 0

    def __iter__(self) -> Iterator[CorrectBatch]:
        total = count(self.data)
        for x, y in batches(self.data, self.batch_size, self.unpack):
            x, start = x.to(self.device), self.n  # [B, …]
            self.check_inputs(x)
            with torch.no_grad():
                out = check_logits(self.forward(x), len(x))  # [B, classes]
            self.check_outputs(out)
            check_finite(out.isfinite().all(1), start + torch.arange(len(x)), "natural inputs")
            y = class_numbers(y, start, len(x), out.shape[1]).to(out.device)  # [B]
            keep = (out.argmax(1) == y).nonzero().squeeze(1)  # [B']
            self.n, self.correct = start + len(x), self.correct + len(keep)
            yield CorrectBatch(x[keep], y[keep], start + keep.cpu(), out.shape[1])
            if self.progress is not None:
                self.progress(self.part, self.n, max(total, self.n))
        check_not_empty(self.n)


def logits_of(model: nn.Module, call: Call | None, route: Route) -> Callable[[Tensor], Tensor]:
    """Return the forward pass x → logits that `evaluate` describes."""
    return model if call is None else (lambda x: call(model, x, route))


def batches(
    data: DataLoader[Any] | Dataset[Any], batch_size: int, unpack: Unpack | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (x, y) in the order of a dataset, or as a loader yields them; global random states do not change."""
    if isinstance(data, DataLoader):
        loader: Iterable[Any] = data
    elif isinstance(data, IterableDataset):
        loader = DataLoader(data, batch_size, generator=generator(0, "evaluation order"))
    else:
        loader = loaded_in_order(data, batch_size, what="test")
    for batch in loader:
        yield (batch[0], batch[1]) if unpack is None else unpack(batch)


def count(data: DataLoader[Any] | Dataset[Any]) -> int:
    """Return how many examples `batches` will yield, or 0 if this is not known in advance (used for progress only)."""
    with suppress(TypeError, NotImplementedError):
        if isinstance(data, DataLoader):
            whole = len(data.sampler)  # type: ignore[arg-type]  # samplers of endless streams have no length
            return len(data) * (data.batch_size or 1) if data.drop_last else whole
        return len(data)  # type: ignore[arg-type]  # map-style datasets have a length
    return 0


def check_not_empty(n: int) -> None:
    """Check that there are examples to divide by.

    Raises:
        RequirementError: `n` is 0.
    """
    if n == 0:
        why = "there is nothing to evaluate: the data holds no examples."
        raise RequirementError(why)
