"""What all methods without labels share: numbering, ties, prefixes, and errors."""

from typing import Any

import cases
import numpy as np
import pytest
import torch
from label_free_tasks import features, task

from coreselect import Task, select
from coreselect.errors import CoreselectError, NonFiniteError, RequirementError
from coreselect.selectors import SAS, Prototypicality, SemDeDup, ZCore

ALL: tuple[Any, ...] = (
    Prototypicality(),
    Prototypicality(keep="easy", distance="euclidean"),
    SemDeDup(),
    SAS(),
    SAS(latent="labels"),
    ZCore(samples=50),
)


@pytest.mark.parametrize(
    "selector",
    [Prototypicality(clusters=1), Prototypicality("easy", "euclidean", 1), SemDeDup(clusters=1), SAS(clusters=1)],
    ids=lambda s: s.name,
)
def test_renumbering_the_pool_renumbers_the_picks(selector: Any) -> None:
    """With one cluster nothing is random: the ordered picks are the same examples for every numbering of the pool."""
    X, order = features(25, 6, seed=9), np.random.default_rng(1).permutation(25)
    want = select(task(X), selector, 9).indices
    assert order[select(task(X[order]), selector, 9).indices].tolist() == want.tolist()


@pytest.mark.parametrize("selector", ALL, ids=lambda s: s.name)
@pytest.mark.parametrize(
    "X",
    [np.zeros((6, 3)), np.ones((6, 3)), np.tile(features(2), (3, 1)), features(6, 1), 1e200 * features(6), features(1)],
    ids=["zero", "constant", "copies", "one wide", "huge", "one"],
)
def test_degenerate_pools(selector: Any, X: np.ndarray) -> None:
    """Constant, duplicate, one-dimensional and huge features, one class and one example: k unique picks for every k."""
    for k in range(1, len(X) + 1):
        got = select(task(X, labels=np.zeros(len(X), np.int64)), selector, k)
        assert len(set(got.indices.tolist())) == k
        assert got.scores is None or np.isfinite(got.scores).all()


@pytest.mark.parametrize("selector", ALL, ids=lambda s: s.name)
def test_the_features_of_the_user_stay_as_they_are(selector: Any) -> None:
    """In any order of memory, and of a size at which methods scale them."""
    for X in (np.asfortranarray(features(12) * 2.0**60), np.ascontiguousarray(features(12) * 2.0**-60)):
        before = X.copy()
        select(task(X, labels=np.arange(12) % 2), selector, 4)
        assert np.array_equal(X, before)


@pytest.mark.parametrize("power", [-700, 531])
def test_zcore_picks_the_same_at_any_size(power: int) -> None:
    """Its draws multiply coordinates, which leaves the range of float64 unless they are scaled."""
    X = features(30)
    plain, scaled = (select(task(x), ZCore(samples=60), 9).indices.tolist() for x in (X, np.ldexp(X, power)))
    assert scaled == plain


@pytest.mark.parametrize("selector", [ALL[0], SemDeDup(clusters=1), SAS(clusters=1), ZCore(9, random_start=False)])
def test_ties_go_to_the_lowest_index(selector: Any) -> None:
    """For constant features every method without a random start takes 0 first; methods that rank take 0, 1, 2."""
    got = select(task(np.ones((7, 3))), selector, 3).indices.tolist()
    assert got[0] == 0
    if selector.name != "zcore":
        assert got == [0, 1, 2]


@pytest.mark.parametrize("selector", [ALL[0], SemDeDup(), ZCore(samples=50)], ids=lambda s: s.name)
def test_prefixes_are_smaller_answers(selector: Any) -> None:
    """If a selection is nested, the picks of a smaller budget are the first picks of a larger one."""
    X = features(20)
    whole = select(task(X), selector, 20)
    assert whole.nested
    for k in (1, 3, 10):
        assert select(task(X), selector, k).indices.tolist() == whole.indices[:k].tolist()


@pytest.mark.parametrize("selector", ALL, ids=lambda s: s.name)
def test_features_that_a_model_spoilt_are_refused(selector: Any) -> None:
    """Finite inputs with infinite features raise an error that names their positions in the pool."""

    class Bursting(cases.ConvNet):
        """A model whose features overflow for inputs that begin with a 1."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = torch.tanh(self.conv(x)).mean((2, 3)).repeat(1, 4)  # [B, 12]
            return self.fc(z * torch.where(x[:, 0, 0, :1] == 1, float("inf"), 1.0))

    x = 0.9 * cases.images(8)
    x[[5, 6], 0, 0, 0] = 1.0
    bursting = cases.sat_task(model=cases.built(Bursting), pool=cases.Items(x, cases.classes(8)))
    with pytest.raises(NonFiniteError, match="6, 5") as caught:
        select(bursting.restrict([7, 0, 2, 1, 6, 5, 3]), selector, 3)
    assert caught.value.indices == (6, 5)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (Prototypicality, {"keep": "best"}),
        (Prototypicality, {"distance": "l1"}),
        (Prototypicality, {"clusters": 0}),
        (SemDeDup, {"keep": "best"}),
        (SemDeDup, {"clusters": 0}),
        (SAS, {"latent": "classes"}),
        (SAS, {"clusters": 0}),
        (SAS, {"redundancy": -1.0}),
        (SAS, {"redundancy": float("nan")}),
        (ZCore, {"samples": 0}),
        (ZCore, {"neighbours": 0}),
    ],
)
def test_impossible_settings_are_refused_when_they_are_given(make: Any, settings: Any) -> None:
    """An unknown setting raises an error at construction."""
    with pytest.raises(CoreselectError):
        make(**settings)


@pytest.mark.parametrize("selector", ALL, ids=lambda s: s.name)
def test_a_task_without_features_is_refused(selector: Any) -> None:
    """The error is one sentence that names the selector and what it needs."""
    with pytest.raises(RequirementError, match=f"{selector.name}.* needs features.*: give"):
        select(Task.from_arrays(logits=features(6), labels=np.zeros(6, np.int64)), selector, 2)


def test_the_users_features_are_not_touched() -> None:
    """Float64 features that the user gives as an array are unchanged afterwards."""
    X = features(12)
    before = X.copy()
    for selector in ALL:
        select(task(X, labels=np.zeros(12, np.int64)), selector, 5)
    assert np.array_equal(X, before)
