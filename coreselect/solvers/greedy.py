"""Pick – step – refresh: Algorithm 1 of Xu et al., *Efficient adversarial contrastive learning via robustness-aware coreset
selection*, NeurIPS 2023, over vectors; it knows rows, a query and a search, not what they mean.

    repeat:  m = argmax over the rest of ⟨r_m, q(θ′)⟩;   θ′ ← θ′ − η r_m;   q ← ∇ L_RD(U; θ′)

The budget counts examples and is met exactly: the last group is trimmed, its row recomputed on what is kept, and stepped
with weight kept/size.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

from coreselect.errors import NonFiniteError
from coreselect.gradients.rows import Rows, argmax
from coreselect.protocols import Search
from coreselect.types import Trace

Recraft = Literal["once", "every"] | int


class Query(Protocol):
    """The validation objective as greedy sees it."""

    def query(self, theta: Tensor) -> Tensor:
        """θ′ [P] → its gradient [P]."""
        ...

    def recraft(self, theta: Tensor) -> None:
        """Attack the validation inputs anew, at θ′."""
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
    """Choose groups until `budget` examples are held; return the trace and θ′ [P] after the last step.

    Args:
        rows: M groups' rows at θ.
        objective: gives q(θ′); `first` is q(θ) where the caller has it already.
        search: over the same rows.
        theta: θ [P], not changed.
        eta: η > 0, the scratch step per pick.
        budget: how many examples, at most those in the groups together.
        refresh: renew the query every so many picks, ≥ 1.
        recraft: attack anew `"once"` (never after the start), `"every"` refresh, or every so many picks.
        tick: called with (examples held, budget).
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
        anew = recraft != "once" and picks % (refresh if recraft == "every" else recraft) == 0
        if picks and anew:
            objective.recraft(here)
        if picks and (anew or picks % refresh == 0):
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
        row = rows.full(m, None if whole else group[:take])
        if (
            not whole or len(seen) != len(query) or seen is not query
        ):  # trimmed or sketched: the score is of another row
            score = float(row.double() @ query.double())
        here = here - eta * share * row.to(here)
        alive[m] = False
        order.append(m)
        gains.append(eta * share * score)
        kept.append(take)
        held += take
        if tick is not None:
            tick(held, budget)
    return Trace(tuple(order), tuple(gains), tuple(kept)), here
