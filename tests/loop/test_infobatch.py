"""InfoBatchSampler: what it drops, that its weights are unbiased, and that it resumes exactly."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract import random_states
from hypothesis import given
from hypothesis import strategies as st
from processes import in_two_processes
from torch.utils.data import DataLoader, TensorDataset

from coreselect import Indexed, InfoBatchSampler
from coreselect.errors import NonFiniteError, ScheduleError, ShapeError

N = 40


def losses_of(n: int = N, seed: int = 0) -> torch.Tensor:
    """Skewed positive losses [n]."""
    return torch.from_numpy(np.random.default_rng(seed).exponential(size=n))


def primed(n: int = N, epochs: int = 100, **settings: Any) -> InfoBatchSampler:
    """A sampler that has seen every loss once."""
    sampler = InfoBatchSampler(n, epochs, **settings)
    sampler.set_epoch(0)
    sampler.update(torch.arange(n), losses_of(n))
    return sampler


@pytest.mark.parametrize("r", [0.25, 0.5, 0.8])
def test_the_weighted_sum_is_unbiased(r: float) -> None:
    """Over 1500 seeds the mean of Σ_kept w_i v_i is Σ v_i, for losses and for vectors standing for gradients, within 4.5 σ.

    Each easy term is v_i·Bernoulli(1 − r)/(1 − r): variance v_i² r/(1 − r), so σ² = r/(1 − r) Σ_easy v_i² / 1500.
    """
    seeds, ell = 1500, losses_of()
    values = torch.cat([ell[:, None], torch.from_numpy(np.random.default_rng(1).normal(size=(N, 3)))], 1)  # [N, 4]
    total = torch.zeros(4, dtype=torch.float64)
    for seed in range(seeds):
        sampler = primed(r=r, seed=seed, shuffle=False)
        sampler.set_epoch(1)
        kept = torch.tensor(list(sampler))
        total += (sampler.weights(kept).double()[:, None] * values[kept]).sum(0)
    sigma = (r / (1 - r) * (values[ell < ell.mean()] ** 2).sum(0) / seeds).sqrt()
    assert ((total / seeds - values.sum(0)).abs() < 4.5 * sigma + 1e-5).all()  # weights are float32


def test_only_the_easy_are_dropped_with_probability_r() -> None:
    """Examples at or above the mean are always kept, with weight 1; others are kept with frequency 1 − r and weight 1/(1−r)."""
    ell = losses_of()
    easy = (ell < ell.mean()).numpy()
    sampler = primed(epochs=3000, r=0.3, delta=1.0)
    times = np.zeros(N)
    for epoch in range(1, 2001):
        sampler.set_epoch(epoch)
        kept = torch.tensor(list(sampler))
        times[kept] += 1
        want = torch.where(torch.from_numpy(easy)[kept], 1 / 0.7, 1.0)
        assert torch.allclose(sampler.weights(kept).double(), want.double(), rtol=1e-6)
    assert (times[~easy] == 2000).all()
    assert np.abs(times[easy] / 2000 - 0.7).max() < 4.5 * (0.21 / 2000) ** 0.5


def test_hand_worked_means() -> None:
    """Losses 1, 1, 1, 5 have the mean 2, so the first three can be dropped; a loss equal to the mean is never dropped."""
    sampler = InfoBatchSampler(4, 10, r=0.9)
    sampler.set_epoch(0)
    sampler.update(torch.arange(4), torch.tensor([1.0, 1.0, 1.0, 5.0]))
    gone: set[int] = set()
    for epoch in range(1, 8):
        sampler.set_epoch(epoch)
        gone |= {0, 1, 2, 3} - set(sampler)
    assert gone == {0, 1, 2}
    level = InfoBatchSampler(3, 10, r=0.9)
    level.update(torch.arange(3), torch.full((3,), 2.0))
    level.set_epoch(1)
    assert sorted(level) == [0, 1, 2]


@pytest.mark.parametrize(
    ("epochs", "delta", "last"), [(200, 0.875, 174), (100, 0.07, 6), (10, 0.0, -1), (8, 1.0, 7), (3, 0.5, 1)]
)
def test_nothing_is_dropped_at_the_end(epochs: int, delta: float, last: int) -> None:
    """Epochs below δ·C (the exact decimal) drop examples; later epochs have all examples with weight 1."""
    sampler = primed(epochs=epochs, delta=delta, r=0.95)
    for epoch in range(1, epochs + 2):
        sampler.set_epoch(epoch)
        assert (len(sampler) < N) == (epoch <= last)
        if epoch > last:
            assert sorted(sampler) == list(range(N))
            assert (sampler.weights(torch.arange(N)) == 1).all()


def test_unseen_examples_are_never_dropped() -> None:
    """Examples without a loss are in every epoch with weight 1, and do not count in the mean."""
    sampler = InfoBatchSampler(6, 100, r=0.99)
    sampler.set_epoch(0)
    assert sorted(sampler) == list(range(6))
    sampler.update(torch.tensor([1, 4]), torch.tensor([1.0, 3.0]))
    seen = []
    for epoch in range(1, 60):
        sampler.set_epoch(epoch)
        assert {0, 2, 3, 4, 5} <= set(sampler)
        assert (sampler.weights(torch.tensor([0, 2, 3, 4, 5])) == 1).all()
        seen.append(1 in set(sampler))
    assert not all(seen)


@given(st.integers(1, 30), st.integers(0, 5), st.integers(1, 4), st.booleans())
def test_the_length_is_exact_and_the_shares_are_the_epoch(n: int, seed: int, world: int, shuffle: bool) -> None:
    """After set_epoch every rank yields as many positions as its length says; shares are equal and together are what was kept."""
    ranks = [primed(n, seed=seed, rank=r, world_size=world, shuffle=shuffle) for r in range(world)]
    for s in ranks:
        s.set_epoch(3)
    shares = [list(s) for s in ranks]
    assert {len(share) for share in shares} == {len(s) for s in ranks}
    assert len({len(share) for share in shares}) == 1
    alone = primed(n, seed=seed, shuffle=False)
    alone.set_epoch(3)
    assert sorted({i for share in shares for i in share}) == list(alone)


def test_order_is_fixed_by_seed_and_epoch() -> None:
    """The order is a function of the epoch and ascends without shuffling; no global random state moves."""
    before = random_states()
    sampler = primed(seed=5)
    sampler.set_epoch(1)
    first = list(sampler)
    assert first == list(sampler)
    assert first != sorted(first)
    sampler.set_epoch(2)
    assert list(sampler) != first
    again = primed(seed=5)
    again.set_epoch(1)
    assert list(again) == first
    plain = primed(shuffle=False)
    plain.set_epoch(1)
    assert list(plain) == sorted(plain)
    assert random_states() == before


def run(sampler: InfoBatchSampler, epochs: range, *, stop: tuple[int, int] | None = None) -> list[Any]:
    """Train for some epochs with losses that depend on (epoch, example); save and load into a new sampler at `stop`."""
    trail: list[Any] = []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        trail.append((len(sampler), list(sampler)))
        ell = losses_of(seed=epoch)
        for number, batch in enumerate(torch.tensor(list(sampler)).split(7)):
            trail.append(sampler.weights(batch).tolist())
            sampler.update(batch, ell[batch])
            if (epoch, number) == stop:
                box = io.BytesIO()
                torch.save(sampler.state_dict(), box)
                box.seek(0)
                sampler = InfoBatchSampler(N, 20, seed=3)
                sampler.load_state_dict(torch.load(box, weights_only=True))
                sampler.set_epoch(epoch)  # told again on resuming: the epoch is what it was
    return trail


@pytest.mark.parametrize("stop", [(0, 2), (4, 0), (4, 3), (17, 5)])
def test_a_resumed_run_is_the_run(stop: tuple[int, int]) -> None:
    """A run that is saved and loaded (weights-only) in any epoch continues with the same drops, orders and weights."""
    assert run(InfoBatchSampler(N, 20, seed=3), range(20), stop=stop) == run(InfoBatchSampler(N, 20, seed=3), range(20))


def test_losses_count_from_the_next_epoch_on() -> None:
    """An update does not change the current epoch's length, order or weights."""
    sampler = primed()
    sampler.set_epoch(1)
    before = len(sampler), list(sampler), sampler.weights(torch.tensor(list(sampler))).tolist()
    sampler.update(torch.arange(N), losses_of(seed=9))
    sampler.set_epoch(1)
    assert (len(sampler), list(sampler), sampler.weights(torch.tensor(list(sampler))).tolist()) == before


def test_a_loader_works_as_with_any_sampler() -> None:
    """A DataLoader over the indexed pool yields what was kept, and a loop can update and weight by index."""
    sampler = InfoBatchSampler(N, 4, seed=1)
    loader = DataLoader(
        Indexed(TensorDataset(torch.randn(N, 2, generator=torch.Generator().manual_seed(0)))), 7, sampler=sampler
    )
    for epoch in range(4):
        sampler.set_epoch(epoch)
        seen = []
        for batch in loader:
            indices = batch[-1]
            loss = torch.ones(len(indices), requires_grad=True) * (1 + indices % 3)
            (loss * sampler.weights(indices)).mean().backward()
            sampler.update(indices, loss)
            seen += indices.tolist()
        assert sorted(seen) == sorted(sampler)


def test_refusals() -> None:
    """Impossible settings, epochs, shapes, positions, losses and states raise an error and change nothing."""
    for settings in (
        {"n": 0},
        {"epochs": 0},
        {"r": 1.0},
        {"r": -0.1},
        {"r": float("nan")},
        {"delta": 1.1},
        {"delta": float("nan")},
        {"rank": 1},
        {"world_size": 0},
    ):
        with pytest.raises(ScheduleError):
            InfoBatchSampler(**{"n": 5, "epochs": 5, **settings})
    fresh = InfoBatchSampler(5, 5)
    assert len(fresh) == 5
    assert sorted(fresh) == list(range(5))
    with pytest.raises(ScheduleError, match="set_epoch"):
        list(fresh)
    with pytest.raises(ScheduleError, match="0 or more"):
        fresh.set_epoch(-1)
    with pytest.raises(ShapeError, match="reduction='none'"):
        fresh.update(torch.arange(5), torch.tensor(1.0))
    for at in (-1, 5):
        with pytest.raises(ScheduleError, match=r"0…4"):
            fresh.update(torch.tensor([at]), torch.ones(1))
    with pytest.raises(NonFiniteError) as caught:
        fresh.update(torch.arange(3), torch.tensor([1.0, float("nan"), float("inf")]))
    assert caught.value.indices == (1, 2)
    assert np.isnan(fresh.losses).all()
    sampler = primed(r=0.9)
    sampler.set_epoch(1)
    gone = sorted(set(range(N)) - set(sampler))
    with pytest.raises(ScheduleError, match="dropped"):
        sampler.weights(torch.tensor(gone[:1]))
    for other in (InfoBatchSampler(N, 99), InfoBatchSampler(N + 1, 100), primed(seed=1), primed(r=0.4)):
        with pytest.raises(ScheduleError, match="this sampler has"):
            other.load_state_dict(sampler.state_dict())


@pytest.mark.parametrize("kind", ["drops everything", "drops what is not easy", "a digest by number"])
def test_a_state_that_no_epoch_leaves_is_refused(kind: str) -> None:
    """Every epoch keeps some examples, and drops none but easy ones; a state that says otherwise changes nothing."""
    sampler = primed()
    sampler.set_epoch(1)
    state, before = sampler.state_dict(), list(sampler)
    none = torch.zeros(N, dtype=torch.bool)
    changes = {
        "drops everything": {"kept": none, "easy": ~none},
        "drops what is not easy": {"easy": none},
        "a digest by number": {"exchanged": 5},
    }
    with pytest.raises(ScheduleError, match="damaged or edited"):
        sampler.load_state_dict({**state, **changes[kind]})
    assert list(sampler) == before


@pytest.mark.parametrize("n", [3, 7, 10, 33])
def test_equal_losses_drop_nothing(n: int) -> None:
    """No loss lies below the mean of equal losses, however the mean is rounded."""
    for value in (0.1, 0.7, 1.1, 2.3):
        sampler = InfoBatchSampler(n, 10, r=0.9)
        sampler.update(torch.arange(n), torch.full((n,), value, dtype=torch.float64))
        sampler.set_epoch(1)
        assert sorted(sampler) == list(range(n))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bool, torch.complex64])
def test_positions_that_are_no_integers_are_refused(kind: torch.dtype) -> None:
    """Fractions and masks are never taken for the positions that they would be cut to; an empty batch has none."""
    sampler = primed()
    before = sampler.losses.copy()
    with pytest.raises(ScheduleError, match="positions are integers"):
        sampler.update(torch.tensor([0.9, 1.9]).to(kind), torch.ones(2))
    with pytest.raises(ScheduleError, match="positions are integers"):
        sampler.weights(torch.tensor([1.0, 1.0]).to(kind))
    sampler.update(torch.tensor([]).to(kind), torch.tensor([]))
    assert sampler.weights(torch.tensor([]).to(kind)).shape == (0,)
    assert np.array_equal(sampler.losses, before)


def test_complex_losses_are_refused() -> None:
    """A loss is a real number; the imaginary part is not left out in silence."""
    sampler = primed()
    with pytest.raises(ShapeError, match="losses must be real numbers"):
        sampler.update(torch.arange(2), torch.ones(2, dtype=torch.complex64))


def _losses_and_epoch_1(rank: int) -> tuple[list[float], list[int]]:
    """Give a rank its share of epoch 0's losses, and return the losses it knows and the positions it sees in epoch 1."""
    sampler = InfoBatchSampler(N, 10, rank=rank, world_size=2)
    sampler.set_epoch(0)
    mine = torch.tensor(list(sampler))
    sampler.update(mine, losses_of()[mine])
    sampler.set_epoch(1)
    return sampler.losses.tolist(), list(sampler)


def test_ranks_exchange_losses(tmp_path: Path) -> None:
    """Two processes that each saw half of the losses know all of them in the next epoch, and drop what one process would drop."""
    (losses, first), (same_losses, second) = in_two_processes(_losses_and_epoch_1, tmp_path)
    assert losses == same_losses == losses_of().tolist()
    one_process = primed(epochs=10)
    one_process.set_epoch(1)
    assert set(first + second) == set(one_process)
