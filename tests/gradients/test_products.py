"""Products of a matrix and a vector: each form within the bound of rounding, and none by threads of numpy."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import coreselect
from coreselect.gradients import products
from coreselect.gradients.products import dot_by_rows, dots, fast_gemv, matmul, times
from coreselect.gradients.rows import gamma

LIBRARY = Path(coreselect.__file__).parent


@pytest.fixture
def read_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the matrix in each call of the form that makes a dot product for each row."""
    seen: list[int] = []
    made = torch.sparse.sampled_addmm

    def counted(asked: Tensor, left: Tensor, right: Tensor, **more: float) -> Tensor:
        seen.append(left.numel())
        return made(asked, left, right, **more)

    monkeypatch.setattr(torch.sparse, "sampled_addmm", counted)
    return seen


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Set how many threads torch uses, until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("width", [1, 7, 99, 100, 513, 8193])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("of_intel", [False, True])
def test_a_product_is_within_its_bound(
    width: int, dtype: torch.dtype, of_intel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short and long rows, contiguous or not, on processors of both kinds: |error| ≤ γ ‖r‖ ‖q‖."""
    monkeypatch.setattr(products, "fast_gemv", lambda: of_intel)
    rng = np.random.default_rng(width)
    for matrix in (
        rng.normal(size=(40, width)),
        rng.normal(size=(width, 40)).T,
        rng.normal(size=(40, 2 * width))[:, ::2],
        np.broadcast_to(rng.normal(size=width), (40, width)).copy(),
    ):
        rows, query = torch.from_numpy(matrix).to(dtype), torch.from_numpy(rng.normal(size=width)).to(dtype)
        want = (rows.double().numpy() * query.double().numpy()).sum(1)
        bound = gamma(width, dtype) * rows.double().norm(dim=1) * query.double().norm()
        for found in (times(rows, query), torch.from_numpy(dot_by_rows(rows.numpy(), query.numpy()))):
            assert found.dtype == dtype
            assert bool((found.double() - torch.from_numpy(want)).abs().le(bound).all())


@pytest.mark.parametrize("of_intel", [False, True])
def test_the_processor_and_the_rows_decide_the_form(
    of_intel: bool, read_at_once: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short rows take the product of BLAS, long ones only where it is fast and copies nothing."""
    monkeypatch.setattr(products, "fast_gemv", lambda: of_intel)
    matrix = torch.rand(3000, 400)
    times(matrix[:, :50], matrix[0, :50])
    assert not read_at_once
    times(matrix, matrix[0])
    assert read_at_once == ([] if of_intel else [matrix.numel()])
    for strided in (matrix[:, ::2], matrix[:1].expand(3000, -1)):
        read_at_once.clear()
        times(strided, strided[0])
        assert sum(read_at_once) == strided.numel()
        assert max(read_at_once) <= products.BLOCK  # no copy of the whole
    read_at_once.clear()
    times(matrix.T, matrix[:, 0])  # columns in one piece
    assert not read_at_once


@pytest.mark.parametrize("shape", [(0, 150), (0, 0), (3, 0), (1, 1), (1, 150)])
def test_matrices_without_rows_or_numbers_have_products(shape: tuple[int, int]) -> None:
    """Sums of nothing are 0."""
    R = np.ones(shape)
    assert dot_by_rows(R, np.ones(shape[1])).tolist() == [shape[1]] * shape[0]
    assert times(torch.from_numpy(R), torch.ones(shape[1]).double()).tolist() == [shape[1]] * shape[0]


@pytest.mark.parametrize("width", [120, 9000])
def test_threads_change_no_dot_product(width: int, set_threads: Callable[[int], None]) -> None:
    """Each product is the very number that one thread finds, in blocks of rows too."""
    rng = np.random.default_rng(0)
    R, q = rng.normal(size=(400, width)).astype(np.float32), rng.normal(size=width).astype(np.float32)
    set_threads(1)
    alone = dot_by_rows(R, q).tolist()
    for count in (2, 3):
        set_threads(count)
        assert dot_by_rows(R, q).tolist() == alone
    assert [*dot_by_rows(R[:7], q), *dot_by_rows(R[7:], q)] == alone


def test_dots_are_products_of_the_asked_pairs() -> None:
    """For each row of the left side, with the rows of the right side that it asks for, in that order."""
    left, right = torch.rand(5, 8, dtype=torch.float64), torch.rand(9, 8, dtype=torch.float64)
    ids = torch.tensor([[8, 0, 3]]).repeat(5, 1)
    assert torch.allclose(dots(left, right, ids), (left @ right.T).gather(1, ids), rtol=1e-14)


@pytest.mark.parametrize(
    ("about", "fast"), [("vendor_id : AuthenticAMD", False), ("vendor_id : GenuineIntel", True), ("", False)]
)
def test_the_system_tells_the_processor(about: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """MKL by itself is not enough."""
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: about)
    assert fast_gemv.__wrapped__() == fast
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert not fast_gemv.__wrapped__()


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
