"""What all geometry methods share: ties, numbering, prefixes, and errors for impossible settings."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from kernels import choose, points

from coreselect import Task, select
from coreselect.errors import NonFiniteError, OutOfBoundsError, RequirementError, ShapeError, UnknownNameError
from coreselect.search.neighbours import neighbours
from coreselect.search.similarity import LARGEST
from coreselect.selectors import (
    CAL,
    D2,
    FacilityLocation,
    GraphCut,
    Herding,
    KCenter,
    LogDet,
    Moderate,
    PerClass,
)
from coreselect.solvers.dense_cover import DenseCover
from coreselect.support.finite_checks import check_finite

EVERY = (KCenter(), Herding(), FacilityLocation(), FacilityLocation(dense_up_to=0, neighbours=6), GraphCut(), LogDet())


@pytest.mark.parametrize("selector", EVERY, ids=lambda s: s.name)
def test_prefixes_are_smaller_answers(selector: Any) -> None:
    """The first picks of a larger budget are the picks of a smaller one."""
    x = points(40)
    large = choose(x, selector, 30)
    assert large.nested
    assert choose(x, selector, 11).indices.tolist() == large.indices[:11].tolist()


@pytest.mark.parametrize("selector", EVERY, ids=lambda s: s.name)
def test_equal_features_go_by_number(selector: Any) -> None:
    """If all features are equal, or all 0, the picks are 0, 1, 2, …, for any rounding."""
    for value in (0.0, 0.1, -7.3):
        x = np.full((30, 3), value)
        assert choose(x, selector, 8).indices.tolist() == list(range(8))


@pytest.mark.parametrize("selector", EVERY, ids=lambda s: s.name)
def test_the_lower_of_two_equals_comes_first(selector: Any) -> None:
    """Of two copies of every example the lower index is picked before the higher."""
    x = points(17, 5)
    order = choose(np.concatenate([x, x]), selector, 34).indices.tolist()
    assert all(order.index(i) < order.index(i + 17) for i in range(17))


@pytest.mark.parametrize("selector", EVERY, ids=lambda s: s.name)
def test_numbering_does_not_matter_without_ties(selector: Any) -> None:
    """Renumbering the pool renumbers the picks; example 0 keeps its number, because log_det's first tie goes to it."""
    x = points(50, 6, seed=9)
    order = np.concatenate([[0], 1 + np.random.default_rng(2).permutation(49)])
    assert order[choose(x[order], selector, 9).indices].tolist() == choose(x, selector, 9).indices.tolist()


@pytest.mark.parametrize("selector", EVERY, ids=lambda s: s.name)
def test_single_precision_and_memory_maps_will_do(selector: Any, tmp_path: Any) -> None:
    """Read-only float32 features from disk are used as they are."""
    np.save(tmp_path / "x.npy", points(40).astype(np.float32))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert choose(x, selector, 7).indices.tolist() == choose(np.array(x), selector, 7).indices.tolist()


@pytest.mark.parametrize("selector", EVERY, ids=lambda s: s.name)
def test_classes_one_by_one(selector: Any) -> None:
    """Inside PerClass every class gets its share, also a class of one example."""
    y = np.array([0] * 20 + [1] * 9 + [2])
    chosen = choose(points(30), PerClass(selector), 18, labels=y)
    assert np.bincount(y[chosen.indices]).tolist() == [12, 5, 1]


@pytest.mark.parametrize("selector", EVERY, ids=lambda s: s.name)
def test_features_are_needed(selector: Any) -> None:
    """A task with labels only raises an error of one sentence."""
    with pytest.raises(RequirementError, match=r"needs features, and this task has none: give"):
        select(Task.from_arrays(labels=np.arange(5)), selector, 2)


@pytest.mark.parametrize("selector", [*EVERY, Moderate(), CAL(), D2()], ids=lambda s: s.name)
@pytest.mark.parametrize("size", [1e160, 1e-200])
def test_features_whose_squares_are_no_numbers_are_refused(selector: Any, size: float) -> None:
    """They would be picked by what is left of them, in silence."""
    x = np.random.default_rng(0).normal(size=(40, 3)) * size
    task = Task.from_arrays(features=x, labels=np.arange(40) % 2, logits=x[:, :2] / size)
    with pytest.raises((NonFiniteError, OutOfBoundsError), match=r"and above|multiply them by a constant"):
        select(task, selector, 5)


def check(values: list[list[float]]) -> None:
    """Check features as the geometry methods do."""
    check_finite(torch.tensor(values, dtype=torch.float64), "features", np.arange(len(values)), limit=LARGEST)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: FacilityLocation("dot"), UnknownNameError, "cosine, euclidean, rbf"),  # type: ignore[arg-type]
        (lambda: FacilityLocation(bandwidth=1.0), ShapeError, "leave it out"),
        (lambda: FacilityLocation("rbf", -1.0), ShapeError, "σ > 0"),
        (lambda: FacilityLocation(neighbours=0), ShapeError, "neighbours at least 1"),
        (lambda: FacilityLocation(dense_up_to=-1), ShapeError, "dense_up_to must be at least 0"),
        (lambda: FacilityLocation(search="annoy"), UnknownNameError, "auto, faiss, torch"),  # type: ignore[arg-type]
        (lambda: GraphCut(0.0), ShapeError, "above 0"),
        (lambda: GraphCut(similarity="dot"), UnknownNameError, "cosine"),  # type: ignore[arg-type]
        (lambda: LogDet("euclidean"), ShapeError, "positive semi-definite"),  # type: ignore[arg-type]
        (lambda: LogDet(jitter=0.0), ShapeError, "jitter"),
        (lambda: neighbours(torch.ones(3), 1), ShapeError, "points"),
        (lambda: neighbours(torch.ones(3, 1), 0), ShapeError, "at least 1"),
        (lambda: neighbours(torch.ones(3, 1), 1, by="annoy"), UnknownNameError, "torch"),  # type: ignore[arg-type]
        (lambda: DenseCover(torch.tensor([[-1.0]])), ShapeError, "≥ 0"),
        (lambda: DenseCover(torch.tensor([[math.nan]])), ShapeError, "finite"),
        (lambda: DenseCover(torch.ones(2, 2), torch.tensor([1.0])), ShapeError, "weight"),
        (lambda: check([[1.0], [math.nan]]), NonFiniteError, r"positions 1\)"),
        (lambda: check([[1e200]]), NonFiniteError, r"1e\+150"),
    ],
)
def test_refusals_say_what_to_do(make: Callable[[], Any], error: type[Exception], words: str) -> None:
    """Every impossible setting raises an error of one sentence that names it."""
    with pytest.raises(error, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
