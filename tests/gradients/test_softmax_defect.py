"""The published defect as a property test: averaging a softmax classifier's gradient over classes is identically zero.

For cross-entropy with a linear head the gradient in the logits is p − y, whose mean over classes is (1 − 1)/C = 0. A
program that averages rows over outputs therefore selects by rounding noise. Rows, queries and gains here are full.
"""

import cases
import numpy as np
import pytest
import torch
from torch import Tensor

from coreselect import select


def opened(task: object) -> tuple[Tensor, Tensor, Tensor, object]:
    """Return the rows of single examples [N, P], the query [P], θ and the objective on validation."""
    with task.snapshot(0, 0) as shot:  # type: ignore[attr-defined]
        held = shot.objective(cases.RD_WEAK)
        rows, _ = shot.rows([np.array([i]) for i in range(shot.n)])
        R = torch.stack([rows.full(m) for m in range(rows.count)])
        return R, held.query(shot.theta()), shot.theta(), held


def test_rows_and_queries_average_to_zero_over_classes_and_are_not_zero() -> None:
    """The weight part of each row and of the query averages to zero over classes (below 1e-15), while the row is above 1e-3."""
    task = cases.sat_task(12)
    R, query, _, _ = opened(task)
    width = 12
    for vector in (*R, query):
        weight = vector[: cases.CLASSES * width].view(cases.CLASSES, width)
        assert float(weight.mean(0).abs().max()) < 1e-15
    assert float(R.norm(dim=1).min()) > 1e-3
    assert float(query.norm()) > 1e-6


def test_gains_are_not_rounding_noise_and_agree_with_the_true_rd() -> None:
    """The gain of each example equals the central difference of the true RD along its row, to a relative error of 1e-6."""
    R, query, theta, held = opened(cases.sat_task(12))
    for row in R:
        gain = float(row @ query)
        h = 1e-4
        slope = (held.value(theta + h * row) - held.value(theta - h * row)) / (2 * h)  # type: ignore[attr-defined]
        assert gain == pytest.approx(slope, rel=1e-5, abs=1e-11)
    averaged = [
        float(r[:48].view(4, 12).mean(0) @ query[:48].view(4, 12).mean(0)) for r in R
    ]  # the numbers that the published program ranks by
    assert max(map(abs, averaged)) < 1e-20 < max(abs(float(r @ query)) for r in R)


def test_the_selection_lowers_rd_and_the_worst_one_raises_it() -> None:
    """Groups picked by gain lower the true RD by about the sum of gains; the groups with the least gain lower it less."""
    task = cases.sat_task(24)
    best = select(task, cases.rcs(eta=0.05), 9)
    assert best.diagnostics is not None
    assert best.diagnostics.rd_before is not None
    assert best.diagnostics.rd_after_held is not None
    fall = best.diagnostics.rd_before - best.diagnostics.rd_after_held
    assert fall > 0
    assert fall == pytest.approx(best.gains.sum(), rel=0.2)
    assert best.scores is not None
    by_group = np.sort(np.unique(np.round(best.scores, 15)))
    assert fall > 9 * by_group[:3].mean()


def test_float32_gains_are_above_rounding() -> None:
    """In float32 the spread of gains is far larger than what rounding could make of zeros."""
    task = cases.sat_task(24, dtype=torch.float32)
    chosen = select(task, cases.rcs(), 9)
    assert chosen.scores is not None
    with task.snapshot(0, 0) as shot:
        rows, _ = shot.rows([np.array([i]) for i in range(24)])
        query = shot.objective(cases.RD_WEAK).query(shot.theta())
        noise = float((rows.slack * query.norm()).max())
        assert float(rows.scores(query).std()) > 20 * noise
