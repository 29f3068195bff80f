"""Claims about the sketch: it is linear, unbiased and within its stated variance."""

from typing import Any

import cases
import pytest
import torch
from loop_rows import TOL, full, opened, sat_rows

from coreselect.errors import ShapeError
from coreselect.gradients import sketch
from coreselect.gradients.sketch import Sketch


class TestSketch:
    """The approximation of inner products by a sketch."""

    def test_is_linear_and_depends_on_its_seed_alone(self) -> None:
        """S(a + 2b) = S(a) + 2 S(b); equal settings give equal projections, and other seeds give others."""
        a, b = torch.randn(2, 300, dtype=torch.float64)
        s = Sketch(64)
        assert torch.allclose(s(a + 2 * b), s(a) + 2 * s(b))
        assert torch.equal(Sketch(64, 0)(a), s(a))
        assert not torch.equal(Sketch(64, 1)(a), s(a))
        assert torch.equal(s(torch.stack([a, b]))[1], s(b))

    def test_equals_its_definition(self) -> None:
        """Every coordinate goes to one bucket with one sign, so the sketch of the identity has one ±1 in each row."""
        table = Sketch(16)(torch.eye(50, dtype=torch.float64))
        assert ((table != 0).sum(1) == 1).all()
        assert (table.abs().sum(1) == 1).all()

    def test_is_unbiased_and_within_its_stated_variance(self) -> None:
        """Over 2,000 seeds the mean of ⟨Sa, Sb⟩ is ⟨a, b⟩ and the variance is at most the stated bound."""
        own = torch.Generator().manual_seed(0)
        a, b = torch.randn(2, 40, dtype=torch.float64, generator=own)
        width, draws = 8, 2000
        got = torch.tensor([float(Sketch(width, s)(a) @ Sketch(width, s)(b)) for s in range(draws)])
        norms = float(a @ a) * float(b @ b)
        variance = (norms + float(a @ b) ** 2) / width
        assert abs(float(got.mean()) - float(a @ b)) < 4 * (variance / draws) ** 0.5
        assert float(got.var()) < 1.15 * variance
        assert float((abs(got - a @ b) >= 2 * norms**0.5).double().mean()) <= 2 / (width * 4)

    def test_sketched_rows_are_the_sketches_of_the_rows(self) -> None:
        """For a head and for a whole model, scores are ⟨S r, S q⟩ of the rows of the loop."""
        sketch = Sketch(32)
        choices: list[Any] = [{}, {"capture": "all"}]
        for settings in choices:
            task = cases.sat_task(8, **settings)
            groups = [[0, 3, 7], [1, 2], [4, 5, 6]]
            rows, _, names = opened(task, groups, sketch)
            R = sat_rows(task, names, groups)
            q = torch.randn(R.shape[1], dtype=torch.float64)
            assert torch.allclose(rows.scores(rows.project(q)), sketch(R) @ sketch(q), **TOL)
            assert torch.allclose(full(rows), R, **TOL)

    def test_width_zero_is_refused(self) -> None:
        """A sketch of width 0 is refused."""
        with pytest.raises(ShapeError):
            Sketch(0)


@pytest.mark.parametrize(("p", "width"), [(1, 1), (7, 20), (1000, 16), (5000, 64)])
def test_the_form_for_devices_adds_the_same_numbers(p: int, width: int) -> None:
    """The slots of a bucket hold each of its places once, in order; free slots have place P."""
    bucket, _ = sketch._table(width, 3, p, "cpu")
    slots = sketch._slots(width, 3, p, "cpu").view(width, -1)
    for w in range(width):
        mine = slots[w][slots[w] < p].tolist()
        assert mine == (bucket == w).nonzero().flatten().tolist()
