"""First-order gains against true decreases of the objective, for some groups of the pool.

predicted(m) = η⟨r_m, q⟩,  q = ∇RD(U; θ)              true(m) = RD(U; θ) − RD(U; θ − η r_m)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from coreselect.certificates.diagnostics import rank_correlation
from coreselect.gradients.sketch import Sketch
from coreselect.objectives import Objective
from coreselect.task.task import ModelTask
from coreselect.types import Int64
from coreselect_integrations.comparison.fidelity_report import Agreement
from coreselect_integrations.comparison.set_value import open_objective, value_after_step


@dataclass(frozen=True, slots=True)
class Prediction:
    """Numbers of M groups, each float64 [M].

    `gains` and `sketched` are first-order gains of exact and of sketched rows. `held` and `recrafted` are true decreases after
    one step: with the same attacked inputs, and with a new attack.
    """

    gains: Tensor
    sketched: Tensor
    held: Tensor
    recrafted: Tensor


def agree(
    task: ModelTask, objective: Objective, groups: Sequence[Int64], eta: float, seed: int, sketch: Sketch
) -> tuple[Agreement, ...]:
    """Compare gains with true decreases: rows of the head and of the whole model, exact and sketched, and steps on both."""
    head = predict(replace(task, capture=None), objective, groups, eta, seed, sketch)
    whole = predict(replace(task, capture="all"), objective, groups, eta, seed, sketch)
    pairs = (
        ("head", head.gains, "head", head), ("head", head.gains, "whole", whole),
        ("whole", whole.gains, "whole", whole), ("whole, sketched", whole.sketched, "whole", whole),
    )  # fmt: skip
    return tuple(
        Agreement(name, step, rank_correlation(gains, true.held), rank_correlation(gains, true.recrafted))
        for name, gains, step, true in pairs
    )


def predict(
    task: ModelTask,
    objective: Objective,
    groups: Sequence[Int64],
    eta: float,
    seed: int = 0,
    sketch: Sketch | None = None,
) -> Prediction:
    """Compute first-order gains of some groups, and the true decreases after one step θ − η r_m.

    Args:
        groups: M arrays of pool positions; one full row [P] is in memory at a time.
        sketch: of the rows for the `sketched` gains.
    """
    sketch = sketch or Sketch()
    found: list[tuple[float, float, float, float]] = []
    with task.snapshot(seed, 0) as shot:
        held, theta = open_objective(shot, objective), shot.theta()  # [P]
        q, before = held.query(theta), held.value(theta)
        short = sketch(q)  # [W]
        for m, group in enumerate(groups):
            r = shot.rows([group])[0].full(0).to(theta)  # [P]
            stepped = theta - eta * r
            gain, rough = (float(a.double() @ b.double()) for a, b in ((r, q), (sketch(r), short)))
            again = before - value_after_step(held, stepped, eta)
            found.append((eta * gain, eta * rough, before - held.value(stepped), again))
            shot.progress("groups", m + 1, len(groups))
    return Prediction(*torch.tensor(found, dtype=torch.float64).T)
