"""The methods without labels: each agrees with its definition written out slowly, and with other libraries."""

from typing import Any

import cases
import numpy as np
import pytest
import torch

from coreselect import Task, select
from coreselect.errors import CoreselectError, NonFiniteError, RequirementError
from coreselect.selectors import SAS, Prototypicality, SemDeDup, ZCore
from coreselect.selectors.label_free.features import cluster, descending, unit
from coreselect.selectors.label_free.sas import greedy_cut
from coreselect.selectors.label_free.semdedup import nearest_earlier
from coreselect.selectors.label_free.zcore import ENTRIES, kth_smallest, subspaces
from coreselect.support.seeding import generator as seeded

ALL: tuple[Any, ...] = (
    Prototypicality(),
    Prototypicality(keep="easy", distance="euclidean"),
    SemDeDup(),
    SAS(),
    SAS(latent="labels"),
    ZCore(samples=50),
)


def features(n: int, d: int = 5, seed: int = 0) -> np.ndarray:
    """Normal features [n, d]."""
    return np.random.default_rng(seed).normal(size=(n, d))


def task(X: np.ndarray, **more: Any) -> Any:
    """A task with features only."""
    return Task.from_arrays(features=X, **more)


def parts_of(selector: Any, X: np.ndarray, count: int) -> list[np.ndarray]:
    """Return the clusters that a selection with seed 0 finds in X."""
    with task(X).snapshot(0, 0) as snapshot:
        return cluster(snapshot, X, count, selector.name)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """⟨a, b⟩ / ‖a‖‖b‖."""
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def slow_cut(S: list[int], s: np.ndarray) -> float:
    """Σ_{i∉S} Σ_{j∈S} s_ij, one pair at a time."""
    return sum(float(s[i, j]) for i in range(len(s)) if i not in S for j in S)


# --- prototypicality -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_prototypicality_is_the_distance_to_the_own_centroid(distance: Any, keep: Any) -> None:
    """Scores are the distance to the mean of the own cluster, and the picks are the farthest, or nearest, in that order."""
    X = features(40)
    selector = Prototypicality(keep, distance, clusters=3)
    got = select(task(X), selector, 11)
    Z = np.array([x / np.linalg.norm(x) for x in X]) if distance == "cosine" else X
    want = np.empty(40)
    for members in parts_of(selector, Z, 3):
        centroid = np.stack([Z[i] for i in members]).sum(0) / len(members)
        for i in members:
            want[i] = 1 - cosine(Z[i], centroid) if distance == "cosine" else np.linalg.norm(Z[i] - centroid)
    assert got.scores is not None
    assert np.allclose(got.scores, want, rtol=1e-12, atol=1e-14)
    assert got.indices.tolist() == sorted(range(40), key=lambda i: -want[i] if keep == "hard" else want[i])[:11]


def test_prototypicality_on_numbers_done_by_hand() -> None:
    """Points 0, 1, 2, 9 on a line have the mean 3: distances 3, 2, 1, 6; hard keeps 9 then 0, easy 2 then 1."""
    X = np.array([[0.0], [1.0], [2.0], [9.0]])
    hard = select(task(X), Prototypicality("hard", "euclidean", clusters=1), 2)
    assert hard.scores is not None
    assert hard.scores.tolist() == [3, 2, 1, 6]
    assert hard.indices.tolist() == [3, 0]
    assert select(task(X), Prototypicality("easy", "euclidean", clusters=1), 2).indices.tolist() == [2, 1]


# --- semdedup --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_semdedup_drops_what_is_similar_to_an_earlier_item(keep: Any) -> None:
    """Dropping by the definition with the reported ε leaves exactly the picks, for every budget with its own ε."""
    X = features(30, 3, seed=4)
    Z = unit(X)
    selector = SemDeDup(clusters=4, keep=keep)
    for k in range(4, 31):
        got = select(task(X), selector, k)
        epsilon = got.provenance.settings["epsilon"]
        kept = []
        for members in parts_of(selector, Z, 4):
            centroid = np.stack([Z[i] for i in members]).sum(0)
            order = sorted(members, key=lambda i: cosine(Z[i], centroid) * (1 if keep == "hard" else -1))
            for at, i in enumerate(order):
                if not any(cosine(Z[i], Z[j]) > 1 - epsilon + 1e-11 for j in order[:at]):
                    kept.append(i)
        assert sorted(got.indices.tolist()) == sorted(kept)
        assert len(kept) == k


def test_semdedup_keeps_one_of_each_before_any_copy() -> None:
    """For ten items with three copies each, a budget of ten keeps no item twice."""
    X = np.tile(features(10), (3, 1))
    got = select(task(X), SemDeDup(clusters=1), 10)
    assert sorted(got.indices % 10) == list(range(10))


def test_semdedup_decides_ties_by_index_and_says_so() -> None:
    """All copies have similarity 1: those of lowest index stay, and the notes count them."""
    got = select(task(np.tile(features(1), (8, 1))), SemDeDup(clusters=1), 3)
    assert got.indices.tolist() == [0, 1, 2]
    assert got.provenance.settings["epsilon"] == 0
    assert any("7 items tie" in note and "the 2 of lowest index" in note for note in got.provenance.notes)
    distinct = select(task(features(9)), SemDeDup(clusters=1), 4)
    assert not any("tie" in note for note in distinct.provenance.notes)


@pytest.mark.parametrize("entries", [1, 20, 10**6])
def test_similarities_do_not_depend_on_their_blocks(entries: int, monkeypatch: Any) -> None:
    """In blocks of one row, a few rows or all rows, the largest cosine to an earlier row is that of sklearn."""
    pairwise = pytest.importorskip("sklearn.metrics.pairwise")
    monkeypatch.setattr("coreselect.selectors.label_free.semdedup.ENTRIES", entries)
    X = features(13)
    similar = pairwise.cosine_similarity(X)
    want = [-1.0] + [similar[i, :i].max() for i in range(1, 13)]
    assert np.allclose(nearest_earlier(unit(X)), want, atol=1e-11)


# --- sas -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("k", [1, 4, 9])
def test_sas_gains_are_increments_of_the_cut(k: int) -> None:
    """Each gain is the largest F(S + e) − F(S) of the cut counted pair by pair, and F(V) = 0."""
    Z = unit(features(9, 3, seed=2))
    s = (1 + Z @ Z.T) / 2
    S, gains = greedy_cut(Z, k, 1.0)
    taken: list[int] = []
    for e, gain in zip(S.tolist(), gains, strict=True):
        increments = {i: slow_cut([*taken, i], s) - slow_cut(taken, s) for i in range(9) if i not in taken}
        assert np.isclose(gain, increments[e], rtol=1e-12, atol=1e-12)
        assert np.isclose(increments[e], max(increments.values()), rtol=1e-12, atol=1e-12)
        taken.append(e)
    if k == 9:
        assert abs(gains.sum()) < 1e-12


def test_sas_is_within_half_of_the_best_cut() -> None:
    """On every small set tried, greedy's cut is at least half of the best cut of that size (in practice much closer)."""
    from itertools import combinations

    for seed in range(5):
        Z = unit(features(8, 3, seed=seed))
        s = (1 + Z @ Z.T) / 2
        best = max(slow_cut(list(S), s) for S in combinations(range(8), 3))
        assert greedy_cut(Z, 3, 1.0)[1].sum() >= 0.5 * best


def test_redundancy_is_what_spreads_the_picks() -> None:
    """Three copies of a and two of b, cos(a, b) = 0.6: λ = 0 takes a, a, a; λ = 1 takes a, b, a, with gains worked by hand.

    s_ab = 0.8, so Σ_i s_ia = 3 + 1.6 and Σ_i s_ib = 2.4 + 2. First gains a: 4.6 − 1, b: 4.4 − 1; after a, a: 3.6 − 2, b: 3.4 − 1.6;
    after b, a: 1.6 − 1.6, b: 1.8 − 2.
    """
    X = np.array([[1.0, 0.0]] * 3 + [[0.6, 0.8]] * 2)
    assert select(task(X), SAS(clusters=1, redundancy=0.0), 3).indices.tolist() == [0, 1, 2]
    spread = select(task(X), SAS(clusters=1), 3)
    assert spread.indices.tolist() == [0, 3, 1]
    assert np.allclose(spread.gains, [3.6, 1.8, 0.0], atol=1e-12)


def test_sas_shares_the_budget_over_latent_classes() -> None:
    """With labels, classes of 20, 10 and 10 get 4, 2 and 2 of 8, and no clusters are computed."""
    y = np.repeat([7, 3, 5], [20, 10, 10])
    got = select(task(features(40), labels=y), SAS(latent="labels"), 8)
    assert np.bincount(y[got.indices], minlength=8)[[7, 3, 5]].tolist() == [4, 2, 2]
    assert SAS(latent="labels").requires == {"features", "labels"}
    assert SAS().requires == {"features"}


def test_sas_says_when_picks_lower_the_objective() -> None:
    """k = N takes everything, although half of the picks lower a cut; a note gives their number."""
    got = select(task(features(12)), SAS(clusters=1), 12)
    assert got.provenance.notes == (f"{(got.gains < 0).sum()} picks, the last of their classes, lowered the objective",)


# --- zcore -----------------------------------------------------------------------------------------------------------
def slow_zcore(X: np.ndarray, selector: ZCore, seed: int) -> np.ndarray:
    """ZCore's scores, one draw and one neighbour at a time."""
    n = len(X)
    own = seeded(seed, "zcore", 0)
    dims, points = subspaces(torch.from_numpy(X.T.copy()), selector.samples or 0, own)
    s = np.zeros(n)
    for d, p in zip(dims.tolist(), points.tolist(), strict=True):
        far = [sum(abs(X[i, a] - b) for a, b in zip(d, p, strict=True)) for i in range(n)]
        star = far.index(min(far))
        s[star] += 1
        gap = {j: sum(abs(X[j, a] - X[star, a]) for a in d) for j in range(n) if j != star}
        last = sorted(gap.values())[min(selector.neighbours, n - 1) - 1]
        near = {j: g for j, g in gap.items() if g <= last}
        copies = [j for j, g in near.items() if g == 0]
        mass = dict.fromkeys(copies, 1.0) if copies else {j: g**-4.0 for j, g in near.items()}
        for j, m in mass.items():
            s[j] -= m / sum(mass.values())
    return s + torch.rand(n, generator=own, dtype=torch.float64).numpy() if selector.random_start else s


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("neighbours", [1, 4, 1000])
@pytest.mark.parametrize("start", [False, True])
def test_zcore_is_its_definition(neighbours: int, start: bool, copies: bool) -> None:
    """Scores are those of the loop over draws and neighbours, and the picks the largest."""
    X = np.tile(features(7, 4), (2, 1)) if copies else features(14, 4)
    selector = ZCore(samples=40, neighbours=neighbours, random_start=start)
    got = select(task(X), selector, 5, 3)
    want = slow_zcore(X, selector, 3)
    assert got.scores is not None
    assert np.allclose(got.scores, want, rtol=1e-9, atol=1e-12)
    assert got.indices.tolist() == descending(want)[:5].tolist()


def test_zcore_blocks_do_not_matter(monkeypatch: Any) -> None:
    """One draw at a time and all at once give the same picks, and the same scores up to the order of summation."""
    want = select(task(features(20)), ZCore(samples=60), 6)
    monkeypatch.setitem(ENTRIES, "cpu", 1)
    got = select(task(features(20)), ZCore(samples=60), 6)
    assert got.indices.tolist() == want.indices.tolist()
    assert got.scores is not None
    assert want.scores is not None
    assert np.allclose(got.scores, want.scores, rtol=1e-12, atol=1e-12)


def test_zcore_draws_triangular_points_of_different_coordinates() -> None:
    """Coordinates differ and are uniform; points follow numpy's triangular distribution (two-sample test at 4.5 σ)."""
    stats = pytest.importorskip("scipy.stats")
    X = np.abs(features(31, 3))
    dims, points = subspaces(torch.from_numpy(X.T.copy()), 4000, seeded(0, "test"))
    assert (dims[:, 0] != dims[:, 1]).all()
    assert np.abs(np.bincount(dims.flatten().numpy()) / 8000 - 1 / 3).max() < 0.03
    of_one = points[dims == 1].numpy()
    low, mode, high = X[:, 1].min(), np.median(X[:, 1]), X[:, 1].max()
    law = stats.triang((mode - low) / (high - low), low, high - low)
    assert stats.kstest(of_one, law.cdf).pvalue > 1e-5


def test_the_smallest_of_each_row_is_torchs() -> None:
    """Numpy's partition and torch's kthvalue find the same value."""
    gap = torch.from_numpy(features(4, 9))
    for k in range(1, 10):
        assert torch.equal(kth_smallest(gap, k), gap.kthvalue(k, dim=1, keepdim=True).values)


def test_zcore_draws_as_many_as_it_says() -> None:
    """The default is 20 draws per example, at most a million; the notes give the number."""
    assert select(task(features(10)), ZCore(), 2).provenance.notes[0] == "200 draws"


# --- all -------------------------------------------------------------------------------------------------------------
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
