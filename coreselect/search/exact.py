"""The reference search: one matrix–vector product over all rows."""

from torch import Tensor

from coreselect.gradients.rows import Rows


class ExactSearch:
    """Score every row, and propose those that rounding cannot tell from the largest."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self.slack = rows, rows.slack

    def scores(self, query: Tensor) -> Tensor:
        """Compute every ⟨row, query⟩: query [P or W] → [M]."""
        return self._rows.scores(query)

    def propose(self, query: Tensor, alive: Tensor) -> Tensor:
        """query [P or W], alive bool [M] → int64 [≥1]."""
        return within_rounding(self.scores(query), self.slack * float(query.double().norm()), alive)


def within_rounding(scores: Tensor, slack: Tensor, alive: Tensor) -> Tensor:
    """Return the rows m that are still alive and have score_m + slack_m ≥ max over alive rows of (score − slack)."""
    alive = alive.to(scores.device)
    slack = slack.to(scores)
    floor = (scores - slack).masked_fill(~alive, float("-inf")).max()
    return ((scores + slack >= floor) & alive).nonzero().flatten()
