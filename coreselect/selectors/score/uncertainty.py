"""Scores of one prediction: z logits, p = softmax(z), y the label, p₁ ≥ p₂ ≥ … the probabilities in order.

el2n               ‖p − e_y‖₂, keep highest        Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet: Finding Important
                                                   Examples Early in Training", NeurIPS 2021
entropy            −Σ_c p_c log p_c, highest       Settles, "Active Learning Literature Survey", 2009, section 3.1, as
least_confidence   1 − p₁, highest                 are the next two
margin             p₁ − p₂, lowest
loss               −log p_y, highest               Loshchilov, Hutter, "Online Batch Selection for Faster Training of Neural
                                                   Networks", ICLR workshop 2016 (its ranking by loss)

`attacked=True` reads the logits of the attacked inputs that the loss trains on; `el2n_adv` and `margin_adv` are el2n and
margin so. The published el2n is a mean over some ten runs early in training; `from_history` is the mean over one run's times.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import entr

from coreselect.selectors.score.ranking import Ranked, Scores, class_labels, log_probabilities, recorded
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64


@dataclass(frozen=True)
class _OfLogits(Ranked):
    """A score of the present model's prediction.

    Args:
        attacked: of the attacked input, which needs a model and an adversarial loss; else of the natural one.
    """

    attacked: bool = False

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"logits", "inputs"} if self.attacked else {"logits"})

    def score(self, shot: Snapshot) -> Scores:
        return Scores(self.of(log_probabilities(shot, attacked=self.attacked)))

    def of(self, log_p: Float64) -> Float64:
        """Log probabilities [n, C] → scores [n]."""
        raise NotImplementedError


@dataclass(frozen=True)
class Entropy(_OfLogits):
    """Keep the predictions of highest entropy.

    Args:
        attacked: of attacked inputs; else of natural ones.
    """

    name = "entropy"

    def of(self, log_p: Float64) -> Float64:
        return entr(np.exp(log_p)).sum(1)


@dataclass(frozen=True)
class LeastConfidence(_OfLogits):
    """Keep the predictions whose largest probability is smallest.

    Args:
        attacked: of attacked inputs; else of natural ones.
    """

    name = "least_confidence"

    def of(self, log_p: Float64) -> Float64:
        return 1 - np.exp(log_p.max(1))


@dataclass(frozen=True)
class Margin(_OfLogits):
    """Keep the predictions whose two largest probabilities are closest.

    Args:
        attacked: of attacked inputs; else of natural ones.
    """

    name = "margin"
    hard = "lowest"

    def of(self, log_p: Float64) -> Float64:
        p = np.exp(np.partition(log_p, -2, axis=1)[:, -2:])  # [n, 2], ascending
        return p[:, 1] - p[:, 0]


@dataclass(frozen=True)
class MarginAdv(Margin):
    """Keep the attacked inputs whose two largest probabilities are closest."""

    attacked: bool = field(default=True, init=False)
    name = "margin_adv"


@dataclass(frozen=True)
class _OfLabels(Ranked):
    """A score of a prediction and its label, of the present model or from what training has recorded."""

    attacked: bool = False
    from_history: bool = False

    @property
    def requires(self) -> frozenset[str]:
        if self.from_history:
            return frozenset({"history"})
        return frozenset({"logits", "labels"} | ({"inputs"} if self.attacked else set()))


@dataclass(frozen=True)
class EL2N(_OfLabels):
    """Keep the examples whose predicted probabilities are farthest from their label.

    Args:
        attacked: of attacked inputs; else of natural ones.
        from_history: the mean over the times that training has seen each example; else of the present model.
    """

    name = "el2n"

    def score(self, shot: Snapshot) -> Scores:
        if self.from_history:
            record, notes = recorded(shot, attacked=self.attacked)
            return Scores(record.el2n, notes)
        p = np.exp(log_probabilities(shot, attacked=self.attacked))  # [n, C]
        p[np.arange(shot.n), class_labels(shot, p.shape[1])] -= 1.0
        return Scores(np.linalg.norm(p, axis=1))


@dataclass(frozen=True)
class EL2NAdv(EL2N):
    """Keep the examples whose probabilities, attacked, are farthest from their label.

    Args:
        from_history: the mean over a history of attacked inputs; else of the present model.
    """

    attacked: bool = field(default=True, init=False)
    name = "el2n_adv"


@dataclass(frozen=True)
class Loss(_OfLabels):
    """Keep the examples of highest cross-entropy.

    Args:
        attacked: of attacked inputs; else of natural ones.
        from_history: the loss when training last saw each example; else of the present model.
    """

    name = "loss"

    def score(self, shot: Snapshot) -> Scores:
        if self.from_history:
            record, notes = recorded(shot, attacked=self.attacked)
            return Scores(record.loss, notes)
        log_p = log_probabilities(shot, attacked=self.attacked)  # [n, C]
        return Scores(-log_p[np.arange(shot.n), class_labels(shot, log_p.shape[1])])
