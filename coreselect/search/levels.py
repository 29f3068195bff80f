"""What is known of rows that were scored at an earlier query, and how far that reaches.

Let ŝ_m be the score of row m at the query q₀, with an error of at most e_m. For a later query q and any β > 0,

    ⟨r_m, q⟩ = β⟨r_m, q₀⟩ + ⟨r_m, q − βq₀⟩ ≤ β(ŝ_m + e_m) + ‖r_m‖·‖q − βq₀‖      (Cauchy–Schwarz)

With β = ⟨q, q₀⟩ / ‖q₀‖² the last norm is smallest. So the largest score at q among some rows is at most β F(‖q − βq₀‖ / β),

    F(x) = max over these rows of (ŝ_m + e_m + x‖r_m‖)

F is convex and does not decrease, hence a chord between two of its points lies above it: most questions need no look at the
rows. Everything here is computed in float64, with margins for its own rounding.
"""

from bisect import bisect_left
from dataclasses import dataclass

import torch
from torch import Tensor

from coreselect.gradients.rows import SAFE, SomeRows, gamma

AHEAD = 1.5  # a new point of F is placed beyond the question, so that it answers the next ones too
ROUNDING = 1e-12  # relative, of a difference of two queries computed in float64


@dataclass(frozen=True)
class Query:
    """A query as it is scored, [W], the same in float64, and its norm."""

    seen: Tensor
    exact: Tensor
    norm: float

    @classmethod
    def of(cls, query: Tensor, device: torch.device) -> "Query":
        """Take a query [W] to the device of the rows."""
        seen = query.detach().to(device)
        return cls(seen, seen.double(), float(seen.double().norm()))


class Rest:
    """F of some rows, by the points at which it was asked.

    Args:
        upper: ŝ_m + e_m, float64 [n]; −∞ for rows that do not belong.
        norms: at least ‖r_m‖₂, float64 [n].
    """

    def __init__(self, upper: Tensor, norms: Tensor) -> None:
        self._upper, self._norms = upper, norms
        self._at, self._most = [0.0], [float(upper.max())]

    def stays_below(self, x: float, limit: float) -> bool:
        """Say whether F(x) < limit, x ≥ 0."""
        if self._bound(x) < limit:
            return True
        if x > self._at[-1] and self._evaluate(AHEAD * x) < limit:
            return True
        return self._evaluate(x) < limit

    def _bound(self, x: float) -> float:
        """Return a number ≥ F(x) from known points; ∞ beyond the last of them."""
        right = bisect_left(self._at, x)
        if right == len(self._at):
            return float("inf")
        if self._at[right] == x:
            return self._most[right]
        share = (x - self._at[right - 1]) / (self._at[right] - self._at[right - 1])
        return self._most[right - 1] + share * (self._most[right] - self._most[right - 1])

    def _evaluate(self, x: float) -> float:
        value = float(torch.add(self._upper, self._norms, alpha=x).max())
        place = bisect_left(self._at, x)
        self._at.insert(place, x)
        self._most.insert(place, value)
        return value


class Level:
    """Rows with their scores at one query; an inner level holds the best of them and is scored more often.

    Args:
        rows: what scores them.
        ids: their numbers, int64 [n], ascending; None: all rows, 0…n−1.
        norms: at least ‖r_m‖₂, float64 [n].
        slack: the error of a score for a query of norm 1, float64 [n].

    Attributes:
        query: at which they were scored last; None: never.
        lower, upper: bounds on ⟨r_m, query⟩ as float64 decides it, float64 [n]; ∓∞ where the score is not finite.
        alive: bool [n].
    """

    def __init__(self, rows: SomeRows, ids: Tensor | None, norms: Tensor, slack: Tensor) -> None:
        self._rows, self._ids, self._norms, self._slack = rows, ids, norms, slack
        self._rest: Rest | None = None  # those that are in no inner level
        self._error: tuple[Tensor, Tensor] | None = None  # of a score: for a query of norm 1, and what does not scale
        self.query: Query | None = None
        self.lower = self.upper = self.alive = norms

    def __len__(self) -> int:
        return len(self._norms)

    def score(self, query: Query, alive: Tensor) -> bool:
        """Score the rows at a query, alive bool [M], and say whether that took a pass over them; at the same query it does not."""
        self.alive = alive if self._ids is None else alive[self._ids]
        if self.query is not None and torch.equal(self.query.exact, query.exact):
            return False
        scores = self._rows.scores(query.seen)
        if self._error is None:
            width = len(query.exact)
            vanished = width * torch.finfo(scores.dtype).tiny * (1 + self._norms)  # products below the type's range
            self._error = self._slack + gamma(width, torch.float64) * self._norms, vanished
        error = torch.add(self._error[1], self._error[0], alpha=query.norm)
        self.lower, self.upper = scores - error, scores + error
        unknown = ~torch.isfinite(scores)
        if bool(unknown.any()):
            self.lower.masked_fill_(unknown, float("-inf"))
            self.upper.masked_fill_(unknown, float("inf"))
        self.query, self._rest = query, None
        return True

    def floor(self) -> float:
        """Return a score that the best row alive has at least; −∞ if none is alive."""
        return float(self.lower.masked_fill(~self.alive, float("-inf")).max())

    def may_be_best(self, floor: float) -> Tensor:
        """Return the numbers of the rows alive that may have a score of `floor` or more, int64, ascending."""
        found = ((self.upper >= floor) & self.alive).nonzero().flatten()
        return found if self._ids is None else self._ids[found]

    def rules_out_the_rest(self, query: Query, floor: float) -> bool:
        """Say whether every row that is in no inner level is below `floor` at a query."""
        if self._rest is None or self.query is None:
            return False
        before = self.query
        beta = float(query.exact @ before.exact) / before.norm**2 if before.norm > 0 else 1.0
        if not beta > 0:
            return False
        moved = SAFE * float((query.exact - beta * before.exact).norm())
        moved += ROUNDING * (query.norm + beta * before.norm)
        return self._rest.stays_below(moved / beta, floor / beta)

    def best(self, count: int) -> "Level":
        """Return the best of them as an inner level, and keep what bounds the rest."""
        upper = self.upper.masked_fill(~self.alive, float("-inf"))
        inside = upper.topk(count, sorted=False).indices.sort().values
        self._rest = Rest(upper.index_fill_(0, inside, float("-inf")), self._norms)
        ids = inside if self._ids is None else self._ids[inside]
        inner = Level(self._rows.take(inside), ids, self._norms[inside], self._slack[inside])
        inner.query = self.query
        inner.lower, inner.upper, inner.alive = self.lower[inside], self.upper[inside], self.alive[inside]
        return inner
