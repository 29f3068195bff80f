"""The matrix of similarities does not depend on the blocks in which it is computed."""

from typing import Any

import pytest
import torch

from coreselect.search import similarity as module
from coreselect.search.similarity import similarity
from coreselect.support import seeding


@pytest.mark.parametrize("rows", [1, 7, 23, 40])
@pytest.mark.parametrize("kind", ["cosine", "euclidean", "rbf"])
def test_blocks_of_any_size_give_the_same_symmetric_matrix(
    kind: Any, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For 23 points in blocks of one row, seven rows or all rows, every entry equals the one computed by columns."""
    n = 23
    x = torch.randn(n, 5, generator=seeding.generator(0, "points"))
    s = similarity(x, kind)
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * n * rows)
    got = s.matrix()
    want = torch.stack([s.column(j) for j in range(n)]).div(module.GRID).round().mul(module.GRID)  # [n, n]
    torch.testing.assert_close(got.double(), want, rtol=0, atol=module.GRID)
    assert torch.equal(got, got.T)
    whole = torch.cat([block for _, block in s.blocks()])  # [n, n]
    upper = torch.zeros(n, n, dtype=torch.float64)
    for at, block in s.blocks(upper=True):
        upper[at : at + len(block), at:] = block
    torch.testing.assert_close(upper.triu(), whole.triu(), rtol=0, atol=1e-12)
