"""Distinct points are found as a dictionary of their bytes finds them."""

import numpy as np
import pytest
import torch

from coreselect.search import distinct as module
from coreselect.search.distinct import distinct_points


def by_dictionary(x: torch.Tensor) -> tuple[list[int], list[int]]:
    """First indices and counts, by a dictionary of tuples (0 and −0 are equal keys)."""
    seen: dict[tuple[float, ...], list[int]] = {}
    for i, row in enumerate(x.tolist()):
        seen.setdefault(tuple(row), []).append(i)
    return [m[0] for m in seen.values()], [len(m) for m in seen.values()]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 7, 1024])
@pytest.mark.parametrize("hashed", ["well", "badly", "not at all"])
def test_distinct_points_are_those_of_a_dictionary(
    dtype: torch.dtype, rows: int, hashed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For duplicates, 0 and −0, one point and no duplicates, in blocks of any size, also if many or all hashes collide."""
    own = module.hashes
    monkeypatch.setattr(module, "ROWS", rows)
    if hashed != "well":
        kept = np.uint64(1 if hashed == "badly" else 0)
        monkeypatch.setattr(module, "hashes", lambda block: own(block) & kept)
    lattice = torch.from_numpy(np.random.default_rng(0).integers(-1, 2, (80, 3))).to(dtype)
    signed = torch.tensor([[1.0], [0.0], [1.0], [-0.0], [2.0]], dtype=dtype)
    for x in (lattice, signed, lattice.T, lattice[::2], lattice[:1], torch.arange(9.0, dtype=dtype)[:, None]):
        first, count = distinct_points(x)
        assert (first.tolist(), count.tolist()) == by_dictionary(x)
