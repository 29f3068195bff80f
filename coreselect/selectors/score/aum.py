"""Area under the margin: Pleiss, Zhang, Elenberg, Weinberger, "Identifying Mislabeled Data using the Area Under the Margin
Ranking", NeurIPS 2020.

    AUM_i = (1/T) Σ_t z_y(x_i; θ_t) − max_{c≠y} z_c(x_i; θ_t)

on logits, over the T times that training has seen i. Low: hard, or labelled wrongly; high: easy.
"""

from dataclasses import dataclass

from coreselect.selectors.score.ranking import End, Ranked, Scores, check_end, recorded
from coreselect.task.snapshot import Snapshot


@dataclass(frozen=True)
class AUM(Ranked):
    """Keep the examples whose margin was lowest over training, or highest.

    Args:
        keep: "lowest", the hard ones, or "highest", which drops what may be labelled wrongly (the paper's use).
    """

    keep: End = "lowest"
    name = "aum"
    needs = frozenset({"history"})
    hard = "lowest"

    def __post_init__(self) -> None:
        check_end(self.keep)

    @property
    def end(self) -> End:
        return self.keep

    def score(self, shot: Snapshot) -> Scores:
        record, notes = recorded(shot)
        return Scores(record.aum, notes)
