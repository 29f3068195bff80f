"""Gradients whose products are no numbers any more are refused, in place of picks that come from an overflow."""

import numpy as np
import pytest

from coreselect import Task, get_selector, select
from coreselect.errors import NonFiniteError


def task_of(rows: float, query: float, dtype: str = "float64") -> Task:
    """Make a task of 12 gradients of about these sizes."""
    rng = np.random.default_rng(0)
    given = (query * rng.normal(size=4)).astype(dtype)
    return Task.from_arrays(
        gradients=(rows * rng.normal(size=(12, 4))).astype(np.float32),
        validation_gradient=given,
        labels=np.arange(12) % 3,
    )


@pytest.mark.parametrize("name", ["craig", "gradmatch", "less", "grand"])
def test_gradients_whose_products_overflow_are_refused(name: str) -> None:
    """The message names the examples: the squares of float32 numbers from 1.9e19 on are infinite."""
    with pytest.raises(NonFiniteError, match=r"gradients of 12 examples hold .* 1e\+18 and above") as got:
        select(task_of(1e25, 1.0), get_selector(name), 3)
    assert got.value.indices == tuple(range(12))
    assert len(select(task_of(1e10, 1.0), get_selector(name), 3)) == 3


@pytest.mark.parametrize(("name", "what"), [("less", "validation gradient"), ("rcs_sampled", "gains of 12")])
def test_a_validation_gradient_whose_products_overflow_is_refused(name: str, what: str) -> None:
    """Infinite gains rank nothing, and would draw examples as if all were alike."""
    with pytest.raises(NonFiniteError, match=what):
        select(task_of(1e10, 1e35), get_selector(name), 3)


def test_a_validation_gradient_that_its_rows_cannot_hold_is_refused() -> None:
    """It is finite in float64, and infinite beside gradients in float32."""
    with pytest.raises(NonFiniteError, match="too large for float32"):
        task_of(1.0, 1e200)
