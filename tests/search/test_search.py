"""Search: after the decision in float64, every search gives the same row."""

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from processes import in_processes
from torch import Tensor

from coreselect.errors import RequirementError, UnknownNameError
from coreselect.gradients.rows import DenseRows, argmax
from coreselect.gradients.spread import SpreadRows
from coreselect.gradients.store import allocate
from coreselect.search import SEARCHES, ExactSearch, FaissSearch, few_passes, search
from coreselect.search.exact import within_rounding
from coreselect.support.meeting import Meeting
from coreselect.support.ranks import Work, together

KINDS = ("random", "near ties", "exact ties", "duplicates", "constant", "zero", "huge spread")


def matrix(kind: str, m: int, p: int, seed: int, dtype: torch.dtype) -> Tensor:
    """Rows that are difficult for a search in float32."""
    own = torch.Generator().manual_seed(seed)
    R = torch.randn(m, p, dtype=torch.float64, generator=own)
    if kind == "near ties":
        R = R[:1] + 1e-9 * R
    elif kind == "exact ties":
        R = R[:1].expand(m, p).clone()
        R[m // 2] -= 1
    elif kind == "duplicates":
        R = R[torch.randint(max(1, m // 4), (m,), generator=own)]
    elif kind == "constant":
        R = torch.ones(m, p, dtype=torch.float64)
    elif kind == "zero":
        R = torch.zeros(m, p, dtype=torch.float64)
    elif kind == "huge spread":
        R = R * 10 ** (8 * torch.rand(m, 1, dtype=torch.float64, generator=own) - 4)
    return R.to(dtype)


def best(R: Tensor, q: Tensor, alive: Tensor) -> int:
    """Return the alive row of largest float64 product, ties to the lowest number, by a plain loop."""
    top, where = -np.inf, -1
    rows = DenseRows(R, [np.array([i]) for i in range(len(R))])
    for m in range(len(R)):
        if bool(alive[m]):
            score = rows.exact(np.array([m]), q)[0]
            if score > top:
                top, where = score, m
    return where


def single(R: Tensor) -> DenseRows:
    """Rows of single examples."""
    return DenseRows(R, [np.array([i]) for i in range(len(R))])


@given(
    st.sampled_from(KINDS),
    st.integers(1, 40),
    st.integers(1, 50),
    st.integers(0, 99),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_exact_and_faiss_find_the_best_row(kind: str, m: int, p: int, seed: int, dtype: torch.dtype) -> None:
    """On random, tied, nearly tied, duplicated and badly scaled rows both searches find the rows of the plain loop."""
    R = matrix(kind, m, p, seed, dtype)
    own = torch.Generator().manual_seed(seed + 1)
    q = torch.randn(p, generator=own).to(dtype)
    rows = single(R)
    searches: list[Any] = [ExactSearch(rows), FaissSearch(rows)]
    alive = torch.ones(m, dtype=torch.bool)
    for _ in range(min(m, 6)):
        want = best(R, q, alive)
        for s in searches:
            proposed = s.propose(q, alive)
            assert bool(alive[proposed].all())
            assert argmax(rows, proposed, q)[0] == want
        alive[want] = False


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("which", ["exact", "faiss"])
def test_blocks_and_memory_mapped_rows(which: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in a memory-mapped file, read in small blocks, give the same results as rows in memory."""
    from coreselect.gradients import rows as module

    R = matrix("near ties", 300, 24, 0, dtype)
    mapped = allocate(300, 24, like=R[:1], limit=0)
    for i, row in enumerate(R):
        mapped[i] = row
    q = torch.randn(24, generator=torch.Generator().manual_seed(5)).to(dtype)
    alive = torch.ones(300, dtype=torch.bool)
    alive[::3] = False
    want = best(R, q, alive)
    monkeypatch.setattr(module, "BLOCK_BYTES", 24 * 8 * 40)
    rows = single(mapped)
    assert len(rows.blocks()) > 3
    assert argmax(rows, search(which, rows).propose(q, alive), q)[0] == want


def test_slack_never_rules_the_best_out() -> None:
    """A row is proposed unless its score plus slack is below another row's score minus slack; dead rows are never proposed."""
    scores, slack = torch.tensor([1.0, 0.9, 0.5, 2.0]), torch.tensor([0.06, 0.06, 0.06, 0.0])
    alive = torch.tensor([True, True, True, False])
    assert within_rounding(scores, slack, alive).tolist() == [0, 1]
    assert within_rounding(scores, 10 * slack, alive).tolist() == [0, 1, 2]
    assert within_rounding(scores, slack, ~alive).tolist() == [3]


@pytest.mark.parametrize("which", ["exact", "faiss"])
def test_float32_proposals_hold_what_float64_would_choose(which: str) -> None:
    """With 2,000 rows that differ by one rounding step, the best float64 row is always among the proposals."""
    own = torch.Generator().manual_seed(0)
    base = torch.randn(1, 200, dtype=torch.float64, generator=own)
    R = (base + 1e-7 * torch.randn(2000, 200, dtype=torch.float64, generator=own)).float()
    rows = single(R)
    alive = torch.ones(2000, dtype=torch.bool)
    for seed in range(5):
        q = torch.randn(200, generator=torch.Generator().manual_seed(seed))
        truth = rows.exact(np.arange(2000), q)
        proposed = search(which, rows).propose(q, alive)
        assert int(truth.argmax()) in proposed.tolist()


def test_names() -> None:
    """Known names give a search; an unknown name raises an error that lists the known ones; FAISS needs a matrix."""
    rows = single(torch.ones(3, 2))
    for name in SEARCHES:
        assert search(name, rows).propose(torch.ones(2), torch.ones(3, dtype=torch.bool)).numel() >= 1
    with pytest.raises(UnknownNameError, match="auto, exact, faiss"):
        search("annoy", rows)
    task = cases.sat_task(6)
    with task.snapshot(0, 0) as snapshot:
        factored, _ = snapshot.rows([np.array([i]) for i in range(6)])
        with pytest.raises(RequirementError, match="search='exact'"):
            search("faiss", factored)


STEPS = (0.0, 1e-3, 0.3)  # of a query that moves with the picks
SHARDED = (("near ties", torch.float32), ("duplicates", torch.float64), ("random", torch.float32))


def _query(dtype: torch.dtype) -> Tensor:
    return torch.randn(11, generator=torch.Generator().manual_seed(8)).to(dtype)


def _moved(R: Tensor, picks: list[int], step: float) -> Tensor:
    """The query after some picks; it moves only with a step above 0."""
    return _query(R.dtype) - step * R[picks].sum(0)


def _sharded_picks(rank: int) -> list[int]:
    """Search rows of which this rank holds some until all are picked, by fixed and moving queries; return the picks."""
    few_passes.WORTH, few_passes.SMALLEST, few_passes.SHRINK = (
        0,
        8,
        3,
    )  # levels in so small a problem; this is a process of its own
    picks: list[int] = []

    def work(with_others: Work) -> None:
        meeting = Meeting(with_others, torch.device("cpu"))
        for kind, dtype in SHARDED:
            R = matrix(kind, 37, 11, 3, dtype)
            ends = [0, *STARTS[dist.get_world_size()], 37]
            for step in _steps(dist.get_world_size()):
                own = single(R)
                local = DenseRows(R[ends[rank] : ends[rank + 1]], own.groups[ends[rank] : ends[rank + 1]])
                rows = SpreadRows(meeting, local, ends, own.groups)
                q = _query(dtype)
                assert rows.owner(36) == max(r for r in range(len(ends) - 1) if ends[r] < ends[r + 1])
                assert torch.equal(rows.norms(), own.norms())
                assert torch.equal(rows.longest(), own.longest())
                assert torch.equal(
                    rows.gram(torch.tensor([3, 30]), torch.tensor([7])),
                    own.gram(torch.tensor([3, 30]), torch.tensor([7])),
                )
                assert torch.allclose(rows.scores(q), own.scores(q), atol=1e-5)
                assert torch.allclose(rows.mean(), own.mean(), atol=1e-5)
                sharded = search("auto", rows)
                alive = torch.ones(37, dtype=torch.bool)
                mine: list[int] = []
                for _ in range(37):
                    query = _moved(R, mine, step)
                    m, score = argmax(rows, sharded.propose(query, alive), query)
                    assert score == own.exact(np.array([m]), query)[0]
                    mine.append(m)
                    alive[m] = False
                picks.extend(mine)

    together(work, "search")
    return picks


def _steps(world: int) -> tuple[float, ...]:
    """The steps that a number of ranks is tried with."""
    return STEPS if world == 2 else STEPS[1:2]


STARTS: dict[int, list[int]] = {2: [12], 3: [0, 36], 4: [5, 5, 37]}  # some hold one row, or none


@pytest.mark.parametrize("world", [2, 3, 4])
def test_sharded_search_picks_as_one_process_does(world: int, tmp_path: Path) -> None:
    """Rows spread over the ranks are picked by each of them in the order of a single machine, with its float64 scores, ties and
    ranks without a row included."""
    answers = in_processes(world, _sharded_picks, tmp_path)
    want = []
    for kind, dtype in SHARDED:
        R = matrix(kind, 37, 11, 3, dtype)
        for step in _steps(world):
            alive = torch.ones(37, dtype=torch.bool)
            own: list[int] = []
            for _ in range(37):
                own.append(best(R, _moved(R, own, step), alive))
                alive[own[-1]] = False
            want += own
    assert all(answer == want for answer in answers)
