"""Claims about the search and sampler benchmarks at toy size: they measure what they say, whatever the seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import million, passes, sampler, search, store
from benchmarks.case_types import PassesCase, SamplerCase, SearchCase, StoreCase


@pytest.mark.parametrize("which", ["exact", "faiss"])
def test_search_finds_the_plain_picks_and_cleans_up(which: str, tmp_path: Path) -> None:
    """Every pick is that of a float64 product of all rows, and the rows' file is gone afterwards."""
    if which == "faiss":
        pytest.importorskip("faiss")
    result = search.run(SearchCase(rows=3000, search=which, width=24, picks=9), work=tmp_path)
    assert result["right_picks"] == 1.0
    assert result["right_selection"] == 1.0
    assert set(result["peak_mib"]) == {"greedy", "select"}
    assert list(tmp_path.iterdir()) == []


def test_wrong_picks_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that answers anything else lowers the share of right picks."""

    def wrong(*_: Any) -> list[int]:
        return list(range(9))

    monkeypatch.setattr(search, "_greedy", wrong)
    assert search.run(SearchCase(rows=3000, search="exact", width=24, picks=9), work=tmp_path)["right_picks"] < 1.0


def test_the_query_moves_so_that_no_pick_is_free(tmp_path: Path) -> None:
    """The order differs from the largest first gains: a search that answers once and lists the rest would be wrong."""
    case = SearchCase(rows=3000, search="exact", width=24, picks=40, eta=0.05)
    path = tmp_path / "rows.npy"
    search.write_rows(path, case)
    rows = np.load(path, mmap_mode="r")
    target = torch.randn(case.width, generator=torch.Generator().manual_seed(case.seed + 1))
    first = np.argsort(-(rows.astype(np.float64) @ -target.double().numpy()), kind="stable")[: case.picks]
    assert search.plain_greedy(rows, target, case) != first.tolist()


@pytest.mark.parametrize("which", ["exact", "faiss", "candidates=200x10"])
def test_few_passes_are_compared_with_a_plain_loop_and_cleaned_up(which: str, tmp_path: Path) -> None:
    """Checked picks are right, groups hold as many examples, and an approximation says what it lost."""
    case = PassesCase(rows=3000, picks=150, way=0.5, thresholds=(), search=which, width=24, plain_picks=20, checked=7)
    result = passes.run(case, work=tmp_path)
    assert result["right_picks"] == result["same_start"] == 1.0
    assert result["grouped_picks"] == 150
    assert 1 <= result["passes"] <= 150
    assert len(result["notes"]) == (which not in ("exact", "faiss"))
    assert {"ratio", "product_ratio"} <= set(result)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_pick_among_those_checked_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that is right at first and wrong later has fewer right picks."""
    case = PassesCase(rows=3000, picks=60, way=0.5, thresholds=(), width=24, plain_picks=5, checked=6)
    real = passes._greedy

    def swapped(*given: Any) -> Any:
        order, count, notes = real(*given)
        return [*order[:-2], order[-1], order[-2]], count, notes

    monkeypatch.setattr(passes, "_greedy", swapped)
    assert passes.run(case, work=tmp_path)["right_picks"] == pytest.approx(5 / 6)


def test_the_query_loses_the_declared_share_of_its_length() -> None:
    """After all picks of a case with a way of 0.5, θ′ is about half-way to the target."""
    case = PassesCase(rows=3000, picks=150, way=0.5, thresholds=(), width=24)
    own = np.random.default_rng(0).standard_normal((3000, 24), np.float32)
    target = passes._target(case)
    order = passes.plain_loop(own, target, case, case.picks)
    theta = -case.eta * torch.from_numpy(own[order]).sum(0)
    assert float((theta - target).norm() / target.norm()) == pytest.approx(0.5, abs=0.1)


def test_both_samplers_are_run_over_everything() -> None:
    """A small round of the sampler's benchmark gives a positive ratio for both clocks."""
    result = sampler.run(SamplerCase(items=5000, rounds=2, batch_size=16, batches_a_turn=10))
    assert result["ratio"] > 0
    assert set(result["seconds"]) == {"CoresetSampler", "RandomSampler"}


def test_an_epoch_reads_every_batch() -> None:
    """The turns of an epoch together visit all items once."""
    seen: list[int] = []

    class Counted(sampler.NoOp):
        def __getitem__(self, index: int) -> int:
            seen.append(index)
            return index

    loader: Any = torch.utils.data.DataLoader(Counted(1000), 8, collate_fn=list)
    turns = sum(1 for _ in sampler._epoch(loader, 10))
    assert sorted(seen) == list(range(1000))
    assert turns == 12


@pytest.mark.parametrize("sweep", ["attacked", "features"])
def test_a_store_is_compared_with_the_same_sweep(sweep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides make the same bits, the last tenth is made again, and nothing stays behind."""
    import cases

    monkeypatch.setattr(
        store.problem, "images", lambda data, rows: cases.items(rows, seed=0, dtype=torch.float32, labels=True)
    )
    monkeypatch.setattr(store.problem, "network", lambda: cases.built(cases.ConvNet, dtype=torch.float32))
    result = store.run(StoreCase(pool=40, sweep=sweep, validation=5, batch_size=4), data="", work=tmp_path)
    assert result["same_bits"] == 1.0
    assert result["overhead"] > -1
    assert result["resumed"] > 0
    assert set(result["seconds"]) == {"plain", "kept", "going on"}
    assert list(tmp_path.iterdir()) == []


def test_no_number_of_a_gpu_is_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU there are lines for it alone; a given time of a GPU adds one and eight of them, an eighth of the time."""
    monkeypatch.setattr(million, "seconds_of_one_image", lambda *_: 0.01)
    alone = list(million.estimates("", "cpu", 512, None))
    assert {x["device"] for x in alone} == {"cpu"}
    given = list(million.estimates("", "cpu", 512, 0.001))[len(alone) :]
    assert [x["devices"] for x in given] == [1, 8]
    assert (
        given[0]["hours_of_the_sweep"] == pytest.approx(8 * given[1]["hours_of_the_sweep"]) == pytest.approx(0.3558797)
    )
    assert all(x["estimate"] for x in alone + given)
