"""Products of a matrix and a vector: each form within the bound of rounding, and none by threads of numpy."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import coreselect
from coreselect.gradients import products
from coreselect.gradients.products import matmul, times
from coreselect.gradients.rows import gamma

LIBRARY = Path(coreselect.__file__).parent


@pytest.mark.parametrize("width", [1, 7, 99, 100, 513])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("old_numpy", [False, True])
def test_a_product_is_within_its_bound(
    width: int, dtype: torch.dtype, old_numpy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short and long rows, contiguous or not, with and without `numpy.vecdot`: |error| ≤ γ ‖r‖ ‖q‖."""
    if old_numpy:
        monkeypatch.setattr(products, "dot_by_rows", products._einsum)
    rng = np.random.default_rng(width)
    for matrix in (
        rng.normal(size=(40, width)),
        rng.normal(size=(width, 40)).T,
        rng.normal(size=(40, 2 * width))[:, ::2],
    ):
        rows, query = torch.from_numpy(matrix).to(dtype), torch.from_numpy(rng.normal(size=width)).to(dtype)
        found = times(rows, query)
        want = (rows.double().numpy() * query.double().numpy()).sum(1)
        bound = gamma(width, dtype) * rows.double().norm(dim=1) * query.double().norm()
        assert found.dtype == dtype
        assert bool((found.double() - torch.from_numpy(want)).abs().le(bound).all())


def test_a_product_that_overflows_says_nothing_and_is_not_finite() -> None:
    """Who compares scores looks for such scores; a warning would be printed at every pick."""
    big = torch.full((3, 200), 1e38)
    with np.errstate(all="raise"):
        assert bool(times(big, big[0]).isinf().all())


def test_autocast_around_a_caller_does_not_round_products() -> None:
    """Scores stay in float32 inside a training step under autocast, whose products are in bfloat16."""
    a = torch.linspace(0.1, 1.7, 24).view(4, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert times(a, a[1]).dtype == torch.float32
        assert matmul(a.numpy(), a.T.contiguous().numpy()).dtype == np.float32
    assert np.allclose(matmul(a.numpy(), a.T.contiguous().numpy()), a.numpy() @ a.numpy().T)


def test_no_method_multiplies_by_the_threads_of_numpy() -> None:
    """No method or search calls `numpy.dot` and its like, and their files that hold arrays alone have no `@`: see `products`."""
    rooms = [LIBRARY / "search", LIBRARY / "selectors", LIBRARY / "gradients"]
    for file in (path for room in rooms for path in room.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        called = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np"
        }
        assert not called & {"dot", "matmul", "inner", "tensordot"}, file
        if not any(isinstance(node, ast.Import) and node.names[0].name == "torch" for node in ast.walk(tree)):
            products_of_arrays = [
                n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.MatMult)
            ]
            assert not products_of_arrays, file
