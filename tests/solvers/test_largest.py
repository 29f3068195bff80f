"""The largest value that is not taken."""

import torch

from coreselect.solvers.largest import first_largest


def test_first_largest_sees_through_rounding() -> None:
    """Values that differ by less than rounding are ties, and taken values are skipped."""
    values = torch.tensor([1.0, 3.0, 3.0 + 1e-14, 3.1], dtype=torch.float64)
    assert first_largest(values, torch.tensor([False, False, False, True])) == 1
