"""Products of a matrix and a vector: each form within the bound of rounding, and none by threads of numpy."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import coreselect
from coreselect.gradients.products import dot_by_rows, matmul, times
from coreselect.gradients.rows import gamma

LIBRARY = Path(coreselect.__file__).parent


@pytest.mark.parametrize("width", [1, 7, 99, 100, 513, 8193])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("old_numpy", [False, True])
def test_a_product_is_within_its_bound(
    width: int, dtype: torch.dtype, old_numpy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short and long rows, contiguous or not, with and without `numpy.vecdot`: |error| ≤ γ ‖r‖ ‖q‖."""
    if old_numpy:
        monkeypatch.delattr(np, "vecdot", raising=False)
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


@pytest.mark.parametrize("width", [50, 150])
def test_scores_carry_no_gradient(width: int) -> None:
    """Rows of either width; else a graph would be kept at every pick."""
    m = torch.ones(3, width, requires_grad=True)
    assert not times(m, m[0]).requires_grad


@pytest.mark.parametrize("width", [300, 9000])
def test_equal_rows_have_equal_products_wherever_they_stand(width: int) -> None:
    """Ties between copies stay ties."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(31, width))
    rows[3::4] = rows[3]
    assert len(np.unique(dot_by_rows(rows, rng.normal(size=width))[3::4])) == 1


ROOMS = ("gradients", "search", "selectors")
OF_ARRAYS = ("selectors/label_free", "selectors/sieve.py", "search/kmeans.py")  # their matrices are numpy's


def test_no_method_multiplies_by_the_threads_of_numpy() -> None:
    """No method or search calls `numpy.dot` and its like, and files whose matrices are arrays have no `@`: see `products`."""
    for file in (path for room in ROOMS for path in (LIBRARY / room).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        called = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np"
        }
        assert not called & {"dot", "matmul", "inner", "tensordot"}, file
        if file.relative_to(LIBRARY).as_posix().startswith(OF_ARRAYS):
            assert not any(isinstance(node, ast.MatMult) for node in ast.walk(tree)), file
