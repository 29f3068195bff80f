"""Forgetting events: Toneva, Sordoni, Tachet des Combes, Trischler, Bengio, Gordon, "An Empirical Study of Example
Forgetting during Deep Neural Network Learning", ICLR 2019.

    f_i = #{t : correct at t, incorrect at t + 1},   f_i = +∞ if i was never correct

over the times t that training has seen i. `forgetting` counts on the inputs of the updates, natural or attacked, as the paper
does; `forgetting_adv` requires a history of attacked inputs.
"""

from dataclasses import dataclass
from typing import ClassVar

from coreselect.selectors.score.predictions import training_record
from coreselect.selectors.score.ranking import Ranked, Scores
from coreselect.task.snapshot import Snapshot


@dataclass(frozen=True)
class Forgetting(Ranked):
    """Keep the examples that training forgot most often; those that it never learned come first."""

    name = "forgetting"
    needs = frozenset({"history"})
    needs_attacked: ClassVar[bool] = False

    def score(self, snapshot: Snapshot) -> Scores:
        record, notes = training_record(snapshot, attacked=self.needs_attacked)
        unseen = int((record.seen == 0).sum())
        if unseen:
            notes += (f"{unseen} of {len(record.seen)} examples were never seen and count as never learned",)
        return Scores(record.forgetting, notes)


@dataclass(frozen=True)
class ForgettingAdv(Forgetting):
    """Keep the examples that adversarial training forgot most often; those that it never learned come first."""

    name = "forgetting_adv"
    needs_attacked = True
