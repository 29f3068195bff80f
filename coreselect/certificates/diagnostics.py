"""Read the signs of trouble off what a selection has cached anyway."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from coreselect.gradients.rows import Rows
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.task.snapshot import Snapshot
from coreselect.types import Diagnostics, Int64

SAMPLE = 32  # how many groups' true decrease is compared with the predicted one


def diagnose(
    shot: Snapshot,
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
    """Collect what can be said about a finished selection.

    Args:
        query: q(θ) [P]; theta, final: θ and θ′ after the last pick [P]; picks: int64 [k], positions in the snapshot.
    """
    seen = rows.project(query)
    gains = rows.scores(seen)  # [M]
    wrong = shot.misclassified()
    labels = shot.labels() if "labels" in shot.provides and shot.stratified_by_labels else None
    classes = None if labels is None else np.bincount(labels[picks], minlength=int(labels.max()) + 1)
    live = held if isinstance(held, ValidationObjective) else None
    slope = None if live is None else shot.loss_gradient(live)
    return Diagnostics(
        query_pool_cosine=_cosine(seen, rows.mean()),
        query_loss_cosine=None if slope is None else _cosine(query, slope),
        misclassified=None if wrong is None else float(wrong.cpu().numpy()[picks].mean()),
        misclassified_pool=None if wrong is None else float(wrong.float().mean()),
        effective_classes=None if classes is None else effective(classes),
        classes=None if labels is None else len(np.unique(labels)),
        gain_loss_correlation=None if losses is None else correlation(gains, losses),
        predicted_true_correlation=None if live is None else _predicted(shot, rows, live, gains, theta, eta),
        rd_before=None if live is None else live.value(theta),
        rd_after_held=None if live is None else live.value(final),
        rd_after_recrafted=None if live is None else live.recrafted_value(final),
        rd_clean=None if live is None else live.clean_value(theta),
    )


def effective(counts: Int64) -> float:
    """exp(entropy) of a histogram: how many equally filled classes it is worth."""
    p = counts[counts > 0] / counts.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def correlation(a: Tensor, b: Tensor) -> float | None:
    """Spearman's rank correlation, None where either side is constant or there are fewer than 3."""
    x, y = a.detach().double().cpu().numpy(), b.detach().double().cpu().numpy()
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    from scipy.stats import spearmanr  # a second of import time, and only a report needs it

    statistic: Any = spearmanr(x, y)  # scipy's result type is not known to type checkers
    return float(statistic.statistic)


def _cosine(a: Tensor, b: Tensor) -> float | None:
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size > 0 else None


def _predicted(
    shot: Snapshot, rows: Rows, held: ValidationObjective, gains: Tensor, theta: Tensor, eta: float
) -> float | None:
    """Spearman of gains with true decreases of L under one step θ − η r_m, inputs held, where a value is one head pass."""
    if shot.needs_sketch:
        return None
    some = np.unique(np.linspace(0, rows.count - 1, min(SAMPLE, rows.count)).astype(np.int64))
    before = held.value(theta)
    true = torch.tensor([before - held.value(theta - eta * rows.full(int(m)).to(theta)) for m in some])
    return correlation(gains[torch.from_numpy(some).to(gains.device)], true)
