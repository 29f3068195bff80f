"""The geometry baselines: k_center, herding, facility_location, graph_cut, log_det, and the functions they use."""

import itertools
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from coreselect import Selection, Task, select
from coreselect.errors import MissingExtraError, NonFiniteError, RequirementError, ShapeError, UnknownNameError
from coreselect.search.neighbours import neighbours
from coreselect.search.similarity import GRID, LARGEST, distinct_points, similarity, squared_distances_to
from coreselect.selectors import FacilityLocation, GraphCut, Herding, KCenter, LogDet, PerClass
from coreselect.solvers.coverage import GUARANTEE, maximise
from coreselect.solvers.dense_cover import DenseCover
from coreselect.solvers.largest import first_largest
from coreselect.support.finite_checks import check_finite

EVERY = (KCenter(), Herding(), FacilityLocation(), FacilityLocation(dense_up_to=0, neighbours=6), GraphCut(), LogDet())
Kernel = np.ndarray


def points(n: int, d: int = 4, seed: int = 0) -> np.ndarray:
    """Random features [n, d] whose mean is not 0."""
    return np.random.default_rng(seed).normal(0.3, 1.0, size=(n, d))


def choose(features: np.ndarray, selector: Any, k: int, **more: Any) -> Selection:
    """Select from features only."""
    return select(Task.from_arrays(features=features, **more), selector, k)


# --- slow twins ------------------------------------------------------------------------------------------------------
def kernel(x: np.ndarray, kind: str) -> Kernel:
    """s_ij by double loop from its formula."""
    n, mu = len(x), x.mean(0)
    square = [[sum((a - b) ** 2 for a, b in zip(x[i], x[j], strict=True)) for j in range(n)] for i in range(n)]
    if kind == "cosine":
        return np.array(
            [[(1 + x[i] @ x[j] / math.sqrt(x[i] @ x[i] * (x[j] @ x[j]))) / 2 for j in range(n)] for i in range(n)]
        )
    if kind == "euclidean":
        return 1 - np.array(square) / (4 * max((p - mu) @ (p - mu) for p in x))
    return np.exp(-np.array(square) / np.mean(square))


def greedily(n: int, k: int, value: Callable[[list[int]], float], near: float = 1e-9) -> tuple[list[int], list[float]]:
    """Pick what raises a set function most, evaluated for every candidate; ties (to rounding) go to the lowest index."""
    picks: list[int] = []
    gains: list[float] = []
    for _ in range(k):
        here = value(picks)
        rise = {x: value([*picks, x]) - here for x in range(n) if x not in picks}
        best = min(x for x, g in rise.items() if g >= max(rise.values()) - near)
        picks.append(best)
        gains.append(rise[best])
    return picks, gains


def coverage(s: Kernel) -> Callable[[Sequence[int]], float]:
    """Σ_i max_{j∈S} s_ij."""
    return lambda S: sum(max(row[j] for j in S) for row in s) if len(S) else 0.0


def cut(s: Kernel, lam: float) -> Callable[[Sequence[int]], float]:
    """λ Σ_{i∈V, j∈S} s_ij − Σ_{i,j∈S} s_ij."""
    return lambda S: lam * sum(s[i][j] for i in range(len(s)) for j in S) - sum(s[i][j] for i in S for j in S)


def radius(x: np.ndarray, S: Sequence[int]) -> float:
    """max_i min_{j∈S} ‖x_i − x_j‖."""
    return max(min(float(np.linalg.norm(a - x[j])) for j in S) for a in x)


# --- k-center --------------------------------------------------------------------------------------------------------
def test_k_center_by_hand() -> None:
    """For 0…10 on a line: 5 is the mean; 0 and 10 are equally far, so 0, then 10; then 2, 3, 7, 8 are 2 away, so 2, then 7."""
    chosen = choose(np.arange(11.0)[:, None], KCenter(), 5)
    assert chosen.indices.tolist() == [5, 0, 10, 2, 7]
    assert chosen.gains.tolist() == [0, 5, 5, 2, 2]
    assert chosen.certificate is not None
    assert chosen.certificate.value == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_k_center_equals_its_definition(seed: int) -> None:
    """Picks are those of a loop over all pairs, and the stated radius is the covering radius."""
    x = points(25, seed=seed)
    S = [int(np.argmin([np.linalg.norm(a - x.mean(0)) for a in x]))]
    while len(S) < 9:
        S.append(int(np.argmax([min(np.linalg.norm(a - x[j]) for j in S) for a in x])))
    chosen = choose(x, KCenter(), 9)
    assert chosen.indices.tolist() == S
    assert chosen.certificate is not None
    assert chosen.certificate.value == pytest.approx(radius(x, S), rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_k_center_is_a_2_approximation(k: int) -> None:
    """The best radius of any k examples lies between half the stated radius and the stated radius."""
    x = points(9, 2, seed=5)
    best = min(radius(x, S) for S in itertools.combinations(range(9), k))
    sealed = choose(x, KCenter(), k).certificate
    assert sealed is not None
    assert sealed.details["least_possible_radius"] <= best <= sealed.value
    assert sealed.details["least_possible_radius"] == sealed.value / 2


def test_k_center_does_not_move_with_the_origin() -> None:
    """Features in float32 around 1000 give the picks of the same features around 0: distances are differences."""
    x = np.round(points(60, seed=2) * 1024).astype(np.float32) / 1024
    want = choose(x, KCenter(), 20).indices.tolist()
    assert choose(x + np.float32(1000), KCenter(), 20).indices.tolist() == want


# --- herding ---------------------------------------------------------------------------------------------------------
def test_herding_by_hand() -> None:
    """For −3, −1, 0, 4 with mean 0: first 0, then −1, the nearest to 0; then the ideal is 1, and 4 is nearer to it than −3."""
    chosen = choose(np.array([[-3.0], [-1.0], [0.0], [4.0]]), Herding(), 4)
    assert chosen.indices.tolist() == [2, 1, 3, 0]
    assert np.allclose(chosen.gains, [0, -0.5, -0.5, 1.0])  # distances of the means: 0, 0, ½, 1, 0


@pytest.mark.parametrize("seed", range(3))
def test_herding_equals_its_definition(seed: int) -> None:
    """Picks minimise ‖(t + 1) μ − Σ_S φ − φ_x‖, evaluated for every candidate."""
    x = points(30, seed=seed)
    mu, S = x.mean(0), []
    for t in range(12):
        far = {i: np.linalg.norm((t + 1) * mu - sum((x[j] for j in S), 0 * mu) - x[i]) for i in range(30) if i not in S}
        S.append(min(far, key=lambda i: (far[i], i)))
    chosen = choose(x, Herding(), 12)
    assert chosen.indices.tolist() == S
    assert chosen.gains.sum() == pytest.approx(np.linalg.norm(mu) - np.linalg.norm(mu - x[S].mean(0)))


def test_herding_follows_the_mean_better_than_chance() -> None:
    """The mean of 100 picks from 1,000 is five times nearer than that of the best of 50 random sets: argmin, not argmax."""
    x = points(1000, 16)
    rng, mu = np.random.default_rng(1), x.mean(0)
    chance = min(np.linalg.norm(x[rng.choice(1000, 100, replace=False)].mean(0) - mu) for _ in range(50))
    assert np.linalg.norm(x[choose(x, Herding(), 100).indices].mean(0) - mu) < chance / 5


# --- facility location -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["cosine", "euclidean", "rbf"])
@pytest.mark.parametrize("dense_up_to", [100, 0])
def test_facility_location_equals_plain_greedy(kind: Any, dense_up_to: int) -> None:
    """With a matrix and with a graph of all neighbours, picks and gains are those of evaluating f for every candidate."""
    x = points(22, seed=3)
    s = np.round(kernel(x, kind) / GRID) * GRID
    picks, gains = greedily(22, 8, coverage(s), near=1e-12)
    chosen = choose(x, FacilityLocation(kind, dense_up_to=dense_up_to, neighbours=22), 8)
    assert chosen.indices.tolist() == picks
    assert np.allclose(chosen.gains, gains, rtol=0, atol=30 * GRID)
    assert chosen.provenance.notes[0].startswith("dense" if dense_up_to else "graph")


@pytest.mark.parametrize("neighbours", [0, 1, 2, 4])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_facility_location_is_bounded_by_its_certificate(neighbours: int, k: int) -> None:
    """The best of all sets is at most the stated bound, also on sparse graphs (0: dense), and the stated value is f."""
    x = points(10, 3, seed=7)
    f = coverage(kernel(x, "rbf"))
    best = max(f(S) for S in itertools.combinations(range(10), k))
    selector = FacilityLocation("rbf", dense_up_to=0 if neighbours else 10, neighbours=neighbours or 1)
    chosen = choose(x, selector, k)
    sealed = chosen.certificate
    assert sealed is not None
    assert sealed.upper_bound is not None
    assert sealed.ratio is not None
    assert sealed.upper_bound >= best - 1e-6
    assert sealed.value == pytest.approx(f(chosen.indices.tolist()), abs=1e-6)
    if not neighbours:
        assert sealed.ratio >= GUARANTEE
        assert f(chosen.indices.tolist()) >= GUARANTEE * best


@pytest.mark.parametrize("kind", ["cosine", "rbf"])
def test_a_sparse_graph_loses_little(kind: Any) -> None:
    """With 16 of 600 neighbours f is within half a per cent of the dense value, and no matrix is made."""
    x = points(600, 8, seed=1)
    dense = choose(x, FacilityLocation(kind), 60).certificate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coreselect.search.similarity.Similarity.matrix", None)
        sparse = choose(x, FacilityLocation(kind, dense_up_to=599, neighbours=16), 60).certificate
    assert dense is not None
    assert sparse is not None
    assert sparse.value > 0.995 * dense.value


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 8), st.integers(1, 3), st.integers(0, 10**6))
def test_kept_gains_equal_evaluated_gains(v: int, m: int, top: int, seed: int) -> None:
    """On small whole numbers with many ties, updated gains give the picks of evaluating f, until no gain is left."""
    rng = np.random.default_rng(seed)
    s, w = rng.integers(0, top + 1, (v, m)), rng.integers(0, 4, v)
    picks, gains = greedily(m, m, lambda S: sum(w[i] * max([s[i, j] for j in S], default=0) for i in range(v)), near=0)
    useful = sum(g > 0 for g in gains)
    found = maximise(DenseCover(torch.from_numpy(s).float(), torch.from_numpy(w)), m)
    assert found.picks.tolist() == picks[:useful]
    assert found.gains.tolist() == gains[:useful]
    assert found.value == found.upper == sum(gains)


def test_gains_leave_no_dust() -> None:
    """After hundreds of updates a candidate that adds nothing has gain exactly 0, so the rest is filled by the lowest indices."""
    x = np.repeat(points(40, 6), 5, axis=0)[np.random.default_rng(0).permutation(200)]
    for selector in (FacilityLocation(), FacilityLocation(dense_up_to=0, neighbours=7), FacilityLocation("rbf")):
        chosen = choose(x, selector, 60)
        firsts = {min(np.flatnonzero((x == row).all(1))) for row in x}
        assert set(chosen.indices[:40].tolist()) == firsts
        assert chosen.indices[40:].tolist() == [i for i in range(200) if i not in firsts][:20]
        assert (chosen.gains[40:] == 0).all()
        assert "20 picks add nothing" in chosen.provenance.notes[-1]


def test_a_crowd_of_equals_is_one_example_that_counts() -> None:
    """A point that occurs more often than K times is still picked first, because it covers most."""
    x = np.concatenate([points(30, 4), np.tile([[0.0, 0.0, 0.0, 9.0]], (50, 1))])
    assert choose(x, FacilityLocation("rbf", dense_up_to=0, neighbours=3), 2).indices[0] == 30


# --- graph cut -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["cosine", "euclidean", "rbf"])
@pytest.mark.parametrize("lam", [2.0, 0.4])
def test_graph_cut_equals_plain_greedy(kind: Any, lam: float) -> None:
    """Picks and gains are those of evaluating f for every candidate; f of all the picks is the stated value."""
    x = points(18, seed=4)
    f = cut(kernel(x, kind), lam)
    picks, gains = greedily(18, 18, f)
    chosen = choose(x, GraphCut(lam, kind), 18)
    assert chosen.indices.tolist() == picks
    assert np.allclose(chosen.gains, gains)
    assert chosen.scores is not None
    assert np.allclose(chosen.scores, [f([i]) for i in range(18)])
    assert (chosen.certificate is None) == (lam < 2)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_graph_cut_is_bounded_by_its_certificate(k: int) -> None:
    """The best of all sets is at most the stated bound, and greedy has at least 1 − 1/e of it."""
    x = points(10, 3, seed=8)
    f = cut(kernel(x, "cosine"), 2.0)
    best = max(f(S) for S in itertools.combinations(range(10), k))
    sealed = choose(x, GraphCut(), k).certificate
    assert sealed is not None
    assert sealed.upper_bound is not None
    assert sealed.upper_bound >= best - 1e-9
    assert GUARANTEE * best <= sealed.value <= best + 1e-9


# --- log-determinant -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["cosine", "rbf"])
def test_log_det_equals_plain_greedy(kind: Any) -> None:
    """Picks and gains are those of numpy's determinants."""
    x, jitter = points(20, 12, seed=6), 1e-3
    K = kernel(x, kind) + jitter * np.eye(20)
    picks, gains = greedily(20, 10, lambda S: float(np.linalg.slogdet(K[np.ix_(S, S)])[1]) if S else 0.0)
    chosen = choose(x, LogDet(kind, jitter=jitter), 10)
    assert chosen.indices.tolist() == picks
    assert np.allclose(chosen.gains, gains, rtol=1e-8)
    assert "1,600 bytes" in chosen.provenance.notes[0]


def test_log_det_says_when_the_rank_is_used_up() -> None:
    """(1 + cos)/2 of vectors in the plane has rank 3: the other picks lie in their span, up to the jitter."""
    chosen = choose(points(12, 2), LogDet("cosine"), 7)
    assert "4 picks lie in the span" in chosen.provenance.notes[1]
    assert (chosen.gains[3:] < math.log(1e-5)).all()
    assert np.isfinite(chosen.gains).all()


def test_log_det_refuses_more_memory_than_it_may_have() -> None:
    """If 8·N·k bytes are above the limit, an error comes before they are allocated."""
    with pytest.raises(RequirementError, match=r"400 bytes of Cholesky rows for 5 of 10 .* most_bytes is 399"):
        choose(points(10), LogDet(most_bytes=399), 5)


# --- what they share -------------------------------------------------------------------------------------------------
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


# --- similarity ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["cosine", "euclidean", "rbf"])
def test_similarities_equal_their_formulas(kind: Any) -> None:
    """Columns, column sums and the matrix equal the double loop; the matrix is symmetric with ones on the diagonal."""
    x = points(15, seed=1)
    s, want = similarity(torch.from_numpy(x), kind), kernel(x, kind)
    assert np.allclose(torch.stack([s.column(j) for j in range(15)]), want, atol=1e-12)
    assert np.allclose(s.sums(), want.sum(0), atol=1e-10)
    matrix = s.matrix().double().numpy()
    assert abs(matrix - want).max() <= GRID / 2 + 1e-12
    assert (matrix == matrix.T).all()
    assert (np.diag(matrix) == 1).all()
    assert (matrix / GRID == np.round(matrix / GRID)).all()


def test_a_bandwidth_is_in_units_of_the_features() -> None:
    """exp(−‖·‖² / 2σ²) with σ = 2 of points 4 apart is exp(−2)."""
    s = similarity(torch.tensor([[0.0], [4.0]]), "rbf", 2.0)
    assert s.column(0).tolist() == pytest.approx([1.0, math.exp(-2)])


def test_zero_features_have_a_direction_of_their_own() -> None:
    """cos(0, φ) counts as 0 and cos(0, 0) as 1, in any magnitude that a float has."""
    s = similarity(torch.tensor([[0.0, 0.0], [1e-30, 0.0], [0.0, 0.0], [0.0, 1e30]]))
    assert s.column(0).tolist() == pytest.approx([1, 0.5, 1, 0.5])
    assert s.column(1).tolist() == pytest.approx([0.5, 1, 0.5, 0.5])


def test_squares_are_zero_only_between_equals() -> None:
    """Points 10⁻⁶ apart and 1000 from the origin have a squared distance of 10⁻¹², and a point has distance 0 to itself."""
    x = torch.tensor([[1000.0], [1000.000001]], dtype=torch.float64)
    assert squared_distances_to(x, x[0]).tolist() == pytest.approx([0, 1e-12], rel=1e-3)


def test_distinct_points_are_counted() -> None:
    """First indices ascend and counts add up; 0 and −0 are the same."""
    first, count = distinct_points(torch.tensor([[1.0], [0.0], [1.0], [-0.0], [2.0]]))
    assert first.tolist() == [0, 1, 4]
    assert count.tolist() == [2, 2, 1]


def test_first_largest_sees_through_rounding() -> None:
    """Values that differ by less than rounding are ties, and taken values are skipped."""
    values = torch.tensor([1.0, 3.0, 3.0 + 1e-14, 3.1], dtype=torch.float64)
    assert first_largest(values, torch.tensor([False, False, False, True])) == 1


# --- neighbours ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("by", ["faiss", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neighbours_equal_sorting_all_distances(by: Any, dtype: torch.dtype) -> None:
    """Indices and squares are those of scipy's distances, sorted; the point itself comes first."""
    if by == "faiss":
        pytest.importorskip("faiss")
    x = torch.from_numpy(points(70, 5)).to(dtype)
    square = cdist(x.double().numpy(), x.double().numpy(), "sqeuclidean")
    want = np.argsort(square, axis=1, kind="stable")[:, :6]
    found = neighbours(x, 6, by=by)
    assert found.engine == by
    assert found.indices.tolist() == want.tolist()
    assert np.allclose(found.squares, np.take_along_axis(square, want, 1))
    assert found.indices[:, 0].tolist() == list(range(70))


def test_neighbours_agree_with_scikit_learn() -> None:
    """The same neighbours as sklearn's."""
    sklearn = pytest.importorskip("sklearn.neighbors")
    x = points(80, 3)
    want = sklearn.NearestNeighbors(n_neighbors=9, algorithm="brute").fit(x).kneighbors(x, return_distance=False)
    assert neighbours(torch.from_numpy(x), 9).indices.tolist() == want.tolist()


def test_neighbours_do_not_know_of_autocast() -> None:
    """Under the caller's autocast torch proposes the same."""
    x = torch.from_numpy(points(300, 5)).float()
    want = neighbours(x, 4, by="torch").indices.tolist()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert neighbours(x, 4, by="torch").indices.tolist() == want


def test_equally_near_neighbours_go_by_number() -> None:
    """On a line of whole numbers the two points beside come in order; with too few points all are neighbours."""
    found = neighbours(torch.arange(40.0)[:, None], 3)
    assert found.indices[7].tolist() == [7, 6, 8]
    assert found.indices[0].tolist() == [0, 1, 2]
    assert neighbours(torch.arange(4.0)[:, None], 9).indices[3].tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize("by", ["faiss", "torch"])
def test_a_row_holds_itself_in_a_crowd(by: Any) -> None:
    """Among 200 equal points every distance is 0 and nothing is out of range."""
    if by == "faiss":
        pytest.importorskip("faiss")
    found = neighbours(torch.ones(200, 2), 4, by=by)
    assert (found.squares == 0).all()
    assert int(found.indices.max()) < 200


def test_without_faiss_torch_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` gives the same answer without FAISS, and `faiss` raises an error that names the extra."""
    x = torch.from_numpy(points(50, 4))
    want = neighbours(x, 5).indices
    monkeypatch.setitem(sys.modules, "faiss", None)
    found = neighbours(x, 5)
    assert found.engine == "torch"
    assert found.indices.tolist() == want.tolist()
    with pytest.raises(MissingExtraError, match="coreselect"):
        neighbours(x, 5, by="faiss")


def check(values: list[list[float]]) -> None:
    """Check features as the geometry methods do."""
    check_finite(torch.tensor(values, dtype=torch.float64), "features", np.arange(len(values)), limit=LARGEST)


# --- refusals --------------------------------------------------------------------------------------------------------
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
