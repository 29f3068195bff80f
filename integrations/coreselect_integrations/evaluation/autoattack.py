"""Robust accuracy under AutoAttack: the share of examples that no attack of the ensemble fools.

    robust = #{i : h(x_i) = y_i and h(a(x_i)) = y_i for every attack a}/n,  ‖a(x) − x‖ ≤ radius, a(x) in [0, 1]

The standard ensemble is APGD on the cross-entropy, APGD on the targeted difference of logits ratio (DLR), targeted FAB
and Square. They run in this order, and each attacks only the examples that the attacks before it did not fool. The attacks
come from the package `pyautoattack` (`attack_ensemble.py`). Source: Croce & Hein, "Reliable evaluation of adversarial
robustness with an ensemble of diverse parameter-free attacks", ICML 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from coreselect.protocols import Call, Progress, Route
from coreselect.support.devices import device_for
from coreselect.support.seeding import derive, rng_kept
from coreselect_integrations.evaluation.accuracy import Evaluation
from coreselect_integrations.evaluation.attack_ensemble import (
    Ensemble,
    Norm,
    check_classes,
    check_inputs,
    check_names,
    load_package,
)
from coreselect_integrations.evaluation.checks import check_finite
from coreselect_integrations.evaluation.reading import CorrectExamples, Unpack, logits_of
from coreselect_integrations.training.contexts import evaluation_mode

SLACK = 1e-4  # rounding may make a perturbation longer by this share of the radius


@dataclass(frozen=True, slots=True)
class AutoAttackEvaluation(Evaluation):
    """An `Evaluation`, and the accuracy left `after` each attack, in [0, 1], in the order they ran.

    The last one is `robust`. `square` needs no gradients. If it lowers the accuracy by more than 0.002 after the others, the
    gradients are misleading, and the true robust accuracy may be lower still.
    """

    after: Mapping[str, float]


def autoattack(
    model: nn.Module,
    data: DataLoader[Any] | Dataset[Any],
    *,
    radius: float = 8 / 255,
    norm: Norm = "linf",
    attacks: Sequence[str] | None = None,
    batch_size: int = 128,
    seed: int = 0,
    call: Call | None = None,
    route: Route = "adversarial",
    unpack: Unpack | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    steps: int = 100,
    queries: int = 5000,
) -> AutoAttackEvaluation:
    """Measure standard and robust accuracy under AutoAttack; the defaults are its standard version.

    Only examples that are correct without attack are attacked, and each attack gets only those that the attacks before it
    did not fool. A result of an attack counts if it is inside the ball and in [0, 1]. Targeted attacks try the 9 most likely
    wrong classes (APGD in l₁ the 5 most likely), or all wrong classes if there are fewer. Random draws depend on `seed`, the
    attack and the batch, so another `batch_size` can change the result; global random states do not change. The model must
    be deterministic.

    Args:
        model: [B, C, H, W] in [0, 1] → logits [B, classes]; its modes, flags and gradients are restored afterwards.
        data: a labelled dataset, or a loader of one.
        radius: of the ball, in units of pixels in [0, 1]; > 0.
        norm: `linf`, `l2` or `l1`.
        attacks: names of `STANDARD`, run in the given order; None means all of them.
        batch_size: of the batches made from a dataset.
        seed: of every draw.
        call: (model, x, route) → logits; None means model(x).
        route: passed to `call` for natural and attacked inputs alike.
        unpack: batch → (x, y); None takes its first two entries.
        device: where batches are moved; None means the device of the model.
        progress: called with ("autoattack", examples done, examples in all) after each batch.
        steps: of APGD and FAB, ≥ 2; the standard version has 100.
        queries: of Square, ≥ 1; the standard version has 5,000.
    Raises:
        MissingExtraError: `pyautoattack` is not installed.
        UnknownNameError: another norm or attack.
        RequirementError: there are no examples, a number is out of range, or there are too few classes for an attack. (`apgd-t`
            needs four: its DLR divides by a difference between the best and the third and fourth logit.)
        OutOfBoundsError: inputs outside [0, 1].
        ShapeError: inputs of a shape that Square cannot attack, no logits of two or more classes, or labels that are no class
            numbers.
        DataError: labels are fractions.
        NonFiniteError: logits at natural or attacked inputs hold NaN or infinity; `indices` are positions in the data.

    Source: Croce & Hein 2020, section 6 (the standard version).
    """
    start = perf_counter()
    names, device = check_names(attacks, norm), device_for(model, device)
    load_package()
    ensemble = Ensemble(radius, norm, steps, queries)
    forward, left = logits_of(model, call, route), dict.fromkeys(names, 0)
    correct = CorrectExamples(
        forward, data, "autoattack", batch_size=batch_size, unpack=unpack, device=device, progress=progress,
        check_inputs=partial(check_inputs, names=names, norm=norm), check_outputs=partial(check_classes, names=names),
    )  # fmt: skip
    with evaluation_mode(model), _random_states_kept():
        for i, batch in enumerate(correct):
            x, y, at = batch.x.clamp(0, 1).contiguous(), batch.y, batch.positions  # [B', C, H, W], [B'], [B']
            for name in names:
                if len(x):
                    own_seed = derive(seed, "autoattack", name, i)
                    logits = _for_package(forward, x, at)
                    attack = ensemble.attack(name, logits, batch.classes, x.device, own_seed)
                    adversarial = attack.perturb(x.float().clone(), y.clone()).to(x)  # [B', C, H, W]
                    alive = ~fooled(forward, x, y, adversarial, radius, norm)  # [B']
                    x, y, at = x[alive], y[alive], at[alive.cpu()]
                left[name] += len(x)
    after = {name: alive / correct.n for name, alive in left.items()}
    standard = correct.correct / correct.n
    return AutoAttackEvaluation(standard, after[names[-1]], correct.n, perf_counter() - start, after)


def fooled(
    forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, adversarial: Tensor, radius: float, norm: Norm
) -> Tensor:
    """Say which results of an attack count: wrongly classified, inside the ball (up to rounding) and in [0, 1].

    Args:
        forward: [B, …] → logits [B, classes].
        x, adversarial: [B, …].
        y: [B].
        radius, norm: of the ball.
    Returns:
        bool [B]; a result that is not finite does not count.
    """
    p = {"linf": math.inf, "l2": 2.0, "l1": 1.0}[norm]
    flat = adversarial.flatten(1)  # [B, D]
    length = torch.linalg.vector_norm((flat - x.flatten(1)).double(), p, dim=1)  # [B]
    inside = (length <= radius * (1 + SLACK) + 1e-6) & (flat >= -1e-6).all(1) & (flat <= 1 + 1e-6).all(1)
    with torch.no_grad():
        return inside & (forward(adversarial).argmax(1) != y)


def _for_package(forward: Callable[[Tensor], Tensor], natural: Tensor, positions: Tensor) -> Callable[[Tensor], Tensor]:
    """Take float32 inputs and give a new float32 tensor of logits: Square overwrites the logits that it gets.

    Args:
        natural: [B, …], the examples that are attacked; a bad input is named by the example that is nearest.
        positions: int64 [B], theirs in the data.
    Raises:
        NonFiniteError: logits of an attacked input hold NaN or infinity.
    """

    def logits(x: Tensor) -> Tensor:
        out = forward(x.to(natural.dtype)).float().clone()  # [B', classes]
        bad = ~out.isfinite().all(1)
        if bool(bad.any()):
            near = torch.cdist(x[bad].flatten(1).double(), natural.flatten(1).double()).argmin(1).unique()
            finite = torch.ones(len(natural), dtype=torch.bool, device=near.device).index_fill(0, near, False)
            check_finite(finite, positions, "attacked inputs")
        return out

    return logits


@contextmanager
def _random_states_kept() -> Iterator[None]:
    """Restore every global random state at the end, because the attacks seed torch's, on CPU and accelerators."""
    if torch.cuda.is_available():
        torch.cuda.init()  # otherwise CUDA would be seeded at its first use, after the states are restored
    with rng_kept():
        yield
