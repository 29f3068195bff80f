"""Standard and robust accuracy of a classifier; a point counts as robust only if no iterate of the attack fools it.

Source: PGD of Madry et al., ICLR 2018, with 20 steps of 2/255 in a ball of 8/255 as is usual in the field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from coreselect.attacks import PGD
from coreselect.errors import RequirementError
from coreselect.protocols import Attack, Call, Progress, Route, Views
from coreselect.support.seeding import generator, noise, seeds
from coreselect_integrations.training.modes import evaluating

Unpack = Callable[[Any], tuple[Tensor, Tensor]]  # batch -> (x, y)

PGD20 = PGD(8 / 255, 2 / 255, 20)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`standard` and `robust` accuracy in [0, 1] of `n` examples, in wall-clock `seconds`; robust ≤ standard."""

    standard: float
    robust: float
    n: int
    seconds: float


def evaluate(
    model: nn.Module,
    data: DataLoader[Any] | Dataset[Any],
    *,
    attack: Attack = PGD20,
    batch_size: int = 256,
    seed: int = 0,
    call: Call | None = None,
    route: Route = "adversarial",
    unpack: Unpack | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure standard and robust accuracy, worst over the iterates of the attack.

    Each example's random start is a function of (seed, position) alone, so neither `batch_size` nor the split into
    batches moves it. Only examples that are right without attack are attacked.

    Args:
        model: [B, …] → logits [B, classes]; its modes, flags and gradients are as before afterwards.
        data: a labelled dataset, or a loader of one; the position in a loader is the order in which it yields.
        attack: raises the cross-entropy; every input it asks the slope at is an iterate, and so is its answer.
        batch_size: of the batches made from a dataset; only memory and time depend on it.
        seed: of the random starts.
        call: (model, x, route) → logits; None means model(x).
        route: given to `call` for natural and attacked inputs alike: a deployed classifier does not know which it sees.
        unpack: batch → (x, y); None takes its first two entries.
        device: where batches are moved; None leaves them.
        progress: called with ("evaluation", examples done, examples in all) after each batch.
    Raises:
        RequirementError: there are no examples.
    """
    start = perf_counter()
    logits = logits_of(model, call, route)
    total, n, standard, robust = count(data), 0, 0, 0
    with evaluating(model):
        for x, y in batches(data, batch_size, unpack):
            x, y = x.to(device), y.to(device)  # [B, …], [B]
            own = seeds(seed, "evaluation", indices=np.arange(n, n + len(x)))  # [B]
            with torch.no_grad():
                right = logits(x).argmax(1) == y  # [B]
            keep = right.nonzero().squeeze(1)
            n, standard = n + len(x), standard + len(keep)
            if len(keep):
                robust += survivors(logits, x[keep], y[keep], attack, noise(x[keep], own[keep.cpu().numpy()]))
            if progress is not None:
                progress("evaluation", n, max(total, n))
    refuse_nothing(n)
    return Evaluation(standard / n, robust / n, n, perf_counter() - start)


def survivors(logits: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, attack: Attack, start: Tensor) -> int:
    """Count the examples that no iterate of the attack fools.

    Args:
        logits: [B, …] → [B, classes].
        x, y: [B, …] and [B].
        attack: see `evaluate`.
        start: uniform in [−1, 1), of the shape of x.
    """
    fooled = torch.zeros_like(y, dtype=torch.bool)  # [B]

    def ascend(views: Views) -> Tensor:
        out = logits(views[0])  # [B, classes]
        fooled.logical_or_(out.detach().argmax(1) != y)
        return F.cross_entropy(out, y, reduction="sum")

    final = attack(ascend, (x,), (start,))
    with torch.no_grad():
        ascend(final)
    return len(y) - int(fooled.sum())


def logits_of(model: nn.Module, call: Call | None, route: Route) -> Callable[[Tensor], Tensor]:
    """Return the forward pass x → logits that `evaluate` describes."""
    return model if call is None else (lambda x: call(model, x, route))


def batches(
    data: DataLoader[Any] | Dataset[Any], batch_size: int, unpack: Unpack | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (x, y) in the order of a dataset, or as a loader yields them; no global random state moves."""
    loader = (
        data
        if isinstance(data, DataLoader)
        else DataLoader(data, batch_size, generator=generator(0, "evaluation order"))
    )
    for batch in loader:
        yield (batch[0], batch[1]) if unpack is None else unpack(batch)


def count(data: DataLoader[Any] | Dataset[Any]) -> int:
    """Say how many examples `batches` will yield, 0 where that is not known beforehand (for progress only)."""
    with suppress(TypeError, NotImplementedError):
        if isinstance(data, DataLoader):
            whole = len(data.sampler)  # type: ignore[arg-type]  # samplers of endless streams have no length
            return len(data) * (data.batch_size or 1) if data.drop_last else whole
        return len(data)  # type: ignore[arg-type]  # map-style datasets have a length
    return 0


def refuse_nothing(n: int) -> None:
    """Refuse to divide by no examples.

    Raises:
        RequirementError: `n` is 0.
    """
    if n == 0:
        why = "there is nothing to evaluate: the data holds no examples."
        raise RequirementError(why)
