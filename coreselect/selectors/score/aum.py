"""Area under the margin: Pleiss, Zhang, Elenberg, Weinberger, "Identifying Mislabeled Data using the Area Under the Margin
Ranking", NeurIPS 2020.

    AUM_i = (1/T) Σ_t z_y(x_i; θ_t) − max_{c≠y} z_c(x_i; θ_t)

on logits, over the T times that training has seen i. Low: hard, or with a wrong label; high: easy.
"""

from dataclasses import dataclass

from coreselect.selectors.score.predictions import training_record
from coreselect.selectors.score.ranking import End, Ranked, Scores, check_end
from coreselect.task.snapshot import Snapshot


@dataclass(frozen=True)
class AUM(Ranked):
    """Keep the examples whose margin over training was lowest, or highest.

    Args:
        keep: "lowest": the hard examples; "highest": drops examples that may have a wrong label (the paper's use).
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

    def score(self, snapshot: Snapshot) -> Scores:
        record, notes = training_record(snapshot)
        return Scores(record.aum, notes)
