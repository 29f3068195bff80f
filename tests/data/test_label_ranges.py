"""Claims about class numbers that skip most values: refused before memory is asked for, with 1-based labels in mind."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from coreselect import Task, get_selector, select
from coreselect.data import Images
from coreselect.data.labels import SPARSE_FROM, label_of_item, one_based, refuse_sparse
from coreselect.errors import CoreselectError, DataError, ShapeError
from coreselect.selectors import PerClass, Random

PIXELS = np.zeros((6, 2, 2, 1), np.uint8)
X = torch.rand(6, 4)


class Items(Dataset[Any]):
    """Items whose labels are known only by reading them."""

    def __init__(self, labels: list[int]) -> None:
        self.known = labels

    def __len__(self) -> int:
        return len(self.known)

    def __getitem__(self, index: int) -> Any:
        return X[index % 6], self.known[index]


@pytest.mark.parametrize("most", [10**12, 2**40, 10**6, 2**63 - 1])
def test_a_label_of_a_million_millions_is_refused_before_memory_is_asked_for(most: int) -> None:
    """Images, a task by its items, a task of arrays: one sentence, and less than a megabyte."""
    labels = [0, 1, 2, 0, 1, most]
    tracemalloc.start()
    try:
        for make in (
            lambda: Images(PIXELS, np.array(labels), "toy"),
            lambda: select(Task.from_model(nn.Linear(4, 3), Items(labels)), PerClass(Random()), 3),
            lambda: Task.from_arrays(features=X.numpy(), labels=np.array(labels)),
        ):
            with pytest.raises(
                DataError, match=rf"labels up to {most:,} and only 4 different ones: number the classes 0…3"
            ):
                make()
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 1 << 50), min_size=1, max_size=20),
    st.integers(0, SPARSE_FROM - 1),
)
def test_refused_are_labels_above_the_limit_that_skip_most_values(labels: list[int], small: int) -> None:
    """Any labels below the limit are accepted, and above it those that fill half of the numbers."""
    refuse_sparse(np.array([small, 0]), "toy")
    if max(labels) >= SPARSE_FROM:
        with pytest.raises(DataError, match="different ones"):
            refuse_sparse(np.array(labels), "toy")
    else:
        refuse_sparse(np.array(labels), "toy")
    refuse_sparse(np.arange(SPARSE_FROM * 2)[::2], "toy")  # half of the numbers occur


def test_labels_that_begin_at_one_are_named() -> None:
    """With names or outputs that are one fewer, the sentence says to subtract 1."""
    labels = np.array([1, 2, 3, 1, 2, 3])
    with pytest.raises(
        DataError, match=r"there are 3 class names \(they look as if they begin at 1: subtract 1 for 0…2\)"
    ):
        Images(PIXELS, labels, "toy", ["a", "b", "c"])
    task = Task.from_model(nn.Linear(4, 3), TensorDataset(X, torch.from_numpy(labels)), loss="ce")
    with pytest.raises(ShapeError, match=r"begin at 1: subtract 1 for 0…2"):
        select(task, get_selector("grand"), 2)
    assert one_based(np.array([0, 3]), 3) == ""
    assert one_based(np.array([1, 4]), 3) == ""


def test_ids_as_labels_are_refused_by_warm_ups() -> None:
    """A network is not built with 10¹² outputs, whether the labels are listed or read."""
    from coreselect_integrations.pretraining.warmup import count_classes

    listed: Any = Items([0, 1, 10**12])
    with pytest.raises(CoreselectError, match="only 3 different ones"):
        count_classes(listed)
    listed.targets = listed.known
    with pytest.raises(CoreselectError, match="only 3 different ones"):
        count_classes(listed)


@pytest.mark.parametrize(
    ("label", "known"),
    [(2, 2), (torch.tensor([3]), 3), (np.float64(4), 4), (True, 1), (0.5, None), (float("nan"), None),
     (float("inf"), None), (torch.tensor([0, 1]), None), ("cat", None)],
)  # fmt: skip
def test_only_whole_numbers_are_class_numbers(label: Any, known: int | None) -> None:
    """Fractions, NaN, infinity, vectors and texts have no class number; they are targets of another kind."""
    assert label_of_item((X[0], label)) == known
    assert label_of_item({"image": X[0], "label": label}) == known
