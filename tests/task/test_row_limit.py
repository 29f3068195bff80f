"""Rows that would take more than a stated number of bytes are sketched, and the selection says so."""

from typing import Any

import cases
import numpy as np
import pytest
import torch

from coreselect import select
from coreselect.gradients import store
from coreselect.gradients.factored import FactoredRows
from coreselect.gradients.rows import DenseRows, single_examples
from coreselect.gradients.sketch import Sketch


@pytest.mark.parametrize("make", [cases.acl_task, cases.sat_task])
def test_rows_above_the_limit_are_sketched_with_a_note(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For batch losses and for groups of a per-example loss; at the limit itself rows are full, with no note."""
    task, selector = make(12), cases.rcs(stratify=None, group_size=3)
    with task.snapshot(0, 0) as snapshot:
        size = 4 * len(snapshot.theta()) * snapshot.theta().element_size()  # of 4 groups
    monkeypatch.setattr(store, "FULL", size)
    full = select(task, selector, 6)
    assert not any("sketched" in note for note in full.provenance.notes)
    monkeypatch.setattr(store, "FULL", size - 1)
    small = select(task, selector, 6)
    said = [note for note in small.provenance.notes if "sketched to 4096 numbers each" in note]
    assert len(said) == 1
    assert f"({size - 1} bytes)" in said[0]
    assert said[0].startswith("4 rows of ")
    wanted = select(task, cases.rcs(stratify=None, group_size=3, sketch=Sketch()), 6)
    assert small.indices.tolist() == wanted.indices.tolist()
    assert not any("limit" in note for note in wanted.provenance.notes)  # a sketch that was asked for needs no reason


def test_windows_keep_each_windows_rows_below_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is of one window's rows, so windows are a way to full rows."""
    from coreselect.selectors import Windowed

    task = cases.acl_task(24)
    with task.snapshot(0, 0) as snapshot:
        size = 2 * len(snapshot.theta()) * snapshot.theta().element_size()
    monkeypatch.setattr(store, "FULL", size)
    inner = cases.rcs(stratify=None, group_size=4)
    assert any("sketched" in note for note in select(task, inner, 12).provenance.notes)
    assert not any("sketched" in note for note in select(task, Windowed(inner, 8), 12).provenance.notes)


def test_single_examples_stay_factors_at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take no matrix, so no limit concerns them."""
    monkeypatch.setattr(store, "FULL", 0)
    task = cases.sat_task(8)
    with task.snapshot(0, 0) as snapshot:
        assert snapshot.sketch_for(single_examples(8)) == (None, None)
        assert isinstance(snapshot.rows(single_examples(8))[0], FactoredRows)
        assert snapshot.sketch_for([np.arange(4), np.arange(4, 8)])[0] == Sketch()


def test_a_matrix_may_take_half_of_what_is_free_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the limit follows its memory; elsewhere it is `IN_MEMORY`."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 8000))
    assert store.in_memory(torch.device("cuda:1")) == 500
    assert store.in_memory(torch.device("cpu")) == store.IN_MEMORY


@pytest.mark.parametrize("make", [cases.acl_task, cases.sat_task])
def test_memory_mapped_rows_select_what_rows_in_memory_select(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no memory allowed every matrix of rows is in a file; picks, gains and certificate are the same bits."""
    want = select(make(20), cases.rcs(stratify=None, group_size=3), 10)
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    made: list[DenseRows] = []
    real = DenseRows.__init__

    def noted(rows: DenseRows, *given: Any, **more: Any) -> None:
        made.append(rows)
        real(rows, *given, **more)

    monkeypatch.setattr(DenseRows, "__init__", noted)
    got = select(make(20), cases.rcs(stratify=None, group_size=3), 10)
    assert made
    assert got.indices.tolist() == want.indices.tolist()
    assert got.gains.tolist() == want.gains.tolist()
    assert got.certificate == want.certificate
