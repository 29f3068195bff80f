"""Ranks that share the sweeps of a selection give the bits of one process, or one sentence each, within seconds."""

import os
import signal
import time
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import cases
import numpy as np
import pytest
import torch
from processes import in_groups

from coreselect import CoresetSampler, Task, get_selector, select
from coreselect.errors import CoreselectError
from coreselect.history import gathered
from coreselect.losses import CE
from coreselect.selectors import AIGN
from coreselect.support import ranks

N = 23  # in batches of 4, 5 or 6: an uneven last batch, and fewer batches than some groups of ranks have turns
CASES: dict[str, tuple[Any, Any]] = {
    "rcs, head": (lambda: cases.sat_task(N, batch_size=4, model=_model()), cases.rcs()),
    "rcs, all": (lambda: cases.sat_task(N, capture="all", batch_size=6), cases.rcs()),
    "rcs, acl": (lambda: cases.acl_task(N, batch_size=6), cases.rcs()),
    "rcs, float32": (lambda: cases.sat_task(N, dtype=torch.float32, batch_size=12), cases.rcs()),
    "craig": (lambda: cases.sat_task(N, capture="all", batch_size=5), get_selector("craig")),
    "acs_craig": (lambda: cases.sat_task(N, batch_size=5), get_selector("acs_craig", target="validation")),
    "el2n": (lambda: cases.sat_task(N, batch_size=4), get_selector("el2n")),
    "k_center": (lambda: cases.sat_task(N, batch_size=4), get_selector("k_center")),
    "aign": (lambda: cases.sat_task(N, batch_size=4, loss=CE()), AIGN()),
    "windows": (
        lambda: cases.sat_task(N, batch_size=4),
        get_selector("windowed", selector=get_selector("el2n"), window=12),
    ),
    "arrays": (lambda: cases.array_task(N), get_selector("herding")),
}


def _model(rank: int = 0) -> Any:
    """A model whose running statistics are those of a rank."""
    model = cases.built(cases.ConvNet)
    model.norm.running_mean += 0.3 * rank  # type: ignore[operator, union-attr]
    return model


def _bits(selection: Any) -> dict[str, Any]:
    """What must not depend on the number of ranks: all but the seconds."""
    plain = asdict(selection)
    plain["provenance"].pop("seconds")
    return plain


def _sentence(call: Any) -> str:
    try:
        call()
    except (CoreselectError, cases.Broken) as why:
        return f"{type(why).__name__}: {why}"
    return ""


def _shared(rank: int) -> Any:
    """Every case of this rank, what the selection left of its model, and a sampler's selection."""
    out: dict[str, Any] = {
        name: _bits(select(make(), selector, 9, 3, share=True)) for name, (make, selector) in CASES.items()
    }
    seen = gathered(torch.arange(rank + 1) + 10 * rank, torch.full((rank + 1, 2), float(rank)))  # batches of 1, 2, 3, …
    assert seen[0].tolist() == [i + 10 * r for r in range(ranks.world_size()) for i in range(r + 1)]
    assert seen[1][:, 1].tolist() == [float(r) for r in range(ranks.world_size()) for _ in range(r + 1)]
    own = _model(rank)
    before = {n: t.clone() for n, t in own.state_dict().items()}
    sampler = CoresetSampler(cases.sat_task(N, batch_size=4, model=own), cases.rcs(), 9, warmup=0, every=1, seed=3)
    sampler.set_epoch(0)
    out["rcs, head"] = [out["rcs, head"], _bits(sampler.selection)]
    return out, all(torch.equal(t, before[n]) for n, t in own.state_dict().items())


@pytest.mark.parametrize("world", [2, 3, 4])
def test_any_number_of_ranks_gives_the_bits_of_one(world: int, ranks_of: Any, alone: dict[str, Any]) -> None:
    """Indices, gains, weights, scores, certificate, diagnostics, notes and settings are equal bit for bit on every rank, also where
    the models differ in running statistics: rank 0's counts, and each keeps its own. Batches of all ranks can be gathered."""
    for name, want in alone.items():
        for found, untouched in ranks_of(world):
            assert untouched
            for got in found[name] if isinstance(found[name], list) else [found[name]]:
                np.testing.assert_equal(got, want)


class Hanging(cases.Items):
    """Items of which one takes long to read once `seconds` is set."""

    seconds = 0.0

    def __getitem__(self, index: int) -> Any:
        if index == 7 and self.seconds:
            time.sleep(self.seconds)
        return super().__getitem__(index)


def _failing(rank: int) -> list[str]:
    """What this rank is told in each of several mistakes, one after the other; then a selection of the same group."""
    said = []
    x, y = cases.images(N), cases.classes(N)

    def share(pool: Any = None, *, seed: int = 0, validation: Any = None, selector: Any = None, **more: Any) -> str:
        task = cases.sat_task(N, pool=pool, validation=validation, batch_size=2, **more)
        if pool is not None:
            task.fingerprint()
        for dataset in (pool, validation):
            if isinstance(dataset, cases.Failing):
                dataset.armed = rank == 1
            if isinstance(dataset, Hanging):
                dataset.seconds = 2.0 * rank
        return _sentence(lambda: select(task, selector or cases.rcs(), 6, seed, share=True))

    said.append(share(cases.Failing(x, y, at=7)))  # in the sweep
    said.append(share(validation=cases.Failing(x[:8], y[:8], at=3)))  # before it, while others are in it
    said.append(share(seed=rank))
    said.append(share(cases.Items(x if rank == 0 else x.flip(0), y)))
    said.append(share(attack=cases.PGD(0.1, 0.05, 2 + rank)))
    said.append(share(model=cases.built(lambda: cases.ConvNet(width=3 + rank))))
    said.append(share(selector=get_selector("el2n") if rank else get_selector("grand")))
    held, ranks.TIMEOUT = ranks.TIMEOUT, timedelta(seconds=1)
    said.append(share(Hanging(x, y)))
    said.append(share() if rank == 0 else "")  # alone
    ranks.TIMEOUT = held
    return said


def test_a_rank_that_fails_tells_the_others(ranks_of: Any) -> None:
    """A rank that raises in a sweep or before it, has other settings, data or weights, hangs or is alone: one sentence each."""
    first, second = ranks_of("failing")
    in_sweep, before, seed, pool, attack, model, selector, hang, alone = first
    assert "rank 1 failed while every rank had to select: DataError" in in_sweep
    assert "Broken: item 7" in second[0]
    assert "rank 1 failed while every rank had to select: DataError" in before
    assert "Broken: item 3" in second[1]
    for mine, theirs, what in zip(
        (seed, pool, attack, model, selector),
        second[2:7],
        ("seed", "the pool", "attack", "a model of", "selector"),
        strict=True,
    ):
        assert f"ScheduleError: rank 1 has {what} " in mine
        assert theirs == mine
    assert "rank 1 of 2 did not answer rank 0 within 0:00:01: every rank must select" in hang
    assert "rank 0 failed while every rank had to select" in second[7]
    assert "rank 1 of 2 did not answer rank 0 within 0:00:01: every rank must select" in alone


class Killing(cases.Items):
    """Items of which one ends the process that reads it."""

    def __getitem__(self, index: int) -> Any:
        if index == 7 and os.environ.get("KILLED"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def _killed(rank: int) -> str:
    """What rank 0 is told when rank 1 is killed in the sweep."""
    pool = Killing(cases.images(N), cases.classes(N))
    task = Task.from_model(cases.built(cases.ConvNet), pool, loss="ce", batch_size=2)
    task.fingerprint()
    if rank == 1:
        os.environ["KILLED"] = "1"
    return _sentence(lambda: select(task, get_selector("el2n"), 6, share=True))


def test_a_rank_that_is_killed_is_named(ranks_of: Any) -> None:
    """The other rank says so within seconds, and does not wait for its timeout."""
    assert "rank 1 of 2 has ended without a word, while every rank had to select" in ranks_of("killed")[0]


def _begin() -> None:
    """One thread."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def ranks_of(tmp_path_factory: Any) -> Any:
    """What the ranks of a group have reported, by rank; four processes are the ranks of all groups."""
    groups = (*((w, w, _shared) for w in (2, 3, 4)), ("failing", 2, _failing), ("killed", 2, _killed))
    return in_groups(groups, tmp_path_factory.mktemp("groups"), killed="killed", begin=_begin)


@pytest.fixture(scope="module")
def alone() -> Any:
    """The bits of every case by one process, with one thread as every rank has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {name: _bits(select(make(), selector, 9, 3)) for name, (make, selector) in CASES.items()}
    finally:
        torch.set_num_threads(threads)
