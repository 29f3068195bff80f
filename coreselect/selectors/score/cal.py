"""Contrastive active learning: Margatina, Vernikos, Barrault, Aletras, "Active Learning by Acquiring Contrastive Examples",
EMNLP 2021.

    s_i = (1/K) Σ_{j∈N(i)} KL(p_j ‖ p_i),   keep highest

N(i) are the K nearest examples in feature space, p the present model's probabilities. The paper's neighbours are labelled
examples; here, where all of the pool is the training set, they are the pool's. No label is read.
"""

from dataclasses import dataclass

import numpy as np

from coreselect.errors import ShapeError
from coreselect.selectors.geometry.graph import others
from coreselect.selectors.score.ranking import Ranked, Scores, log_probabilities
from coreselect.task.snapshot import Snapshot

BLOCK_BYTES = 32 << 20  # of neighbours' probabilities looked at at once


@dataclass(frozen=True)
class CAL(Ranked):
    """Keep the examples whose prediction differs most from their neighbours'.

    Args:
        neighbours: K ≥ 1; published 10. With fewer other examples than that, all of them.
    """

    neighbours: int = 10
    name = "cal"
    needs = frozenset({"features", "logits"})

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ShapeError(f"cal needs at least 1 neighbour, got {self.neighbours}.")

    def score(self, shot: Snapshot) -> Scores:
        log_p = log_probabilities(shot)  # [n, C]
        near, _ = others(shot, self.neighbours)  # [n, K]
        score, K = np.zeros(shot.n), near.shape[1]
        step = max(1, BLOCK_BYTES // (8 * max(1, K) * log_p.shape[1]))
        for at in range(0, shot.n if K else 0, step):
            log_q = log_p[near[at : at + step]]  # [b, K, C]
            kl = (np.exp(log_q) * (log_q - log_p[at : at + step, None])).sum(2)  # [b, K]
            score[at : at + step] = kl.mean(1)
        return Scores(score)
