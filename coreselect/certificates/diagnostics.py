"""Diagnose a finished selection from what it has already computed: cosines, shares, correlations, RD before and after."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from coreselect.gradients.rows import Rows
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.task.snapshot import Snapshot
from coreselect.types import Diagnostics, Int64

SAMPLE = 32  # groups whose true decrease is compared with the predicted one


def diagnose(
    snapshot: Snapshot,
    rows: Rows,
    held: object,
    losses: Tensor | None,
    *,
    query: Tensor,
    theta: Tensor,
    final: Tensor,
    eta: float,
    picks: Int64,
) -> Diagnostics:
    """Return the diagnostics of a finished selection.

    Args:
        rows: of all groups, at θ.
        held: the validation objective, or a fixed query without a model.
        losses: training losses of the groups [M], or None.
        query: q(θ) [P].
        theta, final: θ, and θ′ after the last pick, [P].
        eta: η, the step per pick.
        picks: int64 [k], positions in the snapshot.
    """
    projected = rows.project(query)
    gains = rows.scores(projected)  # [M]
    misclassified = snapshot.misclassified()
    clean = None if misclassified is None or snapshot.attacks_training is False else snapshot.misclassified_clean()
    labels = snapshot.labels() if "labels" in snapshot.provides and snapshot.stratified_by_labels else None
    classes = None if labels is None else np.bincount(labels[picks], minlength=int(labels.max()) + 1)
    objective = held if isinstance(held, ValidationObjective) else None
    loss_gradient = None if objective is None else snapshot.loss_gradient(objective)
    return Diagnostics(
        query_pool_cosine=_cosine(projected, rows.mean()),
        query_loss_cosine=None if loss_gradient is None else _cosine(query, loss_gradient),
        misclassified=_share(misclassified, picks),
        misclassified_pool=_share(misclassified),
        misclassified_attacked=None if misclassified is None else snapshot.attacks_training,
        misclassified_clean=_share(clean, picks),
        misclassified_clean_pool=_share(clean),
        effective_classes=None if classes is None else effective_classes(classes),
        classes=None if labels is None else len(np.unique(labels)),
        gain_loss_correlation=None if losses is None else rank_correlation(gains, losses),
        predicted_true_correlation=None
        if objective is None
        else _prediction(snapshot, rows, objective, gains, theta, eta),
        rd_before=None if objective is None else objective.value(theta),
        rd_after_held=None if objective is None else objective.value(final),
        rd_after_recrafted=None if objective is None else objective.recrafted_value(final),
        rd_clean=None if objective is None else objective.clean_value(theta),
    )


def _share(wrong: Tensor | None, picks: Int64 | None = None) -> float | None:
    """Return the share of wrong examples among the picks, or among all."""
    if wrong is None:
        return None
    held = wrong.cpu().numpy()
    return float((held if picks is None else held[picks]).mean())


def effective_classes(counts: Int64) -> float:
    """Return exp(entropy) of a histogram: the number of equally filled classes with the same entropy."""
    p = counts[counts > 0] / counts.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def rank_correlation(a: Tensor, b: Tensor) -> float | None:
    """Return Spearman's rank correlation; None if either side is constant or has fewer than 3 values."""
    x, y = a.detach().double().cpu().numpy(), b.detach().double().cpu().numpy()
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    from scipy.stats import spearmanr  # takes a second to import, and only a report needs it

    statistic: Any = spearmanr(x, y)  # scipy's result type is not known to type checkers
    return float(statistic.statistic)


def _cosine(a: Tensor, b: Tensor) -> float | None:
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size > 0 else None


def _prediction(
    snapshot: Snapshot, rows: Rows, held: ValidationObjective, gains: Tensor, theta: Tensor, eta: float
) -> float | None:
    """Return the rank correlation of gains with true decreases of L under one step θ − η r_m, attacked inputs held.

    None unless one value costs only a pass through the head.
    """
    if snapshot.needs_sketch:
        return None
    some = np.unique(np.linspace(0, rows.count - 1, min(SAMPLE, rows.count)).astype(np.int64))
    before = held.value(theta)
    true = torch.tensor([before - held.value(theta - eta * rows.full(int(m)).to(theta)) for m in some])
    return rank_correlation(gains[torch.from_numpy(some).to(gains.device)], true)
