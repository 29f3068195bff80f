"""Importance sampling by what training has seen anyway: no sweep over the pool, no pass through the model.

    π_i ∝ (1 − α)/N + α·s_i / Σ_j s_j,  Σ π_i = k, π_i ≤ 1;    weight_i = k / (N π_i)

s_i is ‖p − e_y‖₂ when i was last seen: the gradient's norm at the logits of softmax cross-entropy, and up to a constant the
bound Ĝ_i on the norm of the whole gradient by which Katharopoulos and Fleuret draw, "Not All Samples Are Created Equal: Deep
Learning with Importance Sampling", ICML 2018; or the last loss. Exactly k are drawn, each i with probability π_i
(`drawing.py`), so (1/k) Σ weight_i·ℓ_i is an unbiased estimate of the pool's mean loss, however old the scores are: age costs
variance. The uniform share keeps every weight at most 1 / (1 − α).

Under NT-Xent a weight is of the two anchors of an example; what they are contrasted with is the batch as it was drawn.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import RequirementError, ShapeError, UnknownNameError, first_few
from coreselect.history import Record
from coreselect.protocols import TaskLike
from coreselect.selectors.sampling.drawing import capped, systematic
from coreselect.support.seeding import generator as seeded
from coreselect.types import Float64, Selection

Score = Literal["auto", "el2n", "loss"]


@dataclass(frozen=True)
class Importance:
    """Draw exactly k examples every epoch by their last gradient norm or loss in training; weights keep every mean unbiased.

    `CoresetSampler.weights` scales the weights to mean 1 over the draw, which biases its means by O(1/k).

    Args:
        score: "el2n", the last ‖p − e_y‖₂, which needs a history of logits; "loss", the last loss, ≥ 0; "auto": el2n where
            logits were recorded, else loss (contrastive training).
        alpha: share of the score in the probabilities, in [0, 1); 1 − α keeps every weight at most 1 / (1 − α).
    """

    score: Score = "auto"
    alpha: float = 0.5
    name = "importance"
    renew = "epoch"

    def __post_init__(self) -> None:
        if self.score not in get_args(Score):
            raise UnknownNameError(f"importance is drawn by 'auto', 'el2n' or 'loss', got {self.score!r}.")
        if not 0 <= self.alpha < 1:
            raise ShapeError(f"alpha must lie in [0, 1), got {self.alpha}.")

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"history"} if self.score == "el2n" else {"losses"})

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k, n = resolve(budget, shot.n), shot.n
            record: Record = shot.history()
            by_logits = record.attacked is not None if self.score == "auto" else self.score == "el2n"
            s = record.last_el2n if by_logits else _losses(record)  # [n]
            pi = inclusion(s, k, self.alpha)
            picks = systematic(pi, seeded(shot.draws, "importance", round))
            notes = (f"drawn by the last {'‖p − e_y‖₂' if by_logits else 'loss'} of each example in training",)
            if by_logits and record.attacked:
                notes += ("the history is of attacked inputs",)
            return shot.selection(self, picks, weights=k / (n * pi[picks]), scores=s, notes=notes)


def inclusion(scores: Float64, k: int, alpha: float) -> Float64:
    """Return π [N]: in (0, 1], rising with the scores [N] ≥ 0, summing to k; uniform where all scores are 0."""
    top = scores.max()
    s = scores / top if top > 0 else scores + 1  # sums of the largest numbers stay finite
    return capped((1 - alpha) / len(s) + alpha * s / s.sum(), k)


def _losses(record: Record) -> Float64:
    """Return the last losses [n], refused where they are no sizes."""
    losses = record.loss
    bad = record.positions[losses < 0].tolist()
    if bad:
        raise RequirementError(
            f"the last losses of {len(bad)} examples are negative (positions {first_few(bad)}), the least {losses.min():.3g}, and "
            "probabilities grow with losses ≥ 0: record such losses, or draw by score='el2n'."
        )
    return losses
