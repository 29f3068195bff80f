"""Claims about the first look at a pool: hidden randomness, labels that disagree and wrong positions are found at once."""

import itertools
import random
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

from coreselect import Task, get_selector, holdout, select
from coreselect.errors import CoreselectWarning, DataError
from coreselect.selectors import RCS, PerClass, Random

N, WIDTH, CLASSES = 96, 12, 3
X = torch.rand(N, WIDTH, generator=torch.Generator().manual_seed(0))


class Items(Dataset[Any]):
    """A dataset of what a function makes of each position."""

    def __init__(self, item: Callable[[int], Any], n: int = N) -> None:
        self.item, self.n, self.read = item, n, list[int]()

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return self.item(index)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def plain(i: int) -> tuple[torch.Tensor, int]:
    return X[i], i % CLASSES


HELD = TensorDataset(torch.rand(20, WIDTH), torch.arange(20) % CLASSES)


def hidden() -> dict[str, Callable[[int], Any]]:
    """Items with draws that no seed controls."""
    numpy, torchs, python = np.random.default_rng(0), torch.Generator().manual_seed(0), random.Random(0)
    count, drift = itertools.count(), X.clone()

    def counted(i: int) -> Any:
        return X[i], i % CLASSES, next(count)

    def in_place(i: int) -> Any:
        return drift[i].mul_(0.9), i % CLASSES

    return {
        "numpy": lambda i: (X[i] + 0.1 * float(numpy.normal()), i % CLASSES),
        "torch": lambda i: (X[i] + 0.1 * torch.rand(WIDTH, generator=torchs), i % CLASSES),
        "python": lambda i: (X[i] * python.random(), i % CLASSES),
        "clock": lambda i: {"x": X[i], "y": i % CLASSES, "at": time.perf_counter_ns()},
        "label": lambda i: (X[i], python.randrange(1 << 30)),
        "counter": counted,
        "in place": in_place,
    }


@pytest.mark.parametrize("kind", list(hidden()))
def test_a_generator_of_its_own_is_found_when_the_task_is_made(kind: str) -> None:
    """Two reads of an item with one seed differ: the sentence names seeding and ids=, for the pool and for validation."""
    said = r"item 0 has other values when it is read again with the same seed.*seeded for every item.*ids="
    with pytest.raises(DataError, match=f"pool {said}"):
        Task.from_model(net(), Items(hidden()[kind]), HELD)
    with pytest.raises(DataError, match=f"validation {said}"):
        Task.from_model(net(), Items(plain), Items(hidden()[kind], 20))


def test_ids_accept_it_with_a_warning() -> None:
    """With ids the task is made, and the warning says what the selection depends on."""
    with pytest.warns(CoreselectWarning, match="depends on the order in which items are read"):
        task = Task.from_model(net(), Items(hidden()["numpy"]), HELD, ids=range(N))
    assert task.fingerprint().startswith(f"n:{N}-")


@pytest.mark.parametrize("draw", [lambda: torch.rand(()), lambda: np.random.rand(), lambda: random.random()])
def test_global_generators_are_seeded_and_accepted(draw: Callable[[], Any]) -> None:
    """Augmentation from torch, numpy or random gives one answer, with 0 and 2 workers."""
    pool = Items(lambda i: (X[i] * float(draw()), i % CLASSES))
    picks = [
        select(Task.from_model(net(), pool, HELD, num_workers=workers), RCS(), 24).indices.tolist()
        for workers in (0, 2)
    ]
    assert picks[0] == picks[1]


def test_the_first_look_reads_a_handful_twice() -> None:
    """Four items, two reads each, are all that making a task costs; a smaller dataset costs less."""
    pool, held = Items(plain), Items(plain, 2)
    Task.from_model(net(), pool, held)
    assert sorted(pool.read) == sorted([0, 31, 63, 95] * 2)
    assert sorted(held.read) == [0, 0, 1, 1]


class Listed(Items):
    """Items beside a list of labels that may be another one."""

    def __init__(self, listed: Any, item: Callable[[int], Any] = plain, n: int = N, word: str = "targets") -> None:
        super().__init__(item, n)
        setattr(self, word, listed)


@settings(max_examples=20, deadline=None)
@given(
    wrong=st.sets(st.integers(0, N - 1), min_size=1), word=st.sampled_from(["targets", "labels"]), mapping=st.booleans()
)
def test_the_items_labels_count_where_the_list_disagrees(wrong: set[int], word: str, mapping: bool) -> None:
    """Whichever positions differ, a warning names one of them, and class-wise choosing uses the items' labels."""
    listed = [(i + (i in wrong)) % CLASSES for i in range(N)]
    item: Callable[[int], Any] = (lambda i: {"image": X[i], "label": i % CLASSES}) if mapping else plain
    pool = Listed(listed, item, word=word)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        chosen = select(Task.from_model(net(), pool), PerClass(Random()), 9)
    said = [str(w.message) for w in seen if issubclass(w.category, CoreselectWarning)]
    assert len(said) == 1
    named = said[0].split("(positions ")[1].split(")")[0].split(" and ")[0]
    assert {int(p) for p in named.split(", ")} <= wrong
    assert np.bincount(chosen.indices % CLASSES).tolist() == [3, 3, 3]


def test_lists_that_agree_are_trusted_and_nothing_more_is_read() -> None:
    """The pool's labels come from the list: beside the first look, only the fingerprint's items are read."""
    pool = Listed([i % CLASSES for i in range(1000)], lambda i: (X[i % N], i % CLASSES), 1000)
    task = Task.from_model(net(), pool)
    select(task, PerClass(Random()), 9)
    assert len(pool.read) == 8 + 256


def test_a_wrong_list_of_a_large_pool_is_found() -> None:
    """Labels that are one class off everywhere, or of another kind, are found among the items that are read."""
    pool = Listed(np.arange(3000) % CLASSES, lambda i: (X[i % N], (i + 1) % CLASSES), 3000)
    with pytest.warns(CoreselectWarning, match="4 of 4 items"):
        Task.from_model(net(), pool)
    listed = np.arange(3000) % CLASSES
    listed[2995:2999] += 1  # near the end, not at it
    late = Listed(listed % CLASSES, lambda i: (X[i % N], i % CLASSES), 3000)
    task = Task.from_model(net(), late)
    listed[:200] = 1 - listed[:200] % 2
    late.targets = listed  # type: ignore[attr-defined]
    with pytest.warns(CoreselectWarning, match="of 256 items"):
        select(task, PerClass(Random()), 9)


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ([0, 5, 5, 7], r"holds 1 positions more than once \(5\)"),
        ([0, -1, 3], r"positions -1, its dataset has 0…95"),
        ([0, 96], r"positions 96, its dataset has 0…95"),
        (np.array([True, False, True]), "no list of integers"),
        ([0.5, 1.0], "no list of integers"),
        ([[0, 1], [2, 3]], "no list of integers"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_wrong_positions_of_a_subset_are_found_at_once(indices: Any, said: str, nested: bool) -> None:
    """By the task, for pool and validation, and by the holdout, also where the Subset is inside another."""
    wrong: Any = Subset(TensorDataset(X, torch.arange(N) % CLASSES), indices)
    wrong = Subset(wrong, [0, 1]) if nested else wrong
    for make in (
        lambda: Task.from_model(net(), wrong),
        lambda: Task.from_model(net(), Items(plain), wrong),
        lambda: holdout(wrong, 1),
    ):
        with pytest.raises(DataError, match=said):
            make()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-N, 2 * N), min_size=2, max_size=30))
def test_exactly_different_positions_of_the_dataset_are_accepted(indices: list[int]) -> None:
    """A Subset is accepted if and only if its positions are different and in 0…N − 1."""
    subset = Subset(TensorDataset(X), indices)
    if len(set(indices)) == len(indices) and min(indices) >= 0 and max(indices) < N:
        assert sum(map(len, holdout(subset, 1))) == len(indices)
    else:
        with pytest.raises(DataError, match="is a Subset"):
            holdout(subset, 1)


def test_a_label_free_method_does_not_mind_other_labels() -> None:
    """zcore chooses although labels skip most values: it never asks for them."""
    pool = Listed([10**12 * (i % 2) for i in range(N)], lambda i: (X[i], 10**12 * (i % 2)))
    assert len(select(Task.from_model(net(), pool), get_selector("zcore"), 5)) == 5
    with pytest.raises(DataError, match=r"labels up to 1,000,000,000,000 and only 2 different ones.*begin at 1"):
        select(Task.from_model(net(), pool, HELD), PerClass(Random()), 6)
