"""CRAIG and its attacked form: weights, classes, memory, certificate."""

from typing import Any

import cases
import numpy as np
import pytest
import torch
from gradient_rows import all_distances, natural_gradients, normal, slow_cover

from coreselect import Task, select
from coreselect.gradients.rows import single_examples
from coreselect.selectors import CRAIG, ACSCraig, ACSGradMatch, GradMatch


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("k", [1, 3, 9, 24])
def test_craig_weights_count_and_its_certificate_holds(per_class: bool, k: int) -> None:
    """γ counts the examples nearest to each pick (inside its class), γ·k/N are the weights, and the error is within its bound."""
    task = cases.array_task(24)
    chosen = select(task, CRAIG(per_class=per_class), k)
    g, d, y = task.gradients, all_distances(task.gradients), task.labels
    picks = chosen.indices.tolist()
    counts = dict.fromkeys(picks, 0)
    bound = 0.0
    for i in range(24):
        mine = [j for j in picks if not per_class or y[j] == y[i]] or picks
        j = min(mine, key=lambda j: (d[i, j], j))
        counts[j] += 1
        bound += d[i, j]
    assert chosen.weights == pytest.approx(np.array([counts[j] for j in picks]) * k / 24)
    known = chosen.certificate
    assert known is not None
    error = np.linalg.norm(g.sum(0) - sum(c * g[j] for j, c in counts.items()))
    assert known.details["gradient_error"] == pytest.approx(error, abs=1e-9)
    assert known.details["distance_bound"] == pytest.approx(bound, abs=1e-6)
    assert error <= bound + 1e-6
    assert known.upper_bound is not None
    assert known.value <= known.upper_bound + 1e-9
    assert chosen.nested is not per_class
    lost = [i for i in range(24) if per_class and y[i] not in y[picks]]
    assert any(note.startswith(f"{len(lost)} examples") for note in chosen.provenance.notes) == bool(lost)


@pytest.mark.parametrize("shared", [0.0, 3e3, 1e5])
def test_the_bound_holds_where_rounding_hides_the_distances(shared: float) -> None:
    """Gradients that share a long part are as far apart as without it: the bound is at least the true one, and a note says why."""
    g = (np.random.default_rng(0).normal(size=(60, 7)) + shared).astype(np.float32)
    chosen = select(Task.from_arrays(gradients=g), CRAIG(), 20)
    known = chosen.certificate
    assert known is not None
    true = all_distances(g.astype(np.float64))[:, chosen.indices].min(1).sum()
    assert max(true, known.details["gradient_error"]) <= known.details["distance_bound"] * (1 + 1e-6)
    assert any("few digits" in note for note in chosen.provenance.notes) == (shared > 0)
    if not shared:
        assert known.details["distance_bound"] == pytest.approx(true, rel=1e-4)


def test_craig_shares_the_budget_over_classes() -> None:
    """Each class has its share by largest remainder, and its picks are the greedy ones inside it."""
    labels = np.repeat([7, 3, 5], [12, 8, 4])
    task = cases.array_task(24, labels=labels)
    chosen = select(task, CRAIG(), 12)
    want: list[int] = []
    for y, k in ((3, 4), (5, 2), (7, 6)):
        members = np.flatnonzero(labels == y)
        want += members[slow_cover(all_distances(task.gradients[members]), k)[0]].tolist()
    assert chosen.indices.tolist() == want


def test_craig_without_labels_is_one_class_and_says_so() -> None:
    """Without labels the pool is one class: the same as per_class=False, with a note."""
    task = cases.array_task(24, labels=None)
    chosen = select(task, CRAIG(), 6)
    assert chosen.indices.tolist() == select(task, CRAIG(per_class=False), 6).indices.tolist()
    assert "there are no labels: the pool is one class" in chosen.provenance.notes


def test_craig_says_what_memory_it_took() -> None:
    """A note gives the bytes of stored distances; beyond dense_up_to the answer is the same, and a note says how it was found."""
    task = cases.array_task(24, labels=None)
    held, asked = select(task, CRAIG(), 6), select(task, CRAIG(dense_up_to=23), 6)
    assert any("4,608 bytes" in note for note in held.provenance.notes)  # 24² float64
    assert any("dense_up_to=23" in note for note in asked.provenance.notes)
    assert held.indices.tolist() == asked.indices.tolist()
    assert held.weights == pytest.approx(asked.weights)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_doubles_stand_for_each_other(dtype: Any) -> None:
    """Of equal gradients the lowest index is picked and counts all copies, also in float32; copies come last."""
    g = np.tile(normal(8, 10, 40), (4, 1)).astype(dtype)
    chosen = select(Task.from_arrays(gradients=g), CRAIG(), 10)
    assert sorted(chosen.indices.tolist()) == list(range(10))
    assert chosen.weights == pytest.approx(np.ones(10))  # γ = 4 of 40, times k/N


def test_craig_of_a_model_is_that_of_its_gradients() -> None:
    """CRAIG reads natural gradients also in adversarial training; its attacked form reads gradients of the task's own loss."""
    task = cases.sat_task(20)
    labels = task.pool.y.numpy()
    plain = natural_gradients(task)[0].numpy()
    with task.snapshot(0, 0) as snapshot:
        rows, _ = snapshot.rows(single_examples(20))
        own = torch.stack([rows.full(i) for i in range(20)]).numpy()
    assert not np.allclose(own, plain, atol=1e-4)
    for selector, twin, g in (
        (CRAIG(), CRAIG(), plain),
        (ACSCraig(), CRAIG(), own),
        (ACSGradMatch(), GradMatch(), own),
    ):
        got = select(task, selector, 7)
        want = select(Task.from_arrays(gradients=g, labels=labels), twin, 7)
        assert got.indices.tolist() == want.indices.tolist()
        assert got.weights == pytest.approx(want.weights)
