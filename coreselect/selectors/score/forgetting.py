"""Forgetting events: Toneva, Sordoni, Tachet des Combes, Trischler, Bengio, Gordon, "An Empirical Study of Example
Forgetting during Deep Neural Network Learning", ICLR 2019.

    f_i = #{t : correct at t, incorrect at t + 1},   f_i = +∞ where i was never correct

over the times t that training has seen i. `forgetting` reads whichever inputs the updates were made on, as the paper does;
`forgetting_adv` insists on a history of attacked inputs.
"""

from dataclasses import dataclass

from coreselect.history import Record
from coreselect.selectors.score.ranking import Ranked, Scores, recorded
from coreselect.task.snapshot import Snapshot


@dataclass(frozen=True)
class Forgetting(Ranked):
    """Keep the examples that training forgot most often; those never learned come first."""

    name = "forgetting"
    needs = frozenset({"history"})

    def score(self, shot: Snapshot) -> Scores:
        return self.of(*recorded(shot))

    def of(self, record: Record, notes: tuple[str, ...]) -> Scores:
        """Return the scores of a record, noting how many examples it has nothing of."""
        unseen = int((record.seen == 0).sum())
        extra = (
            (f"{unseen} of {len(record.seen)} examples were never seen and count as never learned",) if unseen else ()
        )
        return Scores(record.forgetting, notes + extra)


@dataclass(frozen=True)
class ForgettingAdv(Forgetting):
    """Keep the examples that adversarial training forgot most often; those never learned come first."""

    name = "forgetting_adv"

    def score(self, shot: Snapshot) -> Scores:
        return self.of(*recorded(shot, attacked=True))
