"""Importance sampling by the scores that training has recorded: no sweep over the pool, no forward pass.

    π_i ∝ (1 − α)/N + α·s_i / Σ_j s_j,  Σ π_i = k, π_i ≤ 1;    weight_i = k / (N π_i)

s_i is the last recorded ‖p − e_y‖₂, the gradient norm of softmax cross-entropy at the logits, or the last loss. ‖p − e_y‖₂ is up
to a constant the bound Ĝ_i on the norm of the whole gradient that is used by Katharopoulos, Fleuret, "Not All Samples Are Created
Equal: Deep Learning with Importance Sampling", ICML 2018. Exactly k examples are drawn, i with probability π_i (`inclusion.py`),
so (1/k) Σ weight_i·ℓ_i is an unbiased estimate of the pool's mean loss. Old scores increase the variance but cause no bias. The
uniform share keeps every weight at most 1 / (1 − α).

Under NT-Xent a weight multiplies the two anchors of an example; the examples they are contrasted with are the drawn batch.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import RequirementError, ShapeError, UnknownNameError, first_few
from coreselect.history import Record
from coreselect.protocols import TaskLike
from coreselect.selectors.sampling.inclusion import inclusion_probabilities, systematic_sample
from coreselect.support.seeding import generator as seeded
from coreselect.types import Float64, Selection

Score = Literal["auto", "el2n", "loss"]


@dataclass(frozen=True)
class Importance:
    """Draw exactly k examples every epoch by their last gradient norm or loss in training; weights keep means unbiased.

    `CoresetSampler.weights` scales the weights to mean 1 over the draw, which adds a bias of O(1/k).

    Args:
        score: "el2n": the last ‖p − e_y‖₂, which needs a history of logits; "loss": the last loss, ≥ 0; "auto": el2n if
            logits were recorded, else loss (contrastive training).
        alpha: share of the score in the probabilities, in [0, 1); every weight is at most 1 / (1 − α).
    """

    score: Score = "auto"
    alpha: float = 0.5
    name = "importance"
    renew = "epoch"

    def __post_init__(self) -> None:
        if self.score not in get_args(Score):
            raise UnknownNameError(f"score must be 'auto', 'el2n' or 'loss', got {self.score!r}.")
        if not 0 <= self.alpha < 1:
            raise ShapeError(f"alpha must lie in [0, 1), got {self.alpha}.")

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"history"} if self.score == "el2n" else {"losses"})

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, n = resolve(budget, snapshot.n), snapshot.n
            record: Record = snapshot.history()
            by_logits = record.attacked is not None if self.score == "auto" else self.score == "el2n"
            s = record.last_el2n if by_logits else _last_losses(record)  # [n]
            pi = probabilities(s, k, self.alpha)
            picks = systematic_sample(pi, seeded(snapshot.draw_seed, "importance", round))
            notes = (f"drawn by the last {'‖p − e_y‖₂' if by_logits else 'loss'} of each example in training",)
            if by_logits and record.attacked:
                notes += ("the history is about attacked inputs",)
            return snapshot.selection(self, picks, weights=k / (n * pi[picks]), scores=s, notes=notes)


def probabilities(scores: Float64, k: int, alpha: float) -> Float64:
    """Return π [N] in (0, 1] with sum k, which rises with the scores [N] ≥ 0; uniform if all scores are 0."""
    top = scores.max()
    s = scores / top if top > 0 else scores + 1  # divided by the largest, so that sums stay finite
    return inclusion_probabilities((1 - alpha) / len(s) + alpha * s / s.sum(), k)


def _last_losses(record: Record) -> Float64:
    """Return the last losses [n]; raise RequirementError if one is negative."""
    losses = record.loss
    bad = record.positions[losses < 0].tolist()
    if bad:
        raise RequirementError(
            f"the last losses of {len(bad)} examples are negative (positions {first_few(bad)}), the smallest {losses.min():.3g}, "
            "and probabilities need losses ≥ 0: record such losses, or use score='el2n'."
        )
    return losses
