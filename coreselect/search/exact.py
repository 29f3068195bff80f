"""The reference search: one matrix–vector product over all rows."""

from torch import Tensor

from coreselect.gradients.rows import Rows


class ExactSearch:
    """Score every row, and propose those that rounding cannot tell from the largest."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def propose(self, query: Tensor, alive: Tensor) -> Tensor:
        """query [P or W], alive bool [M] → int64 [≥1]."""
        return within_rounding(self._rows.scores(query), self._rows.slack * query.double().norm(), alive)


def within_rounding(scores: Tensor, slack: Tensor, alive: Tensor) -> Tensor:
    """Return the rows m that are still alive and have score_m + slack_m ≥ max over alive rows of (score − slack)."""
    alive = alive.to(scores.device)
    slack = slack.to(scores.dtype)
    floor = (scores - slack).masked_fill(~alive, float("-inf")).max()
    return ((scores + slack >= floor) & alive).nonzero().flatten()
