"""Claims about rows as a matrix: rounding bounds, ties, blocks, and matrices on disk."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coreselect.errors import NonFiniteError
from coreselect.gradients.rows import DenseRows, argmax
from coreselect.gradients.store import allocate


class TestDense:
    """Rows as a matrix."""

    def rows(self, dtype: torch.dtype = torch.float32, m: int = 30, p: int = 17, seed: int = 0) -> DenseRows:
        """Make a random matrix of rows."""
        matrix = torch.randn(m, p, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)
        return DenseRows(matrix, [np.array([i]) for i in range(m)])

    @given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 50), st.sampled_from([torch.float32, torch.float64]))
    def test_slack_bounds_the_rounding(self, m: int, p: int, seed: int, dtype: torch.dtype) -> None:
        """|score − float64 product| ≤ slack·‖query‖ for every row at any shape, in both precisions."""
        rows = self.rows(dtype, m, p, seed)
        q = torch.randn(p, generator=torch.Generator().manual_seed(seed + 1)).to(dtype)
        off = np.abs(rows.scores(q).double().numpy() - rows.exact(np.arange(m), q))
        assert (off <= (rows.slack.double() * q.double().norm() * (1 + 1e-6)).numpy()).all()

    @pytest.mark.parametrize("scale", [1e-30, 1e-21, 1e-12, 1e12, 1e21, 1e30])
    def test_slack_bounds_the_rounding_at_extreme_scales(self, scale: float) -> None:
        """The bound also holds for rows whose squares overflow float32, and none of them is refused as infinite."""
        base = self.rows(torch.float64).matrix
        rows = DenseRows((base * scale).float(), [np.array([i]) for i in range(30)])
        q = torch.randn(17, generator=torch.Generator().manual_seed(1))
        off = np.abs(rows.scores(q).double().numpy() - rows.exact(np.arange(30), q))
        assert (off <= (rows.slack.double() * q.double().norm() * (1 + 1e-6)).numpy()).all()

    @pytest.mark.parametrize("p", [1 << 10, 1 << 13])
    def test_half_precision_rows_are_searched_correctly(self, p: int) -> None:
        """Slack is positive and finite for float16 rows of any length, so a search always proposes the best row."""
        rows = self.rows(torch.float16, 5, p)
        assert bool((rows.slack > 0).all())
        assert bool(torch.isfinite(rows.slack).all())

    def test_slack_stays_positive_for_the_longest_heads(self) -> None:
        """A row of 2^24 numbers or more has a positive slack: the rounding bound does not overflow."""
        from coreselect.gradients.rows import gamma

        for length in (1 << 22, 1 << 24, 1 << 27):
            assert gamma(length, torch.float32) > 0

    def test_mean_weighs_groups_by_size(self) -> None:
        """The pool's mean row is the mean over examples, not over groups."""
        matrix = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        rows = DenseRows(matrix, [np.array([0, 1, 2]), np.array([3])])
        assert rows.mean().tolist() == pytest.approx([0.75, 0.25])

    def test_blocks_cover_the_rows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With blocks of any size, scores, exact values and means equal those of the whole matrix."""
        from coreselect.gradients import rows as module

        q = torch.randn(17, generator=torch.Generator().manual_seed(0))
        want = self.rows().scores(q)
        monkeypatch.setattr(module, "BLOCK_BYTES", 200)
        rows = self.rows()
        assert len(rows.blocks()) > 5
        assert torch.allclose(rows.scores(q), want)
        assert np.allclose(rows.exact(np.arange(30), q), want.double().numpy(), atol=1e-5)
        assert torch.allclose(rows.mean(), rows.matrix.mean(0), atol=1e-6)

    def test_not_finite_rows_name_their_members(self) -> None:
        """NaN in a row is refused, and the message gives the names of the members of its group."""
        matrix = torch.ones(3, 2)
        matrix[1, 0] = float("nan")
        with pytest.raises(NonFiniteError) as why:
            DenseRows(matrix, [np.array([0]), np.array([2, 1]), np.array([3])], names=np.array([10, 11, 12, 13]))
        assert why.value.indices == (11, 12)

    def test_argmax_breaks_ties_to_the_lowest_index(self) -> None:
        """Of rows with equal float64 scores the lowest index wins, in any order of proposal."""
        rows = DenseRows(torch.ones(5, 3), [np.array([i]) for i in range(5)])
        assert argmax(rows, torch.tensor([4, 2, 3]), torch.ones(3)) == (2, 3.0)

    def test_exact_does_not_depend_on_other_rows(self) -> None:
        """The float64 score of a row is the same to the last bit, whatever other rows are scored with it."""
        rows = self.rows(p=1001)
        q = torch.randn(1001)
        together = rows.exact(np.arange(30), q)
        for i in range(30):
            assert rows.exact(np.array([i]), q)[0] == together[i]


def test_large_matrices_are_on_disk() -> None:
    """Rows above the size limit are memory-mapped, keep what is written, and can be searched."""
    matrix = allocate(100, 8, like=torch.empty(0), limit=1000)
    values = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    for i in range(100):
        matrix[i] = values[i]
    rows = DenseRows(matrix, [np.array([i]) for i in range(100)])
    q = torch.randn(8, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(rows.scores(q), values @ q, atol=1e-5)
