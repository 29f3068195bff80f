"""Scores that training has recorded."""

import math
from typing import Any

import cases
import numpy as np
import pytest
import torch
from score_formulas import N, ranked, select

from coreselect import Task
from coreselect.errors import RequirementError
from coreselect.history import History
from coreselect.selectors import (
    AIGN,
    AUM,
    CCS,
    EL2N,
    EL2NAdv,
    Forgetting,
    ForgettingAdv,
    Loss,
)


def test_methods_of_a_history_rank_what_it_holds() -> None:
    """aum, forgetting and the recorded el2n, loss and aign rank by columns of the history."""
    history = cases.history(N)
    task, record = Task.from_arrays(labels=np.zeros(N, int), history=history), history.at(np.arange(N))
    rows: list[tuple[Any, Any, str]] = [
        (AUM(), record.aum, "lowest"),
        (AUM("highest"), record.aum, "highest"),
        (Forgetting(), record.forgetting, "highest"),
        (ForgettingAdv(), record.forgetting, "highest"),
        (EL2N(from_history=True), record.el2n, "highest"),
        (EL2NAdv(from_history=True), record.el2n, "highest"),
        (Loss(from_history=True), record.loss, "highest"),
        (AIGN(from_history=True), record.input_norm, "lowest"),
    ]
    for selector, values, end in rows:
        chosen = select(task, selector, 9)
        assert np.array_equal(chosen.scores, values)
        assert chosen.indices.tolist() == ranked(values, end, 9), selector
        assert chosen.provenance.notes == ("the history is about attacked inputs",)


def test_never_learned_comes_before_forgotten_often(tmp_path: Any) -> None:
    """Never correct and never seen score +∞, which an index file keeps."""
    history = History(4)
    for z in ([1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]):
        history.record([0, 2, 3], torch.tensor([z, [0.0, 1.0], [1.0, 0.0]]), [0, 0, 0])
    chosen = select(Task.from_arrays(labels=[0] * 4, history=history), Forgetting(), 3)
    assert chosen.scores is not None
    assert chosen.scores.tolist() == [2, math.inf, math.inf, 0]
    assert chosen.provenance.notes == ("1 of 4 examples were never seen and count as never learned",)
    assert chosen.indices.tolist() == [1, 2, 0]
    for ending in ("npz", "json"):
        chosen.save(tmp_path / f"a.{ending}")
        assert np.array_equal(type(chosen).load(tmp_path / f"a.{ending}").scores, chosen.scores)


def test_refusals_about_histories() -> None:
    """Unseen examples, missing input gradients, and natural logits where attacked ones are needed raise errors."""
    history = History(3)
    history.record([0, 2], torch.zeros(2, 2), [0, 1])
    task = Task.from_arrays(labels=[0] * 3, history=history)
    for selector in (AUM(), EL2N(from_history=True), Loss(from_history=True), CCS()):
        with pytest.raises(RequirementError, match=r"no 1 examples|1 examples \(positions 1\)"):
            select(task, selector, 2)
    assert select(task.restrict([2, 0]), AUM(), 1).indices.tolist() == [0]
    with pytest.raises(RequirementError, match="no input gradients of 3"):
        select(task, AIGN(from_history=True), 2)
    for selector in (Forgetting(), AUM(), ForgettingAdv()):
        with pytest.raises(RequirementError, match="recorded none of the 3 examples"):
            select(Task.from_arrays(labels=[0] * 3, history=History(3)), selector, 2)
    for selector in (ForgettingAdv(), EL2NAdv(from_history=True)):
        with pytest.raises(RequirementError, match="history is about natural inputs"):
            select(task, selector, 2)
