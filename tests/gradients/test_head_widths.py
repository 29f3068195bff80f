"""Rows of heads whose Linears differ in width: products and norms are those of the matrix."""

from itertools import pairwise
from typing import Any

import cases
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_rows import TOL, full, opened, sat_rows
from torch import Tensor, nn

from coreselect import select
from coreselect.gradients.factored import FactoredRows
from coreselect.gradients.factors import Factor
from coreselect.network.layout import Layout
from coreselect.selectors import CRAIG

f64 = torch.float64


@given(
    widths=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    biases=st.lists(st.booleans(), min_size=4, max_size=4),
    twice=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=40, deadline=None)
def test_gram_and_norms_are_those_of_the_matrix(widths: list[int], biases: list[bool], twice: bool, seed: int) -> None:
    """At any widths, with any biases, and with every Linear called twice, products and norms agree to 1e-10."""
    draws = torch.Generator().manual_seed(seed)
    n, shapes, parts = 5, {}, []
    for at, (inner, outer) in enumerate(pairwise(widths)):
        shapes[f"{at}.weight"] = torch.zeros(outer, inner)
        bias = f"{at}.bias" if biases[at] else None
        if bias:
            shapes[bias] = torch.zeros(outer)
        parts += [
            Factor(
                f"{at}.weight",
                bias,
                torch.randn(n, outer, generator=draws, dtype=f64),
                torch.randn(n, inner, generator=draws, dtype=f64),
            )
            for _ in range(1 + twice)
        ]
    rows = FactoredRows(parts, Layout.of(shapes))
    matrix = rows.dense(torch.arange(n))
    assert torch.allclose(rows.norms(), matrix.norm(dim=1), **TOL)
    a, b = torch.tensor([4, 0, 2]), torch.tensor([1, 2])
    assert torch.allclose(rows.gram(a, b), matrix[a] @ matrix[b].T, **TOL)


def test_a_bias_that_two_widths_share_meets_itself() -> None:
    """Two Linears of different inputs may share a bias, and only the bias then counts between them."""
    draws = torch.Generator().manual_seed(0)
    delta = [torch.randn(4, 3, generator=draws, dtype=f64) for _ in range(2)]
    inputs = [torch.randn(4, w, generator=draws, dtype=f64) for w in (2, 5)]
    shapes = {"a": torch.zeros(3, 2), "b": torch.zeros(3, 5), "c": torch.zeros(3)}
    rows = FactoredRows([Factor(w, "c", d, x) for w, d, x in zip("ab", delta, inputs, strict=True)], Layout.of(shapes))
    matrix = rows.dense(torch.arange(4))
    everyone = torch.arange(4)
    assert torch.allclose(rows.norms(), matrix.norm(dim=1), **TOL)
    assert torch.allclose(rows.gram(everyone, everyone), matrix @ matrix.T, **TOL)


class Adapted(nn.Module):
    """A Linear that is kept, beside a low-rank part that is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(7, 4), nn.Linear(7, 2, bias=False), nn.Linear(2, 4, bias=False)
        self.base.requires_grad_(False)

    def forward(self, z: Tensor) -> Tensor:
        return self.base(z) + self.up(self.down(z))


def adapted() -> Any:
    """Make a network whose head is such a layer."""

    def make() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 7), nn.Tanh(), Adapted())

    return cases.built(make)


@pytest.mark.parametrize(
    ("capture", "names"),
    [
        (None, ["3.down.weight", "3.up.weight"]),
        ("all", ["1.weight", "1.bias", "3.down.weight", "3.up.weight"]),
        (["3.base.*"], ["3.base.weight", "3.base.bias"]),
    ],
)
def test_what_is_trained_is_captured(capture: Any, names: list[str]) -> None:
    """Parameters without requires_grad have no part in the rows unless they are named; rows equal the loop's."""
    task = cases.sat_task(7, model=adapted(), head="3", capture=capture)
    groups = [[i] for i in range(7)]
    rows, _, captured = opened(task, groups)
    assert list(captured) == names
    task.model.requires_grad_(True)  # for the loop
    assert torch.allclose(full(rows), sat_rows(task, names, groups), **TOL)


def test_the_record_names_what_was_captured() -> None:
    """Provenance names the captured parameters; where none is trained, they are those of all Linears of the head."""
    model = adapted()
    task = cases.sat_task(12, model=model, head="3")
    assert select(task, CRAIG(), 3).provenance.task["captured"] == ["3.down.weight", "3.up.weight"]
    model.requires_grad_(False)
    named = select(task, CRAIG(), 3).provenance.task["captured"]
    assert named == ["3.base.weight", "3.base.bias", "3.down.weight", "3.up.weight"]
    model.requires_grad_(True)
    assert np.array_equal(select(task, CRAIG(), 3).provenance.task["captured"], named)
