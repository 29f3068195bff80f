"""Products of a matrix and a vector: each form within the bound of rounding, and none by threads of numpy."""

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import coreselect
from coreselect.gradients import products
from coreselect.gradients.products import dot_by_rows, matmul, slow_mkl, times
from coreselect.gradients.rows import gamma

LIBRARY = Path(coreselect.__file__).parent


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Divide the rows of every product between three threads."""
    before = torch.get_num_threads()
    monkeypatch.setattr(products, "SHARE", 1)
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("width", [1, 7, 99, 100, 513, 8193])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("old_numpy", [False, True])
@pytest.mark.parametrize("of_intel", [False, True])
def test_a_product_is_within_its_bound(
    width: int, dtype: torch.dtype, old_numpy: bool, of_intel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short and long rows, contiguous or not, with and without `numpy.vecdot`, on both processors: |error| ≤ γ ‖r‖ ‖q‖."""
    if old_numpy:
        monkeypatch.delattr(np, "vecdot", raising=False)
    monkeypatch.setattr(products, "slow_mkl", lambda: not of_intel)
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


@pytest.mark.parametrize("width", [120, 9000])
@pytest.mark.parametrize("rows", [1, 2, 5, 31])
@pytest.mark.usefixtures("three_threads")
def test_threads_change_no_product(width: int, rows: int) -> None:
    """Fewer rows than threads too; each product is the very number that one thread finds."""
    rng = np.random.default_rng(0)
    R, q = rng.normal(size=(rows, 2 * width))[:, ::2], rng.normal(size=width)
    shared = dot_by_rows(R, q)
    torch.set_num_threads(1)
    assert shared.tolist() == dot_by_rows(R, q).tolist()


@pytest.mark.usefixtures("three_threads")
def test_threads_treat_overflow_as_their_caller_does() -> None:
    """numpy keeps that setting for each thread."""
    big = np.full((30, 200), 1e38, dtype=np.float32)
    with np.errstate(over="ignore"):
        assert np.isinf(dot_by_rows(big, big[0])).all()
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        dot_by_rows(big, big[0])


@pytest.mark.parametrize(
    ("about", "slow"), [("vendor_id : AuthenticAMD", True), ("vendor_id : GenuineIntel", False), ("", False)]
)
def test_the_processor_decides_how_torch_multiplies(about: str, slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that says nothing about its processor leaves products to torch."""
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: about)
    assert slow_mkl.__wrapped__() == slow


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
