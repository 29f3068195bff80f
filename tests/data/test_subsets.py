"""Claims about subsets: they know where their examples came from, and validation is not in the pool."""

from fractions import Fraction
from typing import Any

import cases
import numpy as np
import pytest
import torch
from contract import random_states
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Subset, TensorDataset

from coreselect import Indexed, Selection, Task, get_selector, holdout, select
from coreselect.data.subsets import origin, provably_disjoint
from coreselect.errors import BudgetError, IndexFileError, OverlapError, RequirementError
from coreselect.selectors import Random


@given(st.integers(2, 60), st.data(), st.integers(0, 99))
def test_holdout_splits_the_dataset(n: int, data: st.DataObject, seed: int) -> None:
    """Pool and validation are disjoint and sorted, have the requested sizes, and together are the whole dataset."""
    k = data.draw(st.integers(1, n - 1))
    pool, validation = holdout(list(range(n)), k, seed)
    assert len(validation) == k
    assert sorted([*pool.indices, *validation.indices]) == list(range(n))
    assert list(pool.indices) == sorted(pool.indices)
    assert list(validation.indices) == sorted(validation.indices)


def test_holdout_is_a_function_of_its_seed() -> None:
    """The same seed holds out the same items, another seed holds out others, and no global random state changes."""
    before = random_states()
    one, two, other = (holdout(range(100), 10, s)[1].indices for s in (0, 0, 1))
    assert one == two != other
    assert random_states() == before


@pytest.mark.parametrize(("size", "k"), [(0.1, 10), (0.29, 29), (Fraction(1, 3), 33), (7, 7)])
def test_holdout_takes_counts_and_fractions(size: Any, k: int) -> None:
    """A fraction is computed from the decimal that was written."""
    assert len(holdout(range(100), size)[1]) == k


@pytest.mark.parametrize("size", [0, 100, 1.0, 0.001, 101])
def test_holding_out_nothing_or_everything_is_refused(size: Any) -> None:
    """A holdout where the pool or the validation set would be empty is refused."""
    with pytest.raises(BudgetError):
        holdout(range(100), size)


def test_origin_follows_nested_subsets() -> None:
    """The positions of a subset of a subset of a subset are positions in the first dataset."""
    data = cases.Items(cases.images(20))
    a = Subset(data, list(range(19, -1, -1)))
    b = Subset(a, [0, 5, 10, 15])
    c = Subset(b, [3, 1])
    root, positions = origin(c)
    assert root is data
    assert positions.tolist() == [4, 14]
    assert origin(data)[1].tolist() == list(range(20))


def test_numpy_and_tensor_indices_are_followed() -> None:
    """Subsets made with arrays or tensors give the same positions."""
    data = cases.Items(cases.images(6))
    for indices in (np.array([4, 2]), torch.tensor([4, 2]), range(4, 1, -2)):
        assert origin(Subset(data, indices))[1].tolist() == [4, 2]  # type: ignore[arg-type]


def test_overlap_is_found_by_indices() -> None:
    """Two subsets of one dataset that share positions are refused and the positions named; others are proved disjoint."""
    data = cases.Items(cases.images(20), cases.classes(20))
    assert provably_disjoint(Subset(data, range(10)), Subset(data, range(10, 20)))
    with pytest.raises(OverlapError, match="7, 9"):
        provably_disjoint(Subset(data, range(10)), Subset(data, [15, 9, 7]))
    with pytest.raises(OverlapError):
        provably_disjoint(data, Subset(data, [3]))
    assert not provably_disjoint(data, cases.Items(cases.images(20)))
    with pytest.raises(OverlapError, match="holdout"):
        select(cases.sat_task(pool=data, validation=Subset(data, [3])), cases.rcs(), 5)


def test_the_same_dataset_on_both_sides_is_refused() -> None:
    """A validation set that is the pool itself is refused."""
    data = cases.Items(cases.images(20), cases.classes(20))
    with pytest.raises(OverlapError):
        select(cases.sat_task(pool=data, validation=data), cases.rcs(), 5)


@pytest.mark.parametrize("where", [0, 13, 19])
def test_overlap_is_found_by_hashing(where: int) -> None:
    """If indices prove nothing, an image on both sides is found by hashing and refused with its pool position."""
    x, u = cases.images(20), cases.images(6, seed=3)
    u[2] = x[where]
    task = cases.sat_task(
        pool=cases.Items(x, cases.classes(20)), validation=cases.Items(u, cases.classes(6)), batch_size=7
    )
    with pytest.raises(OverlapError, match=str(where)):
        select(task, cases.rcs(), 5)


@pytest.mark.parametrize("name", ["craig", "rs2"])
def test_the_split_is_recorded_by_methods_that_do_not_read_it(name: str) -> None:
    """A file of CRAIG holds the held-out positions, so that the split can be made again; it claims no check of disjointness."""
    pool, validation = holdout(cases.Items(cases.images(20), cases.classes(20)), 5)
    p = select(cases.sat_task(pool=pool, validation=validation), get_selector(name), 5).provenance
    assert p.validation_indices is not None
    assert p.validation_indices.tolist() == validation.indices
    assert p.disjoint is None
    p = select(Task.from_arrays(features=np.eye(8)), get_selector("random"), 5).provenance
    assert p.validation_indices is None


def test_provenance_says_how_disjointness_was_established() -> None:
    """Provenance says that subsets of one dataset were compared by indices and others by hashing, with the validation positions."""
    pool, validation = holdout(cases.Items(cases.images(20), cases.classes(20)), 5)
    p = select(cases.sat_task(pool=pool, validation=validation), cases.rcs(), 5).provenance
    assert p.disjoint == "indices of one dataset"
    assert p.validation_indices is not None
    assert p.validation_indices.tolist() == validation.indices
    p = select(cases.sat_task(20), cases.rcs(), 5).provenance
    assert p.disjoint is not None
    assert "hash" in p.disjoint


def test_subset_gives_the_picked_items() -> None:
    """selection.subset(dataset) holds the picked items in pick order, and refuses a dataset of another length."""
    data = cases.Items(cases.images(12), cases.classes(12))
    chosen = select(cases.sat_task(pool=data), Random(), 5)
    part = chosen.subset(data)
    assert len(part) == 5
    assert all(torch.equal(part[j][0], data[int(i)][0]) for j, i in enumerate(chosen.indices))
    with pytest.raises(IndexFileError, match="12"):
        chosen.subset(cases.Items(cases.images(13)))


def test_indexed_adds_the_position() -> None:
    """(x, y) becomes (x, y, i), any other item becomes (item, i), and the length stays the same."""
    pairs, singles = Indexed(cases.Items(cases.images(4), cases.classes(4))), Indexed(cases.Items(cases.images(4)))
    assert len(pairs) == len(singles) == 4
    assert len(pairs[2]) == 3
    assert pairs[2][2] == 2
    assert len(singles[3]) == 2
    assert singles[3][1] == 3


def test_a_selection_of_a_holdout_points_into_the_first_dataset(tmp_path: Any) -> None:
    """After two holdouts, source indices are positions in the first dataset, also after saving and loading."""
    data = cases.Items(cases.images(30), cases.classes(30))
    rest, _ = holdout(data, 6, seed=1)
    pool, validation = holdout(rest, 6, seed=2)
    chosen = select(cases.sat_task(pool=pool, validation=validation), cases.rcs(), 7)
    for i, s in zip(chosen.indices, chosen.source_indices, strict=True):
        assert torch.equal(pool[int(i)][0], data[int(s)][0])
    chosen.save(tmp_path / "c.json")
    assert Selection.load(tmp_path / "c.json").source_indices.tolist() == chosen.source_indices.tolist()


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1", None])
def test_seeds_that_are_no_whole_numbers_are_refused(seed: Any) -> None:
    """A seed is a whole number from 0 on, of Python or numpy; no other value makes a split that cannot be told from its own."""
    data = TensorDataset(torch.arange(20))
    with pytest.raises(RequirementError, match="seed must be a whole number"):
        holdout(data, 4, seed)
    of_numpy: Any = np.int64(3)
    assert holdout(data, 4, of_numpy)[0].indices == holdout(data, 4, 3)[0].indices
