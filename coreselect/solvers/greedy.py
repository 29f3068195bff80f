"""Pick – step – refresh: Algorithm 1 of Xu et al., *Efficient adversarial contrastive learning via robustness-aware coreset
selection*, NeurIPS 2023, on vectors: it needs rows, a query and a search, and does not know what they stand for.

    repeat:  m = argmax over the rest of ⟨r_m, q(θ′)⟩;   θ′ ← θ′ − η r_m;   q ← ∇ L_RD(U; θ′)

The budget counts examples and is met exactly: the last group is trimmed, its row is computed again from the members that are
kept, and its step has weight kept/size.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

from coreselect.errors import NonFiniteError
from coreselect.gradients.rows import Rows, argmax
from coreselect.protocols import Search
from coreselect.types import Trace

Recraft = Literal["once", "halfway", "every"] | int


class Query(Protocol):
    """The part of a validation objective that greedy uses."""

    def query(self, theta: Tensor) -> Tensor:
        """θ′ [P] → its gradient [P]."""
        ...

    def recraft(self, theta: Tensor) -> None:
        """Attack the validation inputs again, at θ′."""
        ...


def greedy(
    rows: Rows,
    objective: Query,
    search: Search,
    *,
    theta: Tensor,
    eta: float,
    budget: int,
    refresh: int = 1,
    recraft: Recraft = "once",
    first: Tensor | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> tuple[Trace, Tensor]:
    """Choose groups until they hold `budget` examples.

    Args:
        rows: of M groups, at θ.
        objective: gives q(θ′).
        search: over the same rows, made for this run: it may remember its last pass over them.
        theta: θ [P]; it is not changed.
        eta: η > 0, the scratch step per pick.
        budget: how many examples; at most as many as all groups hold.
        refresh: how many picks between two queries, ≥ 1.
        recraft: when to attack again: `"once"` (never after the start), `"halfway"` (when half of the budget is held), `"every"`
            refresh, or after so many picks.
        first: q(θ), if the caller has it already.
        tick: called with (examples held, budget).
    Returns:
        The trace, and θ′ [P] after the last step.
    Raises:
        NonFiniteError: the query is not finite: θ′ has diverged.
    """
    here = theta.clone()
    alive = torch.ones(rows.count, dtype=torch.bool)
    query = objective.query(here) if first is None else first
    order: list[int] = []
    gains: list[float] = []
    kept: list[int] = []
    held = 0
    while held < budget:
        picks = len(order)
        if not picks or recraft == "once":
            attack_again = False
        elif recraft == "halfway":
            attack_again = held - kept[-1] < budget / 2 <= held
        else:
            attack_again = picks % (refresh if recraft == "every" else recraft) == 0
        if attack_again:
            objective.recraft(here)
        if picks and (attack_again or picks % refresh == 0):
            query = objective.query(here)
        if not bool(torch.isfinite(query).all()):
            raise NonFiniteError(
                f"the validation gradient is not finite after {picks} picks: give a smaller eta than {eta}."
            )
        seen = rows.project(query)
        m, score = argmax(rows, search.propose(seen, alive), seen)
        group = rows.groups[m]
        take = min(len(group), budget - held)
        whole = take == len(group)
        share = take / len(group)
        row = rows.full(m, None if whole else group[:take]).to(here)  # rows may lie on another device
        if not whole or len(seen) != len(query) or seen is not query:  # trimmed or sketched: another row was scored
            score = float(row.double() @ query.double())
        here = here - eta * share * row
        alive[m] = False
        order.append(m)
        gains.append(eta * share * score)
        kept.append(take)
        held += take
        if tick is not None:
            tick(held, budget)
    return Trace(tuple(order), tuple(gains), tuple(kept)), here
