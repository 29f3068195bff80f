"""Scores of one prediction: z logits, p = softmax(z), y the label, p₁ ≥ p₂ ≥ … the probabilities in order.

el2n               ‖p − e_y‖₂, keep highest        Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet: Finding Important
                                                   Examples Early in Training", NeurIPS 2021
entropy            −Σ_c p_c log p_c, highest       Settles, "Active Learning Literature Survey", 2009, section 3.1, also for
least_confidence   1 − p₁, highest                 the next two
margin             p₁ − p₂, lowest
loss               the training loss, highest      Loshchilov, Hutter, "Online Batch Selection for Faster Training of Neural
                                                   Networks", ICLR workshop 2016 (its ranking by loss)

`attacked=True` reads the logits of the attacked inputs that the loss trains on; `el2n_adv` and `margin_adv` are el2n and margin
with this setting. The published el2n is a mean over about ten runs early in training; `from_history` is a mean over one run.
"""

from abc import abstractmethod
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import entr

from coreselect.history import Record
from coreselect.planning.needs import NO_WORK, OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.selectors.checks import class_labels, finite_array, finite_logits, log_probabilities, logit_work
from coreselect.selectors.score.predictions import training_record
from coreselect.selectors.score.ranking import Ranked, Scores
from coreselect.selectors.task_checks import refuse_unattacked
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64


def _refuse_unattacked(task: TaskLike, name: str, *, attacked: bool) -> None:
    """Refuse a task whose loss attacks no inputs, if the score reads those."""
    if attacked:
        refuse_unattacked(task, name, "predictions", name.removesuffix("_adv"))


@dataclass(frozen=True)
class _ByPrediction(Ranked):
    """A score of the current model's prediction.

    Args:
        attacked: score attacked inputs, which needs a model and an adversarial loss; else natural ones.
    """

    attacked: bool = False

    @property
    def attacks(self) -> frozenset[str]:
        return frozenset({"pool"} if self.attacked else ())

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"logits", "inputs"} if self.attacked else {"logits"})

    def refuse(self, task: TaskLike) -> None:
        """Refuse a task without the attacked inputs that the score reads."""
        _refuse_unattacked(task, self.name, attacked=self.attacked)

    def score(self, snapshot: Snapshot) -> Scores:
        logits = finite_logits(snapshot, attacked=self.attacked, needs=logit_work(snapshot.n).of, name=self.name)
        return Scores(np.concatenate([self.of(log_p) for _, log_p in log_probabilities(logits)]))

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on logits."""
        return logit_work(sizes.n)

    @abstractmethod
    def of(self, log_p: Float64) -> Float64:
        """Log probabilities [n, C] → scores [n]."""


@dataclass(frozen=True)
class Entropy(_ByPrediction):
    """Keep the predictions of highest entropy.

    Args:
        attacked: score attacked inputs; else natural ones.
    """

    name = "entropy"

    def of(self, log_p: Float64) -> Float64:
        return entr(np.exp(log_p)).sum(1)


@dataclass(frozen=True)
class LeastConfidence(_ByPrediction):
    """Keep the predictions whose largest probability is smallest.

    Args:
        attacked: score attacked inputs; else natural ones.
    """

    name = "least_confidence"

    def of(self, log_p: Float64) -> Float64:
        return 1 - np.exp(log_p.max(1))


@dataclass(frozen=True)
class Margin(_ByPrediction):
    """Keep the predictions whose two largest probabilities are closest.

    Args:
        attacked: score attacked inputs; else natural ones.
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
class _ByPredictionAndLabel(Ranked):
    """A score of a prediction and its label, for the current model or as training has recorded it."""

    attacked: bool = False
    from_history: bool = False

    @property
    def attacks(self) -> frozenset[str]:
        return frozenset({"pool"} if self.attacked and not self.from_history else ())

    @property
    def requires(self) -> frozenset[str]:
        if self.from_history:
            return frozenset({"history"})
        return frozenset({"logits", "labels"} | ({"inputs"} if self.attacked else set()))

    def refuse(self, task: TaskLike) -> None:
        """Refuse a task without the attacked inputs that the score reads."""
        _refuse_unattacked(task, self.name, attacked=self.attacked and not self.from_history)

    def score(self, snapshot: Snapshot) -> Scores:
        if self.from_history:
            record, notes = training_record(snapshot, attacked=self.attacked)
            return Scores(self.of_record(record), notes)
        logits = finite_logits(snapshot, attacked=self.attacked, needs=logit_work(snapshot.n).of, name=self.name)
        y = class_labels(snapshot, logits.shape[1])
        return Scores(np.concatenate([self.of(log_p, y[rows]) for rows, log_p in log_probabilities(logits)]))

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on logits: nothing where training has recorded the scores."""
        return NO_WORK if self.from_history else logit_work(sizes.n)

    @abstractmethod
    def of(self, log_p: Float64, y: Int64) -> Float64:
        """Log probabilities [n, C] and labels [n] → scores [n]."""

    @abstractmethod
    def of_record(self, record: Record) -> Float64:
        """Return the recorded scores [n]."""


@dataclass(frozen=True)
class EL2N(_ByPredictionAndLabel):
    """Keep the examples whose predicted probabilities are farthest from their label.

    Args:
        attacked: score attacked inputs; else natural ones.
        from_history: score by the mean over the times that training has seen each example; else by the current model.
    """

    name = "el2n"

    def of(self, log_p: Float64, y: Int64) -> Float64:
        p = np.exp(log_p)
        p[np.arange(len(p)), y] -= 1.0
        return np.linalg.norm(p, axis=1)

    def of_record(self, record: Record) -> Float64:
        return record.el2n


@dataclass(frozen=True)
class EL2NAdv(EL2N):
    """Keep the examples whose probabilities, on attacked inputs, are farthest from their label.

    Args:
        from_history: score by the mean over a history of attacked inputs; else by the current model.
    """

    attacked: bool = field(default=True, init=False)
    name = "el2n_adv"


@dataclass(frozen=True)
class Loss(_ByPredictionAndLabel):
    """Keep the examples of highest loss: the task's own loss if it is natural, else cross-entropy −log p_y; a note says so.

    Args:
        attacked: score attacked inputs; else natural ones.
        from_history: score by the loss when training last saw each example; else by the current model.
    """

    name = "loss"

    @property
    def or_else(self) -> frozenset[str]:
        """What a task may provide instead of what `requires` lists: a natural loss of its own, over any targets."""
        return self.requires if self.attacked or self.from_history else frozenset({"natural_losses"})

    def score(self, snapshot: Snapshot) -> Scores:
        if self.from_history:
            return super().score(snapshot)
        own = None if self.attacked else snapshot.natural_losses()
        if own is not None:
            return Scores(finite_array(own, "losses", snapshot.positions))
        loss = snapshot.task.loss.name if isinstance(snapshot, ModelSnapshot) else "ce"
        same = loss == ("sat" if self.attacked else "ce")
        where = "attacked" if self.attacked else "natural"
        note = f"cross-entropy of {where} inputs was compared; the task's loss is {loss}"
        return replace(super().score(snapshot), notes=() if same else (note,))

    def of(self, log_p: Float64, y: Int64) -> Float64:
        return -log_p[np.arange(len(log_p)), y]

    def of_record(self, record: Record) -> Float64:
        return record.loss
