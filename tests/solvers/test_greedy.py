"""Algorithm 1, compared with its transcription."""

from collections.abc import Sequence
from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from coreselect import select
from coreselect.errors import RequirementError
from coreselect.gradients.rows import DenseRows
from coreselect.search import search
from coreselect.solvers.greedy import greedy
from coreselect.task.groups import deal


class Bowl:
    """L(θ) = ½ (θ − c)ᵀ A (θ − c): an objective whose query really moves with θ′."""

    def __init__(self, p: int, seed: int) -> None:
        own = torch.Generator().manual_seed(seed)
        root = torch.randn(p, p, dtype=torch.float64, generator=own)
        self.A, self.c = root @ root.T, torch.randn(p, dtype=torch.float64, generator=own)
        self.asked: list[Tensor] = []
        self.recrafted: list[Tensor] = []

    def query(self, theta: Tensor) -> Tensor:
        """A (θ − c)."""
        self.asked.append(theta.clone())
        return self.A @ (theta - self.c)

    def recraft(self, theta: Tensor) -> None:
        """Record where."""
        self.recrafted.append(theta.clone())


def problem(n: int, size: int, p: int, seed: int) -> tuple[DenseRows, Tensor, list[Any]]:
    """Rows of groups as means of random examples, with trimming."""
    own = torch.Generator().manual_seed(seed)
    each = torch.randn(n, p, dtype=torch.float64, generator=own)
    groups = deal(n, size, own)

    def full(m: int, kept: Any) -> Tensor:
        return each[torch.as_tensor(groups[m] if kept is None else kept)].mean(0)

    matrix = torch.stack([full(m, None) for m in range(len(groups))])
    return DenseRows(matrix, groups, full=full), each, groups


@given(st.data())
def test_greedy_equals_the_transcription(data: st.DataObject) -> None:
    """Order, kept counts, gains and θ′ equal Algorithm 1 written out, at any size, budget, group size, η and refresh."""
    n = data.draw(st.integers(1, 30))
    size = data.draw(st.integers(1, n))
    p, seed = data.draw(st.integers(1, 8)), data.draw(st.integers(0, 999))
    budget, refresh = data.draw(st.integers(1, n)), data.draw(st.integers(1, 4))
    eta = data.draw(st.sampled_from([1e-4, 0.01, 0.3]))
    which = data.draw(st.sampled_from(["exact", "faiss"]))
    rows, each, groups = problem(n, size, p, seed)
    theta = torch.zeros(p, dtype=torch.float64)
    trace, moved = greedy(
        rows, Bowl(p, seed), search(which, rows), theta=theta, eta=eta, budget=budget, refresh=refresh
    )

    def row(members: Sequence[int]) -> Tensor:
        return each[list(members)].mean(0)

    order, picks, gains, want = oracles.algorithm_1(
        row, Bowl(p, seed).query, groups, theta, eta, budget, refresh=refresh
    )
    assert list(trace.order) == order
    assert sum(trace.kept) == len(picks) == budget
    assert np.allclose(trace.gains, gains, rtol=1e-9, atol=1e-12)
    assert torch.allclose(moved, want, rtol=0, atol=1e-10)
    assert float(theta.abs().max()) == 0  # θ itself is not touched


def test_the_last_group_is_trimmed_and_stepped_with_its_share() -> None:
    """By hand: of a group with members 4, 0, 2, 2 two are kept, so the step is η · ½ · mean(4, 0)."""
    each = torch.tensor([[4.0], [0.0], [2.0], [2.0]], dtype=torch.float64)
    group = np.array([0, 1, 2, 3])
    rows = DenseRows(
        each.mean(0, keepdim=True), [group], full=lambda m, kept: each[group if kept is None else kept].mean(0)
    )

    class Slope:
        """A constant query of one."""

        def query(self, theta: Tensor) -> Tensor:
            return torch.ones(1, dtype=torch.float64)

        def recraft(self, theta: Tensor) -> None: ...

    trace, moved = greedy(
        rows, Slope(), search("exact", rows), theta=torch.zeros(1, dtype=torch.float64), eta=0.1, budget=2
    )
    assert trace.kept == (2,)
    assert trace.gains == pytest.approx((0.1 * 0.5 * 2.0,))
    assert moved.tolist() == pytest.approx([-0.1])


def test_ties_go_to_the_lowest_number() -> None:
    """Equal rows are picked in order of their numbers, by every search."""
    matrix = torch.ones(20, 3, dtype=torch.float64)
    matrix[7] = 2
    for which in ("exact", "faiss"):
        rows = DenseRows(matrix, [np.array([i]) for i in range(20)])

        class Slope:
            """A constant query."""

            def query(self, theta: Tensor) -> Tensor:
                return torch.ones(3, dtype=torch.float64)

            def recraft(self, theta: Tensor) -> None: ...

        trace, _ = greedy(
            rows, Slope(), search(which, rows), theta=torch.zeros(3, dtype=torch.float64), eta=0.1, budget=5
        )
        assert trace.order == (7, 0, 1, 2, 3)


@pytest.mark.parametrize(
    ("refresh", "recraft", "queries", "crafts"),
    [
        (1, "once", 10, 0),
        (3, "once", 4, 0),
        (1, "every", 10, 9),
        (2, "every", 5, 4),
        (1, 4, 10, 2),
        (5, 4, 4, 2),
        (100, 3, 4, 3),
        (1, "halfway", 10, 1),
        (3, "halfway", 5, 1),
        (100, "halfway", 2, 1),
    ],
)
def test_refresh_and_recraft_keep_time(refresh: int, recraft: Any, queries: int, crafts: int) -> None:
    """Ten picks request the query every `refresh` picks and at every recraft, and recrafts come when they were requested."""
    rows, _, _ = problem(10, 1, 3, 0)
    bowl = Bowl(3, 0)
    greedy(
        rows,
        bowl,
        search("exact", rows),
        theta=torch.zeros(3, dtype=torch.float64),
        eta=0.01,
        budget=10,
        refresh=refresh,
        recraft=recraft,
    )
    assert len(bowl.asked) == queries
    assert len(bowl.recrafted) == crafts


@pytest.mark.parametrize(
    ("size", "budget", "before"), [(1, 10, 5), (1, 9, 5), (1, 2, 1), (1, 1, None), (4, 9, 2), (4, 5, 1)]
)
def test_halfway_is_when_half_of_the_budget_is_held(size: int, budget: int, before: int | None) -> None:
    """Validation is attacked at θ′ of that moment, before the next pick; a single pick has no such moment."""
    rows, _, _ = problem(10, size, 3, 0)
    bowl, theta = Bowl(3, 0), torch.zeros(3, dtype=torch.float64)
    settings: dict[str, Any] = {"theta": theta, "eta": 0.01, "budget": budget, "recraft": "halfway"}
    greedy(rows, bowl, search("exact", rows), **settings)
    at = [i for i, asked in enumerate(bowl.asked) for there in bowl.recrafted if torch.equal(asked, there)]
    assert at == ([] if before is None else [before])


def test_ticks_count_examples() -> None:
    """Progress is reported after every pick, in examples, and ends at the budget."""
    rows, _, _ = problem(10, 3, 3, 0)
    seen: list[tuple[int, int]] = []
    greedy(
        rows,
        Bowl(3, 0),
        search("exact", rows),
        theta=torch.zeros(3, dtype=torch.float64),
        eta=0.01,
        budget=8,
        tick=lambda done, total: seen.append((done, total)),
    )
    assert [t for _, t in seen] == [8] * len(seen)
    assert seen[-1][0] == 8
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)


@pytest.mark.parametrize("where", ["linear head", "deep head", "contrastive", "whole model, wide sketch"])
@pytest.mark.parametrize("k", [1, 5, 7, 11])
def test_rcs_equals_the_transcription(where: str, k: int) -> None:
    """RCS end to end equals Algorithm 1 on its own rows and queries, trimmed last group included, in float64."""
    settings: dict[str, Any] = {}
    if where == "contrastive":
        task = cases.acl_task(11)
    elif where == "deep head":
        task = cases.sat_task(11, model=cases.built(cases.DeepHead), head="head")
    elif where == "linear head":
        task = cases.sat_task(11)
    else:
        task = cases.sat_task(11, capture=["conv.*", "fc.*"])
        settings["refresh"] = 2
    selector = cases.rcs(eta=0.05, stratify=None, **settings)
    chosen = select(task, selector, k)
    with task.snapshot(0, 0) as snapshot:
        groups = selector._groups(snapshot, k)
        held = snapshot.objective(selector.objective)
        rows, _ = snapshot.rows(groups, None)
        order, picks, gains, _ = oracles.algorithm_1(
            lambda members: rows.full(next(m for m, g in enumerate(groups) if members[0] in g), np.array(members)),
            held.query,
            groups,
            snapshot.theta(),
            0.05,
            k,
            refresh=selector.refresh,
        )
    if where != "whole model, wide sketch":
        assert chosen.indices.tolist() == picks
        assert list(dict.fromkeys(chosen.groups.tolist())) == order
        sums = [chosen.gains[chosen.groups == m].sum() for m in order]
        assert np.allclose(sums, gains, rtol=1e-9)
    else:  # sketched: the order may differ, the gains of what was picked are exact
        assert len(set(chosen.indices.tolist())) == k


@pytest.mark.parametrize("search_name", ["auto", "exact", "faiss"])
def test_searches_pick_alike(search_name: str) -> None:
    """RCS gives the same picks and gains with every search."""
    want = select(cases.acl_task(16), cases.rcs(stratify=None), 9)
    got = select(cases.acl_task(16), cases.rcs(stratify=None, search=search_name), 9)
    assert got.indices.tolist() == want.indices.tolist()
    assert np.array_equal(got.gains, want.gains)


def test_recrafting_without_a_model_is_refused() -> None:
    """Arrays cannot be attacked again: the error of one sentence comes when an attack is due, not earlier."""
    with pytest.raises(RequirementError, match="recraft='once'"):
        select(cases.array_task(12), cases.rcs(recraft="every"), 7)
    assert len(select(cases.array_task(12), cases.rcs(recraft="every"), 2)) == 2  # one group, never attacked again
