"""Claims about random draws: each depends only on (seed, purpose, index), and no global state is read or changed."""

import random

import numpy as np
import oracles
import pytest
import torch
from contract import random_states
from hypothesis import given
from hypothesis import strategies as st

from coreselect.support.seeding import derive, generator, rng_kept, seed_everything, seeds

words = st.lists(st.one_of(st.integers(-(2**63), 2**64), st.text(max_size=8)), max_size=4)


@given(st.integers(-(2**63), 2**64), words, st.lists(st.integers(0, 2**62), min_size=1, max_size=5))
def test_seeds_equal_integer_arithmetic(seed: int, path: list[int | str], indices: list[int]) -> None:
    """The vectorised mixing equals Python integers below 2^63, for any seed and purpose."""
    got = seeds(seed, *path, indices=np.array(indices, dtype=np.int64))
    assert got.tolist() == [oracles.seed_of(seed, *path, index=i) for i in indices]
    assert max(got.tolist()) < 2**63


def test_seeds_do_not_collide() -> None:
    """For 20,000 indices, ten seeds and two purposes no seed occurs twice."""
    ids = np.arange(20_000)
    all_of_them = np.concatenate([seeds(s, p, indices=ids) for s in range(10) for p in ("views", "attack")])
    assert len(np.unique(all_of_them)) == len(all_of_them)


def test_order_and_type_of_the_path_count() -> None:
    """(1, 2), (2, 1), ('1', 2) and (1,) are different purposes."""
    assert len({derive(0, 1, 2), derive(0, 2, 1), derive(0, "1", 2), derive(0, 1), derive(1, 0, 2)}) == 5


def test_generators_do_not_share_state() -> None:
    """The same path gives the same numbers and changes no global state."""
    before = random_states()
    one, two = (torch.rand(5, generator=generator(3, "x", 1)) for _ in range(2))
    assert torch.equal(one, two)
    assert random_states() == before


def test_rng_kept_restores_on_failure() -> None:
    """All three global states are restored, also if the body raises."""

    def fail() -> None:
        with rng_kept():
            seed_everything(5)
            random.random()
            np.random.rand()
            torch.rand(1)
            raise ZeroDivisionError

    before = random_states()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert random_states() == before


def test_seed_everything_takes_any_seed() -> None:
    """A seed of 63 bits seeds all three generators."""
    with rng_kept():
        for seed in (0, 1, 2**32, 2**63 - 1):
            seed_everything(seed)
            first = (random.random(), np.random.rand(), torch.rand(1).item())
            seed_everything(seed)
            assert (random.random(), np.random.rand(), torch.rand(1).item()) == first
