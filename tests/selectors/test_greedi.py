"""GreeDi: two rounds of greedy, by their definition, in one process and on ranks; its guarantee, and what it lost."""

from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
from processes import in_processes

from coreselect import Task, certify, plan, select
from coreselect.certificates.greedi import share
from coreselect.errors import ShapeError
from coreselect.gradients.rows import DenseRows
from coreselect.gradients.sketch import Sketch
from coreselect.search import GreeDi, search_kind
from coreselect.selectors.rcs_greedi import deal_parts
from coreselect.support.seeding import generator as seeded

N = 23
TASKS: dict[str, Any] = {
    "head": lambda: cases.sat_task(N, batch_size=4),
    "contrastive": lambda: cases.acl_task(N + 1, batch_size=6),
    "all": lambda: cases.sat_task(N, capture="all", batch_size=6),
}


def _rcs(partitions: int, **more: Any) -> Any:
    return cases.rcs(**{"group_size": 2, "eta": 0.05, "search": f"greedi={partitions}", **more})


@pytest.mark.parametrize("where", ["head", "contrastive"])
@pytest.mark.parametrize(("partitions", "k"), [(1, 7), (3, 7), (4, 6), (4, 9), (50, 5)])
def test_greedi_equals_the_transcription(where: str, partitions: int, k: int) -> None:
    """Groups, picks and value are those of the definition, also where parts hold less than the budget or there are many."""
    task, selector = TASKS[where](), _rcs(partitions)
    chosen = select(task, selector, k, 3)
    with task.snapshot(3, 0) as snapshot:
        groups = selector._groups(snapshot, k)
        held, theta = snapshot.objective(selector.objective), snapshot.theta()
        rows, _ = snapshot.rows(groups, None)
        order, picks, value = oracles.greedi(
            lambda members: rows.full(next(m for m, g in enumerate(groups) if members[0] in g), np.array(members)),
            held.query,
            lambda final: held.value(theta) - held.value(final),
            groups,
            [p.tolist() for p in deal_parts(len(groups), partitions, seeded(3, "greedi", 0))],
            theta,
            0.05,
            k,
        )
    assert chosen.indices.tolist() == picks
    assert list(dict.fromkeys(chosen.groups.tolist())) == order
    assert chosen.certificate is not None
    assert chosen.certificate.value == pytest.approx(value, rel=1e-9)


def test_parts_hold_every_group_once() -> None:
    """Parts are disjoint, cover all groups, differ in size by one at most, and none is empty."""
    for count, partitions in ((7, 3), (5, 5), (3, 8)):
        parts = deal_parts(count, partitions, torch.Generator().manual_seed(0))
        assert sorted(np.concatenate(parts).tolist()) == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert len(parts) == min(count, partitions)


@pytest.mark.parametrize("where", list(TASKS))
def test_one_part_picks_as_greedy_does(where: str) -> None:
    """With one part, picks, gains, scores and diagnostics are those of the exact search."""
    greedi, exact = (asdict(select(TASKS[where](), _rcs(1, search=s), 9, 3)) for s in ("greedi=1", "exact"))
    for name in ("indices", "groups", "gains", "scores"):
        np.testing.assert_equal(greedi[name], exact[name], err_msg=name)
    for name, value in exact[
        "diagnostics"
    ].items():  # a sum that begins at another address may be rounded in another way
        got = greedi["diagnostics"][name]
        assert got == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), name


@pytest.mark.parametrize("partitions", [2, 5])
def test_with_a_linear_objective_nothing_is_lost(partitions: int) -> None:
    """Where only a gradient of validation is known, the union holds the largest gains, and the certificate says so."""
    rows = np.random.default_rng(0).normal(size=(30, 9))
    task = Task.from_arrays(gradients=rows, groups=np.arange(60) % 30, validation_gradient=np.ones(9))
    exact, greedi = (select(task, cases.rcs(search=s), 8, 1) for s in ("exact", f"greedi={partitions}"))
    assert greedi.indices.tolist() == exact.indices.tolist()
    assert greedi.certificate is not None
    assert greedi.certificate.details["guarantee"] == 1
    assert greedi.certificate.value == pytest.approx(float(exact.gains.sum()))


def test_the_guarantee_holds_in_the_mean_of_deals() -> None:
    """f = the decrease summed over validation + σ a pick: its mean over deals is at least the promised share of the best of all
    sets, and never above it; the decrease is compared with that of one greedy, and is no larger than the best set's."""
    task, picks, eta = cases.sat_task(9, u=6, batch_size=9), 3, 0.05
    proxies, decreases, best, largest = [], [], -np.inf, -np.inf
    for seed in range(6):
        chosen = select(task, _rcs(3, group_size=1, stratify=None), picks, seed)
        assert chosen.certificate is not None
        decreases.append(chosen.certificate.value)
        proxies.append(6 * chosen.certificate.value + picks)
    with task.snapshot(0, 0) as snapshot:
        held, theta = snapshot.objective(_rcs(3).objective), snapshot.theta()
        rows, _ = snapshot.rows([np.array([i]) for i in range(9)], None)
        for some in combinations(range(9), picks):
            step = eta * torch.stack([rows.full(m) for m in some]).sum(0)
            decrease = held.value(theta) - held.value(theta - step)
            largest, best = max(largest, decrease), max(best, 6 * decrease + picks)
    exact = select(task, _rcs(3, group_size=1, stratify=None, search="exact"), picks, 0)
    assert exact.diagnostics is not None
    assert exact.diagnostics.rd_before is not None
    assert exact.diagnostics.rd_after_held is not None
    greedy = exact.diagnostics.rd_before - exact.diagnostics.rd_after_held
    assert share(1.0) * best <= np.mean(proxies)
    assert share(1.0) * largest <= share(1.0) * max(greedy, largest) <= np.mean(decreases)
    assert max(decreases) <= largest * (1 + 0.1)  # attacks differ by seed


def test_what_is_said() -> None:
    """The certificate names the theorem, the deal and what is not promised; the note says what each round has reached; the plan
    counts the queries of all parts; the instance certificate can be asked for afterwards."""
    task, selector = TASKS["head"](), _rcs(3, sigma=2.0)
    chosen = select(task, selector, 9, 3)
    known = chosen.certificate
    assert known is not None
    assert known.upper_bound is None
    assert known.details["guarantee"] == share(1 / 3)
    said = " ".join(known.assumptions)
    for words in ("Khanna", "3 parts", "γ* = 1/(2σ − 1) = 0.333", "first-order gain", "not promised"):
        assert words in said
    assert "GreeDi with 3 parts" in " ".join(chosen.provenance.notes)
    later = certify(chosen, task, "instance")
    assert later is not None
    assert later.upper_bound is not None
    assert later.value <= later.upper_bound
    whole = TASKS["all"]()
    assert (
        plan(whole, _rcs(3), 8, timed=False).forward_passes
        > plan(whole, _rcs(3, search="auto"), 8, timed=False).forward_passes
    )


def test_rows_of_one_part_are_held_at_a_time(monkeypatch: Any) -> None:
    """One process makes the rows of one part after the other, never all of them."""
    made: list[int] = []
    plain = DenseRows.__init__

    def watched(self: Any, matrix: Any, *given: Any, **more: Any) -> None:
        made.append(len(matrix))
        plain(self, matrix, *given, **more)

    monkeypatch.setattr(DenseRows, "__init__", watched)
    select(TASKS["all"](), _rcs(4), 3, 3)
    assert made == [3, 3, 3, 3, 8]  # 12 groups in 4 parts; two picks of each are the union


def test_words_and_refusals() -> None:
    """`greedi=8` is the type; settings that two rounds cannot keep are one sentence each."""
    assert search_kind("greedi=8") == GreeDi(8)
    for settings, word in (
        ({"recraft": "every"}, "recraft"),
        ({"groups": "example"}, "batch"),
        ({"certify": "paper"}, "own guarantee"),
        ({"search": "greedi=0"}, "partitions"),
        ({"search": "greedi=x"}, "greedi=8"),
    ):
        with pytest.raises(ShapeError, match=word):
            _rcs(2, **settings)


RANKED = {"head": 4, "contrastive": 2, "all": 3}  # parts; with 3 ranks one has two of them, or none


def _bits(selection: Any) -> dict[str, Any]:
    plain = asdict(selection)
    plain["provenance"].pop("seconds")
    return plain


def _chosen(share_it: bool) -> dict[str, Any]:
    return {
        name: _bits(
            select(TASKS[name](), _rcs(partitions, sketch=Sketch(20) if name == "all" else None), 9, 3, share=share_it)
        )
        for name, partitions in RANKED.items()
    }


def _on_ranks(rank: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    return _chosen(True)


def test_ranks_pick_as_one_process_does(tmp_path: Path) -> None:
    """With a part a rank, two, or none, every field of the selection is that of one process with as many parts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        want = _chosen(False)
    finally:
        torch.set_num_threads(threads)
    for found in in_processes(3, _on_ranks, tmp_path):
        for name in RANKED:
            np.testing.assert_equal(found[name], want[name], err_msg=name)
