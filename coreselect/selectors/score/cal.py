"""Contrastive active learning: Margatina, Vernikos, Barrault, Aletras, "Active Learning by Acquiring Contrastive Examples",
EMNLP 2021.

    s_i = (1/K) Σ_{j∈N(i)} KL(p_j ‖ p_i),   keep highest

N(i) are the K nearest examples in feature space, and p the current model's probabilities. In the paper the neighbours are
labelled examples; here they are examples of the pool, because the whole pool is training data. No label is read.
"""

from dataclasses import dataclass

import numpy as np

from coreselect.errors import ShapeError
from coreselect.planning.needs import NaturalPass, Need, OwnWork, Sizes
from coreselect.selectors.checks import finite_logits, log_probabilities
from coreselect.selectors.score.nearest import nearest_others, neighbour_work, refuse_large
from coreselect.selectors.score.ranking import Ranked, Scores
from coreselect.support.limits import Needs
from coreselect.task.snapshot import Snapshot

BLOCK_BYTES = 32 << 20  # of neighbours' probabilities that are processed at once


@dataclass(frozen=True)
class CAL(Ranked):
    """Keep the examples whose prediction differs most from those of their neighbours.

    Args:
        neighbours: K ≥ 1; published 10. If there are fewer other examples, all of them.
    """

    neighbours: int = 10
    name = "cal"
    needs = frozenset({"features", "logits"})

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ShapeError(f"cal needs at least 1 neighbour, got {self.neighbours}.")

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on features: the neighbours of every example."""
        return neighbour_work(sizes.n, self.neighbours)

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what a selection needs: one pass, and the comparison of predictions."""
        return NaturalPass(sizes.n), self._comparison(sizes.n)

    def _comparison(self, n: int) -> OwnWork:
        """Return the work on predictions of C classes: those of K neighbours of every example, kept in float64."""
        return OwnWork("logits", lambda c: Needs(read=(64 + 40 * self.neighbours) * n * c, memory=8 * n * c + 32 * n))

    def score(self, snapshot: Snapshot) -> Scores:
        refuse_large(snapshot, self.neighbours, self.name)
        logits = finite_logits(snapshot, needs=self._comparison(snapshot.n).of, name=self.name)
        log_p = np.empty(tuple(logits.shape))  # [n, C]
        for rows, block in log_probabilities(logits):
            log_p[rows] = block
        near, _ = nearest_others(snapshot, self.neighbours, self.name)  # [n, K]
        score, K = np.zeros(snapshot.n), near.shape[1]
        step = max(1, BLOCK_BYTES // (8 * max(1, K) * log_p.shape[1]))
        for at in range(0, snapshot.n if K else 0, step):
            log_q = log_p[near[at : at + step]]  # [b, K, C]
            kl = (np.exp(log_q) * (log_q - log_p[at : at + step, None])).sum(2)  # [b, K]
            score[at : at + step] = kl.mean(1)
        return Scores(score)
