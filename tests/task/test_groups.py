"""Dealing the pool into groups."""

import cases
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coreselect import select
from coreselect.task.groups import deal, default_size


@given(st.integers(1, 200), st.data())
def test_groups_share_the_pool_evenly(n: int, data: st.DataObject) -> None:
    """Every example is in exactly one group, sizes differ by at most one, and no group is larger than the given size."""
    size = data.draw(st.integers(1, n))
    strata = data.draw(st.sampled_from([None, np.arange(n) % 3, np.zeros(n, np.int64)]))
    groups = deal(n, size, torch.Generator().manual_seed(data.draw(st.integers(0, 9))), strata)
    sizes = [len(g) for g in groups]
    assert sorted(np.concatenate(groups).tolist()) == list(range(n))
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= size
    assert len(groups) == -(-n // size)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 20), st.integers(0, 9))
def test_every_group_has_its_share_of_each_stratum(counts: list[int], size: int, seed: int) -> None:
    """A group has ⌊share⌋ or ⌈share⌉ members of each stratum, where share = stratum size / number of groups."""
    strata = np.repeat(np.arange(len(counts)), counts)
    strata = strata[np.random.default_rng(seed).permutation(len(strata))]
    groups = deal(len(strata), min(size, len(strata)), torch.Generator().manual_seed(seed), strata)
    for stratum, count in enumerate(counts):
        share = count / len(groups)
        for g in groups:
            assert np.floor(share) <= (strata[g] == stratum).sum() <= np.ceil(share)


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 9))
def test_prefixes_of_a_group_are_balanced(per_class: int, classes: int, seed: int) -> None:
    """With equal classes, every prefix of a group has each class within one of its share, so a trimmed group stays balanced."""
    n = per_class * classes
    strata = np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), per_class))
    (group,) = deal(n, n, torch.Generator().manual_seed(seed), strata)
    for length in range(1, n + 1):
        held = np.bincount(strata[group[:length]], minlength=classes)
        assert held.max() - held.min() <= 1


def test_members_of_unequal_strata_go_to_their_places() -> None:
    """The j-th of c members of a stratum goes to place (j + ½) / c: the one member of the rare stratum stands in the middle."""
    strata = np.array([0, 0, 0, 0, 1, 2, 2, 2])
    (group,) = deal(8, 8, torch.Generator().manual_seed(0), strata)
    assert strata[group].tolist() == [0, 2, 0, 1, 2, 0, 2, 0]


def test_a_deal_is_a_function_of_its_generator() -> None:
    """The same generator state gives the same groups, another state gives others, and no global state moves."""
    before = torch.get_rng_state()
    one, two, other = (deal(50, 8, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("budget", "batch_loss", "size"),
    [
        (1, False, 2),
        (8, False, 2),
        (16, False, 2),
        (24, False, 3),
        (512, False, 64),
        (99999, False, 64),
        (1, True, 16),
        (200, True, 25),
    ],
)
def test_default_sizes(budget: int, batch_loss: bool, size: int) -> None:
    """min(64, budget // 8), at least 2, and at least 16 for batch losses."""
    assert default_size(budget, batch_loss=batch_loss) == size


@pytest.mark.parametrize("n", [2, 5, 15, 17, 33])
def test_contrastive_pools_below_sixteen_and_just_above(n: int) -> None:
    """ACL on a pool smaller than one group, or a little larger, meets every budget with groups of two or more."""
    for k in sorted({1, 2, n // 2, n - 1, n} - {0}):
        chosen = select(cases.acl_task(n), cases.rcs(group_size=None), k)
        assert len(chosen) == k
        assert chosen.provenance.settings["group_size"] <= max(16, n)


def test_a_group_larger_than_the_pool_is_the_pool() -> None:
    """A group size above N gives one group of all examples, trimmed to the budget."""
    chosen = select(cases.sat_task(10), cases.rcs(group_size=1000), 4)
    assert len(set(chosen.groups.tolist())) == 1
    assert chosen.provenance.settings["group_size"] == 10


def test_the_group_size_used_is_recorded() -> None:
    """Provenance records the size of the groups and the number of candidate groups."""
    s = select(cases.sat_task(24), cases.rcs(group_size=None), 7).provenance.settings
    assert (s["group_size"], s["candidate_groups"]) == (2, 12)


def test_labels_balance_what_is_picked() -> None:
    """With groups balanced by class, the picks have each class within one per group, also if the last group is trimmed."""
    y = torch.arange(40) % 4
    task = cases.sat_task(pool=cases.Items(cases.images(40), y))
    for k in (8, 10, 19):
        counts = np.bincount(y[select(task, cases.rcs(group_size=8), k).indices].numpy(), minlength=4)
        assert counts.max() - counts.min() <= 1
