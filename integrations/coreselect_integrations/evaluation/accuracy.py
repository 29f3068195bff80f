"""Standard and robust accuracy of a classifier; an example is robust only if no iterate of the attack fools it.

Source: PGD of Madry et al., ICLR 2018, with 20 steps of 2/255 in a ball of 8/255, as is usual in the field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from coreselect.attacks import PGD
from coreselect.protocols import Attack, Call, Progress, Route, Views
from coreselect.support.bounds import check_inputs
from coreselect.support.devices import device_for
from coreselect.support.seeding import noise, seeds
from coreselect_integrations.evaluation.checks import check_finite
from coreselect_integrations.evaluation.reading import CorrectExamples, Unpack, logits_of
from coreselect_integrations.training.contexts import evaluation_mode

PGD20 = PGD(8 / 255, 2 / 255, 20)
Raised = Callable[[Tensor, Tensor], Tensor]  # (logits [B, classes], y [B]) → [B]


def cross_entropies(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of each example, [B]."""
    return F.cross_entropy(logits, y, reduction="none")


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
    raised: Raised = cross_entropies,
    batch_size: int = 256,
    seed: int = 0,
    call: Call | None = None,
    route: Route = "adversarial",
    unpack: Unpack | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure standard accuracy, and robust accuracy as the worst case over the iterates of the attack.

    The random start of each example depends on (seed, position) only, so `batch_size` and the split into batches do not
    change it. Only examples that are correct without attack are attacked.

    Args:
        model: [B, …] → logits [B, classes]; its modes, flags and gradients are restored afterwards.
        data: a labelled dataset, or a loader of one. With a loader, positions follow the order in which it yields.
        attack: every input at which it asks for the gradient is an iterate, and so is its result.
        raised: (logits [B, classes], y [B]) → [B], what the attack raises: the cross-entropy, or `margin`.
        batch_size: of the batches made from a dataset; it changes only memory and time.
        seed: of the random starts.
        call: (model, x, route) → logits; None means model(x).
        route: passed to `call` for natural and attacked inputs alike, because a deployed classifier cannot tell them apart.
        unpack: batch → (x, y); None takes its first two entries.
        device: where batches are moved; None means the device of the model.
        progress: called with ("evaluation", examples done, examples in all) after each batch.
    Raises:
        RequirementError: there are no examples, or the model is not on the device.
        OutOfBoundsError: inputs lie outside the bounds of the attack.
        ShapeError, DataError: the model gives no logits of two or more classes, or the labels are no class numbers of it.
        NonFiniteError: outputs at natural or attacked inputs hold NaN or infinity; `indices` are positions in the data.
    """
    start, robust = perf_counter(), 0
    device, logits = device_for(model, device), logits_of(model, call, route)
    correct = CorrectExamples(
        logits, data, "evaluation", batch_size=batch_size, unpack=unpack, device=device, progress=progress,
        check_inputs=partial(check_inputs, attack=attack),
    )  # fmt: skip
    with evaluation_mode(model):
        for batch in correct:
            own_seeds = seeds(seed, "evaluation", indices=batch.positions.numpy())  # [B']
            if len(batch.x):
                robust += count_robust(
                    logits, batch.x, batch.y, attack, noise(batch.x, own_seeds), batch.positions, raised
                )
    return Evaluation(correct.correct / correct.n, robust / correct.n, correct.n, perf_counter() - start)


def count_robust(
    logits: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    attack: Attack,
    start: Tensor,
    positions: Tensor | None = None,
    raised: Raised = cross_entropies,
) -> int:
    """Count the examples that no iterate of the attack fools; see `not_fooled`."""
    return int(not_fooled(logits, x, y, attack, start, positions, raised).sum())


def not_fooled(
    logits: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    attack: Attack,
    start: Tensor,
    positions: Tensor | None = None,
    raised: Raised = cross_entropies,
) -> Tensor:
    """Return bool [B]: which examples no iterate of the attack fools.

    Args:
        logits: [B, …] → [B, classes].
        x, y: [B, …] and [B].
        attack, raised: see `evaluate`.
        start: uniform in [−1, 1), of the shape of x.
        positions: int64 [B], of the examples in the data, for an error; None: 0…B−1.
    Raises:
        NonFiniteError: outputs at an iterate hold NaN or infinity.
    """
    fooled = torch.zeros_like(y, dtype=torch.bool)  # [B]
    finite = torch.ones_like(fooled)  # [B]

    def ascend(views: Views) -> Tensor:
        out = logits(views[0])  # [B, classes]
        fooled.logical_or_(out.detach().argmax(1) != y)
        finite.logical_and_(out.detach().isfinite().all(1))
        return raised(out, y).sum()

    final = attack(ascend, (x,), (start,))
    with torch.no_grad():
        ascend(final)
    check_finite(finite, torch.arange(len(y)) if positions is None else positions, "attacked inputs")
    return ~fooled
