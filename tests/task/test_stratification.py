"""The strata over which groups are balanced."""

from typing import Any

import cases
import numpy as np
import pytest

from coreselect.errors import RequirementError, UnknownNameError
from coreselect.task.stratification import strata_of


def of(task: Any, how: Any, **more: Any) -> Any:
    """Strata of a task at seed 0."""
    with task.snapshot(0, 0) as snapshot:
        return strata_of(snapshot, how, **more)


def test_labels_are_the_pools_labels() -> None:
    """'labels' gives the class of each example, in the pool's order, restricted pools included."""
    task = cases.sat_task(12)
    want = cases.classes(12).numpy()
    assert np.array_equal(of(task, "labels"), want)
    assert np.array_equal(of(task.restrict([5, 2, 9]), "labels"), want[[5, 2, 9]])


def test_auto_means_labels_for_a_supervised_loss_and_arrays_with_labels() -> None:
    """'auto' balances by class if the task has labels, and not if it has none."""
    assert np.array_equal(of(cases.sat_task(12), "auto"), cases.classes(12).numpy())
    assert of(cases.acl_task(12), "auto") is None
    assert of(cases.array_task(12), "auto") is not None
    assert of(cases.array_task(12, labels=None), "auto") is None
    assert of(cases.sat_task(12), None) is None


def test_clusters_find_what_is_there() -> None:
    """Two distant clouds of features are two clusters, in any order of the examples."""
    features = np.concatenate([np.random.default_rng(0).normal(0, 0.1, (10, 3)), np.full((10, 3), 9.0)])
    order = np.random.default_rng(1).permutation(20)
    got = of(cases.array_task(20, features=features[order]), "clusters", clusters=2)
    truth = (order >= 10).astype(int)
    assert np.array_equal(got, truth) or np.array_equal(got, 1 - truth)


def test_clusters_are_a_function_of_seed_and_round() -> None:
    """The same seed gives the same clusters, and no global random state moves."""
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    assert np.array_equal(
        of(cases.sat_task(20), "clusters", clusters=3), of(cases.sat_task(20), "clusters", clusters=3)
    )
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [1, 2, 12])
def test_clusters_of_equal_or_few_features(n: int) -> None:
    """Constant features, or fewer examples than clusters, give strata without a warning."""
    got = of(cases.array_task(n, features=np.ones((n, 3))), "clusters")
    assert got.shape == (n,)


def test_what_is_not_there_is_refused() -> None:
    """Missing labels, missing features and an unknown word raise an error of one sentence."""
    with pytest.raises(RequirementError, match="labels"):
        of(cases.acl_task(12), "labels")
    with pytest.raises(RequirementError, match="features"):
        of(cases.array_task(12, features=None), "clusters")
    with pytest.raises(UnknownNameError, match="classes"):
        of(cases.sat_task(12), "classes")
