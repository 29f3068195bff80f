"""Search with few passes picks what a full pass at every pick would, and says how many passes it made."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from coreselect.errors import NonFiniteError
from coreselect.gradients.factored import FactoredRows
from coreselect.gradients.factors import Factor
from coreselect.gradients.rows import DenseRows, Rows
from coreselect.gradients.store import allocate
from coreselect.network.layout import Layout
from coreselect.search import ExactSearch, FaissSearch, FewPasses, few_passes, search
from coreselect.search.levels import Level, Query, Rest
from coreselect.solvers.greedy import greedy
from coreselect.task.groups import deal

KINDS = (
    "random",
    "near ties",
    "ties",
    "duplicates",
    "zero",
    "some zero",
    "huge",
    "tiny",
    "vanishing",
    "spread",
    "scaled",
)


class Everything:
    """The slow twin: every row alive is decided in float64."""

    def propose(self, query: Tensor, alive: Tensor) -> Tensor:
        """Propose all."""
        del query
        return alive.nonzero().flatten()


class Moving:
    """q(θ) = A(θ − c), with A and c of the seed; a recraft draws another c."""

    def __init__(self, p: int, seed: int, scale: float, dtype: torch.dtype, curve: float) -> None:
        self.own = torch.Generator().manual_seed(seed)
        self.p, self.scale, self.curve, self.dtype = p, scale, curve, dtype
        self.recraft(torch.empty(0))

    def query(self, theta: Tensor) -> Tensor:
        """θ′ [P] → [P]."""
        return (self.scale * (self.curve * theta.double() - self.c)).to(self.dtype)

    def recraft(self, theta: Tensor) -> None:
        """Jump."""
        del theta
        self.c = torch.randn(self.p, dtype=torch.float64, generator=self.own)


def matrix(kind: str, m: int, p: int, seed: int, dtype: torch.dtype) -> Tensor:
    """Rows [m, p] that are difficult for a search."""
    own = torch.Generator().manual_seed(seed)
    R = torch.randn(m, p, dtype=torch.float64, generator=own)
    each = torch.rand(m, 1, dtype=torch.float64, generator=own)
    R = {
        "random": lambda: R,
        "near ties": lambda: R[:1] + 1e-9 * R,
        "ties": lambda: R[:1].expand(m, p),
        "duplicates": lambda: R[torch.randint(max(1, m // 4), (m,), generator=own)],
        "zero": lambda: 0 * R,
        "some zero": lambda: R * (each > 0.5),
        "huge": lambda: 1e18 * R,
        "tiny": lambda: 1e-20 * R,
        "vanishing": lambda: 1e-38 * R,  # products with a query of 1e-6 are below the range of float32
        "spread": lambda: R * 10 ** (8 * each - 4),
        "scaled": lambda: R[:1] * each,  # one direction: picked in the order of their lengths
    }[kind]()
    return R.to(dtype).contiguous()


@pytest.fixture(autouse=True)
def _levels_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make levels for problems of any size."""
    monkeypatch.setattr(few_passes, "WORTH", 0)
    monkeypatch.setattr(few_passes, "SMALLEST", 8)
    monkeypatch.setattr(few_passes, "SHRINK", 3)


@given(st.data())
def test_picks_are_those_of_full_passes(data: st.DataObject) -> None:
    """Order, gains and θ′ are bit for bit those of the slow greedy: any rows, query, step, refresh, recraft and trim."""
    kind = data.draw(st.sampled_from(KINDS))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    m, p, seed = data.draw(st.integers(1, 120)), data.draw(st.integers(1, 12)), data.draw(st.integers(0, 999))
    size = data.draw(st.integers(1, 4))
    each = matrix(kind, m * size, p, seed, dtype)
    groups = deal(m * size, size, torch.Generator().manual_seed(seed))

    def full(g: int, kept: Any) -> Tensor:
        return each[torch.as_tensor(groups[g] if kept is None else kept)].mean(0)

    R = torch.stack([full(g, None) for g in range(len(groups))])
    if data.draw(st.booleans()):
        mapped = allocate(*R.shape, like=R[:1], limit=0)
        mapped[:] = R
        R = mapped
    rows = DenseRows(R, groups, full=full)
    settings: dict[str, Any] = {
        "eta": data.draw(st.sampled_from([1e-5, 1e-3, 0.1])) / max(1e-30, float(rows.norms().max())),
        "budget": data.draw(st.integers(1, m * size)),
        "refresh": data.draw(st.integers(1, 5)),
        "recraft": data.draw(st.sampled_from(["once", "halfway", "every", 3, 20])),
        "theta": torch.zeros(p, dtype=dtype),
    }
    scale, curve = data.draw(st.sampled_from([1e-6, 1.0, 1e10])), data.draw(st.sampled_from([0.0, 1.0, 30.0]))
    want, there = greedy(rows, Moving(p, seed, scale, dtype, curve), Everything(), **settings)
    for made in (FewPasses(rows, ExactSearch(rows)), FewPasses(rows, FaissSearch(rows))):
        got, here = greedy(rows, Moving(p, seed, scale, dtype, curve), made, **settings)
        assert got == want
        assert torch.equal(here, there)
        assert 1 <= made.passes <= len(want.order)


@given(st.data())
def test_factored_rows_are_searched_with_few_passes_too(data: st.DataObject) -> None:
    """Two streams of one layer, which may cancel: the picks are those of the slow greedy."""
    n, c, d, seed = (data.draw(st.integers(a, b)) for a, b in ((1, 60), (1, 4), (1, 6), (0, 999)))
    own = torch.Generator().manual_seed(seed)
    delta, inputs = torch.randn(n, c, generator=own), torch.randn(n, d, generator=own)
    second = data.draw(st.sampled_from([-1.0, -1.0 + 1e-6, 0.3]))
    parts = [Factor("w", "b", delta, inputs), Factor("w", "b", second * delta, inputs)]
    rows = FactoredRows(parts, Layout(("w", "b"), (torch.Size([c, d]), torch.Size([c]))))
    p = c * d + c
    settings: dict[str, Any] = {"theta": torch.zeros(p), "eta": data.draw(st.sampled_from([1e-4, 0.05]))}
    settings["budget"] = data.draw(st.integers(1, n))
    curve = data.draw(st.sampled_from([0.0, 1.0, 20.0]))
    want, _ = greedy(rows, Moving(p, seed, 1.0, torch.float32, curve), Everything(), **settings)
    got, _ = greedy(rows, Moving(p, seed, 1.0, torch.float32, curve), search("auto", rows), **settings)
    assert got == want


def problem(m: int = 600, p: int = 16, seed: int = 0) -> DenseRows:
    """Random rows of single examples."""
    return DenseRows(matrix("random", m, p, seed, torch.float32), [np.array([i]) for i in range(m)])


def run(rows: Rows, made: Any, curve: float, budget: int = 200, **settings: Any) -> tuple[int, ...]:
    """Return the order of a run."""
    given: dict[str, Any] = {"theta": torch.zeros(16), "eta": 1e-4, "budget": budget, **settings}
    return greedy(rows, Moving(16, 1, 1.0, torch.float32, curve), made, **given)[0].order


@pytest.mark.parametrize("full", [ExactSearch, FaissSearch])
def test_a_fixed_query_takes_one_pass_in_all(full: Callable[[DenseRows], Any]) -> None:
    """Also where rows are equal, and where all of them are picked."""
    for rows in (problem(), DenseRows(torch.ones(600, 16), [np.array([i]) for i in range(600)])):
        made = FewPasses(rows, full(rows))
        assert len(run(rows, made, 0.0, budget=600)) == 600
        assert made.passes == 1


def test_a_query_renewed_every_r_picks_takes_at_most_one_pass_each_time() -> None:
    """With `refresh=20`, 200 picks have 10 queries; with a small step fewer passes are needed."""
    rows = problem()
    made = FewPasses(rows, ExactSearch(rows))
    assert run(rows, made, 1.0, refresh=20, eta=0.5) == run(rows, Everything(), 1.0, refresh=20, eta=0.5)
    assert made.passes <= 10


def test_a_query_that_moves_little_needs_few_passes_and_one_that_jumps_needs_one_a_pick() -> None:
    """200 picks: a tenth of the passes at a small step; never more passes than picks."""
    rows = problem()
    made = FewPasses(rows, ExactSearch(rows))
    run(rows, made, 1.0)
    assert made.passes <= 20
    made = FewPasses(rows, ExactSearch(rows))
    run(rows, made, 1.0, recraft="every")
    assert 100 < made.passes <= 200


def test_levels_that_serve_no_pick_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every pick needs a full pass, inner levels are made a few times only, so they cost next to nothing."""
    made: list[int] = []
    best = Level.best

    def counted(level: Level, count: int) -> Level:
        made.append(count)
        return best(level, count)

    monkeypatch.setattr(Level, "best", counted)
    monkeypatch.setattr(few_passes, "SMALLEST", 1 << 20)  # one inner level
    rows = problem()
    search_ = FewPasses(rows, ExactSearch(rows))
    run(rows, search_, 1.0, recraft="every")
    assert len(made) < search_.passes / 8


def test_scores_beyond_the_range_of_float32_are_decided_in_float64() -> None:
    """Rows of 1e30 and a query of 1e20 overflow single precision; the order is still that of float64."""
    rows = DenseRows(1e30 * matrix("random", 80, 5, 0, torch.float32), [np.array([i]) for i in range(80)])

    class Fixed:
        """A large query."""

        def query(self, theta: Tensor) -> Tensor:
            return torch.full((5,), 1e20)

        def recraft(self, theta: Tensor) -> None: ...

    settings: dict[str, Any] = {"theta": torch.zeros(5), "eta": 1e-30, "budget": 80}
    want = greedy(rows, Fixed(), Everything(), **settings)[0].order
    for which in ("exact", "faiss"):
        assert greedy(rows, Fixed(), search(which, rows), **settings)[0].order == want


def test_a_query_that_is_not_finite_is_refused() -> None:
    """It is an error of greedy, before any search."""
    rows = problem()

    class Broken(Moving):
        """NaN after the first pick."""

        def query(self, theta: Tensor) -> Tensor:
            return super().query(theta) if not float(theta.abs().max()) else torch.full((16,), float("nan"))

    with pytest.raises(NonFiniteError, match="not finite after 1 picks"):
        greedy(
            rows, Broken(16, 0, 1.0, torch.float32, 1.0), search("auto", rows), theta=torch.zeros(16), eta=0.1, budget=3
        )


@given(st.integers(1, 30), st.integers(0, 999), st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_the_bound_of_the_rest_is_never_below_its_largest_score(n: int, seed: int, asked: list[float]) -> None:
    """`stays_below(x, limit)` is true where F(x) < limit and nowhere else, but for rounding, whatever was asked before."""
    own = torch.Generator().manual_seed(seed)
    upper, norms = torch.randn(n, dtype=torch.float64, generator=own), torch.rand(n, dtype=torch.float64, generator=own)
    rest = Rest(upper, norms)
    for x in asked:
        most = float((upper + x * norms).max())
        assert not rest.stays_below(x, most - 1e-12 * abs(most))
        assert rest.stays_below(x, most + 1e-9 * abs(most) + 1e-9)


@given(st.sampled_from(KINDS), st.integers(2, 60), st.integers(1, 10), st.integers(0, 999), st.floats(0, 3))
def test_rows_outside_an_inner_level_are_below_the_floor_that_rules_them_out(
    kind: str, m: int, p: int, seed: int, turn: float
) -> None:
    """If a level says that its rest is below a floor at a later query, every float64 score of the rest is."""
    rows = DenseRows(matrix(kind, m, p, seed, torch.float32), [np.array([i]) for i in range(m)])
    level = few_passes.everything(rows, ExactSearch(rows))
    own = torch.Generator().manual_seed(seed)
    first, move = torch.randn(p, generator=own), torch.randn(p, generator=own)
    alive = torch.ones(m, dtype=torch.bool)
    level.score(Query.of(first, torch.device("cpu")), alive)
    inner = level.best(max(1, m // 3))
    later = Query.of(first + turn * move, torch.device("cpu"))
    inner.score(later, alive)
    if level.rules_out_the_rest(later, inner.floor()):
        outside = np.setdiff1d(np.arange(m), inner.may_be_best(-np.inf).numpy())
        inside = inner.may_be_best(-np.inf).numpy()
        assert rows.exact(outside, later.seen).max() < rows.exact(inside, later.seen).max()
