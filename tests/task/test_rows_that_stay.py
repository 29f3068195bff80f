"""Rows that stay with the ranks that make them give the selection of one process that holds all of them, bit for bit."""

import os
import signal
from dataclasses import asdict
from typing import Any

import cases
import numpy as np
import pytest
import torch
import torch.distributed as dist
from processes import in_groups

from coreselect import get_selector, select
from coreselect.errors import CoreselectError
from coreselect.gradients import rows as rows_module
from coreselect.gradients import spread, store
from coreselect.gradients.sketch import Sketch
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.search import sharded

N = 23  # in groups of 2: 12 rows, and the last one has one member
BLOCK = 1500  # bytes: a few rows of these tasks, so that blocks lie across the ends of runs
SPREAD: dict[str, tuple[Any, dict[str, Any]]] = {
    "head": (lambda **m: cases.sat_task(N, batch_size=4, **m), {}),
    "head, float32": (lambda **m: cases.sat_task(N, dtype=torch.float32, batch_size=12, **m), {}),
    "all": (lambda **m: cases.sat_task(N, capture="all", batch_size=6, **m), {"sketch": Sketch(width=20)}),
    "all, full rows": (
        lambda **m: cases.sat_task(N, capture="all", batch_size=6, **m),
        {"sketch": Sketch(width=10**4)},
    ),
    "acl": (lambda **m: cases.acl_task(N, batch_size=6, **m), {}),
    "one group": (
        lambda **m: cases.sat_task(3, batch_size=4, **m),
        {"group_size": 3},
    ),  # most ranks make and own nothing
    "sampled": (lambda **m: cases.sat_task(N, batch_size=4, **m), {"certify": "sampled"}),
    "attacked again": (lambda **m: cases.sat_task(N, batch_size=4, **m), {"recraft": "every"}),
}


def _selector(settings: dict[str, Any], search: str) -> Any:
    return cases.rcs(**{"group_size": 2, "search": search, **settings})


def _cases(world: int) -> tuple[str, ...]:
    """The cases that a number of ranks is tried with: three ranks with all."""
    return tuple(SPREAD) if world == 3 else ("head", "all", "one group")


def _budget(name: str) -> int:
    return 2 if name == "one group" else 9  # the last pick is trimmed


def _bits(selection: Any) -> dict[str, Any]:
    """All but the seconds, and how often each rank went over its rows."""
    plain = asdict(selection)
    plain["provenance"].pop("seconds")
    for of_the_search in ("search", "search_passes"):
        plain["provenance"]["settings"].pop(of_the_search, None)
    return plain


def _spread(rank: int) -> dict[str, Any]:
    """Every case by name, and one chosen by its size; count how many rows this rank has held."""
    held: list[int] = []
    plain = spread.SpreadRows.__init__

    def watched(self: Any, meeting: Any, local: Any, *given: Any, **more: Any) -> None:
        held.append(len(local.matrix))
        plain(self, meeting, local, *given, **more)

    spread.SpreadRows.__init__ = watched  # type: ignore[method-assign]  # this is a process of its own
    out: dict[str, Any] = {
        name: _bits(select(make(), _selector(settings, "sharded"), _budget(name), 3, share=True))
        for name in _cases(dist.get_world_size())
        for make, settings in [SPREAD[name]]
    }
    shared = dist.get_world_size() > 1
    assert len(held) == shared * len(out)
    before = len(held)
    make, settings = SPREAD["head"]
    select(make(), _selector(settings, "auto"), 9, 3, share=True)
    assert len(held) == before  # so few rows are held by every rank
    store.IN_MEMORY = 100
    out["by size"] = _bits(select(make(), _selector(settings, "auto"), 9, 3, share=True))
    out["windows"] = _bits(
        select(make(), get_selector("windowed", selector=_selector(settings, "auto"), window=12), 9, 3, share=True)
    )
    out["held"] = held
    before = len(held)
    select(make(), _selector(settings, "candidates=4x2"), 9, 3, share=True)
    assert len(held) == before  # an approximation measures its loss on all rows
    store.IN_MEMORY = 2 << 30
    return out


def _sentence(call: Any) -> str:
    try:
        call()
    except (CoreselectError, cases.Broken) as why:
        return f"{type(why).__name__}: {why}"
    return ""


def _choose(**more: Any) -> str:
    make, settings = SPREAD["head"]
    return _sentence(lambda: select(make(**more), _selector(settings, "sharded"), 9, 3, share=True))


def _failing(rank: int) -> list[str]:
    """A rank raises in a query between picks, in the making of its rows, and in its own search; then all goes well."""
    said = []
    plain = ValidationObjective.query
    asked = [0]

    def broken(self: Any, theta: Any) -> Any:
        asked[0] += 1
        if rank == 1 and asked[0] == 3:
            raise cases.Broken("the third query")
        return plain(self, theta)

    ValidationObjective.query = broken  # type: ignore[method-assign]
    said.append(_choose())
    ValidationObjective.query = plain  # type: ignore[method-assign]
    x, y = cases.images(N), cases.classes(N)
    pool = cases.Failing(x, y, at=20)
    task = cases.sat_task(N, pool=pool, capture="all", batch_size=2)
    task.fingerprint()
    pool.armed = rank == 2
    sharding = _selector({"sketch": Sketch(width=20)}, "sharded")
    said.append(_sentence(lambda: select(task, sharding, 9, 3, share=True)))
    propose = sharded.ShardedSearch.propose

    def dying(self: Any, *given: Any) -> Any:
        if rank == 1:
            raise cases.Broken("no search")
        return propose(self, *given)

    sharded.ShardedSearch.propose = dying  # type: ignore[method-assign]
    said.append(_choose())
    sharded.ShardedSearch.propose = propose  # type: ignore[method-assign]
    said.append(_choose())
    return said


def _killed(rank: int) -> str:
    """What the others are told when the last rank is killed after some picks."""
    plain = ValidationObjective.query
    asked = [0]

    def query(self: Any, theta: Any) -> Any:
        asked[0] += 1
        if rank == dist.get_world_size() - 1 and asked[0] == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(self, theta)

    ValidationObjective.query = query  # type: ignore[method-assign]
    return _choose()


def _begin() -> None:
    """One thread, and small blocks of rows."""
    torch.set_num_threads(1)
    rows_module.BLOCK_BYTES = BLOCK


@pytest.fixture(scope="module")
def ranks_of(tmp_path_factory: Any) -> Any:
    """What the ranks of a group have reported, by rank; four processes are the ranks of all groups."""
    groups = (*((w, w, _spread) for w in (1, 2, 3, 4)), ("failing", 3, _failing), ("killed", 4, _killed))
    return in_groups(groups, tmp_path_factory.mktemp("groups"), killed="killed", begin=_begin)


@pytest.fixture(scope="module")
def alone() -> Any:
    """The bits of every case by one process that holds all rows, in the same blocks and with one thread."""
    threads, block = torch.get_num_threads(), rows_module.BLOCK_BYTES
    torch.set_num_threads(1)
    rows_module.BLOCK_BYTES = BLOCK
    make, settings = SPREAD["head"]
    try:
        found = {
            name: _bits(select(make(), _selector(settings, "exact"), _budget(name), 3))
            for name, (make, settings) in SPREAD.items()
        }
        windows = get_selector("windowed", selector=_selector(settings, "auto"), window=12)
        return {**found, "by size": found["head"], "windows": _bits(select(make(), windows, 9, 3))}
    finally:
        torch.set_num_threads(threads)
        rows_module.BLOCK_BYTES = block


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_spread_rows_give_the_bits_of_one_process(world: int, ranks_of: Any, alone: dict[str, Any]) -> None:
    """Picks, gains, weights, scores, certificate and diagnostics are equal bit for bit, also where some ranks own no row, where
    groups are trimmed, and where rows are spread because they are too many; every row is held once."""
    found = ranks_of(world)
    for name in (*_cases(world), "by size", "windows"):
        for rank in found:
            np.testing.assert_equal(rank[name], alone[name], err_msg=name)
    for i, name in enumerate(_cases(world) if world > 1 else ()):
        rows = 1 if name == "one group" else 12
        assert sum(rank["held"][i] for rank in found) == rows
    assert world == 1 or any(0 in rank["held"] for rank in found)


def test_a_rank_that_raises_between_picks_tells_the_others(ranks_of: Any) -> None:
    """In a query, in the sweep of its own run, or in its search: the others get its reason, and the group can be used again."""
    for rank, (query, sweep, search, last) in enumerate(ranks_of("failing")):
        assert query == ("Broken: the third query" if rank == 1 else query)
        assert "the third query" in query
        assert "rank 2 failed" in sweep or rank == 2
        assert "item 20" in sweep
        assert "no search" in search
        assert search.startswith(
            "Broken" if rank == 1 else "ScheduleError: rank 1 failed while every rank had to select"
        )
        assert last == ""


def test_a_rank_that_is_killed_between_picks_is_named(ranks_of: Any) -> None:
    """Each of the others says so in a sentence within seconds, whether or not it was talking to the one that died."""
    for said in ranks_of("killed"):
        assert "ScheduleError" in said
        assert "has ended" in said
