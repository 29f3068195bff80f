"""Every score method, compared with a slow transcription of its definition, a closed form, or another library."""

import math
from typing import Any

import cases
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import coreselect
from coreselect import Task
from coreselect.errors import NonFiniteError, RequirementError, ShapeError, UnknownNameError
from coreselect.history import History
from coreselect.selectors import (
    AIGN,
    AUM,
    CAL,
    CCS,
    D2,
    EL2N,
    DeepFool,
    EL2NAdv,
    Entropy,
    Forgetting,
    ForgettingAdv,
    LeastConfidence,
    Loss,
    Margin,
    MarginAdv,
    Moderate,
)
from coreselect.selectors.score.ccs import allocate
from coreselect.selectors.score.d2 import pick_and_discount
from coreselect.selectors.score.ranking import Ranked

N = 20
select: Any = coreselect.select  # scores are looked at without asking whether there are any


def p(z: Any) -> list[float]:
    """Softmax of one row, written out."""
    e = [math.exp(v - max(z)) for v in z]
    return [v / sum(e) for v in e]


def el2n(z: Any, y: int) -> float:
    return sum((q - (c == y)) ** 2 for c, q in enumerate(p(z))) ** 0.5


def entropy(z: Any, y: int) -> float:
    return -sum(q * math.log(q) for q in p(z))


def margin(z: Any, y: int) -> float:
    q = sorted(p(z))
    return q[-1] - q[-2]


def least_confidence(z: Any, y: int) -> float:
    return 1 - max(p(z))


def loss(z: Any, y: int) -> float:
    return -math.log(p(z)[y])


def ranked(scores: Any, end: str, k: int) -> list[int]:
    """Return the k best one by one, ties to the lowest index."""
    left, out = list(range(len(scores))), []
    for _ in range(k):
        best = max(scores[i] for i in left) if end == "highest" else min(scores[i] for i in left)
        out.append(next(i for i in left if scores[i] == best))
        left.remove(out[-1])
    return out


OF_LOGITS: list[tuple[Any, Any, str]] = [
    (EL2N, el2n, "highest"),
    (Entropy, entropy, "highest"),
    (Margin, margin, "lowest"),
    (LeastConfidence, least_confidence, "highest"),
    (Loss, loss, "highest"),
]


@pytest.mark.parametrize(("make", "formula", "end"), OF_LOGITS, ids=[m.name for m, _, _ in OF_LOGITS])
@pytest.mark.parametrize("attacked", [False, True])
def test_scores_of_one_prediction(make: Any, formula: Any, end: str, attacked: bool) -> None:
    """Scores of natural or attacked logits equal the formula to 1e-12, and the picks are the best, one by one."""
    task = cases.sat_task(N)
    with task.snapshot(0, 0) as snapshot:
        z, y = (snapshot.attacked_logits() if attacked else snapshot.logits()).tolist(), snapshot.labels()
    chosen = select(task, make(attacked=attacked), 7)
    want = [formula(row, int(label)) for row, label in zip(z, y, strict=True)]
    np.testing.assert_allclose(chosen.scores, want, rtol=1e-12, atol=1e-12)
    assert chosen.indices.tolist() == ranked(chosen.scores, end, 7)
    assert chosen.nested
    assert chosen.weights is None


@pytest.mark.parametrize(("make", "plain"), [(EL2NAdv, EL2N), (MarginAdv, Margin)])
def test_adversarial_forms_are_the_forms_attacked(make: Any, plain: Any) -> None:
    """`el2n_adv` and `margin_adv` choose as el2n and margin with attacked=True, other than on natural inputs."""
    task = cases.sat_task(N)
    got, want, natural = (select(task, s, 7) for s in (make(), plain(attacked=True), plain()))
    assert got.indices.tolist() == want.indices.tolist()
    assert not np.allclose(got.scores, natural.scores)
    assert got.provenance.settings["attacked"] is True


def test_entropy_is_scipys() -> None:
    """scipy.stats.entropy gives the same values, also for probabilities of 0."""
    from scipy.special import softmax
    from scipy.stats import entropy as other

    z = np.random.default_rng(0).normal(size=(N, 5)) * 300
    chosen = select(Task.from_arrays(logits=z), Entropy(), 3)
    np.testing.assert_allclose(chosen.scores, other(softmax(z, axis=1), axis=1), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("make", [Entropy, Margin, LeastConfidence, CAL])
def test_labels_are_not_needed_where_no_formula_has_one(make: Any) -> None:
    """Logits (and features for cal) are enough; without logits the error names them."""
    rng = np.random.default_rng(0)
    task = Task.from_arrays(features=rng.normal(size=(N, 3)), logits=rng.normal(size=(N, 3)))
    assert len(select(task, make(), 4)) == 4
    with pytest.raises(RequirementError, match="needs logits, and this task has none: give"):
        select(Task.from_arrays(features=rng.normal(size=(N, 3))), make(), 4)


@pytest.mark.parametrize("make", [EL2N, Entropy, Margin, LeastConfidence, Loss, CAL, D2])
def test_equals_go_to_the_lowest_index(make: Any) -> None:
    """If all examples are the same, the first k are chosen, in order."""
    task = Task.from_arrays(features=np.ones((N, 3)), logits=np.ones((N, 3)), labels=np.zeros(N, int))
    selector = make(neighbours=N) if make in (CAL, D2) else make()
    if make is D2:  # a pick takes its neighbours down, all of them alike
        assert select(task, selector, N).indices.tolist() == list(range(N))
    assert select(task, selector, 6).indices.tolist() == list(range(6))


# --- histories -------------------------------------------------------------------------------------------------------
def test_methods_of_a_history_rank_what_it_holds() -> None:
    """aum, forgetting and the recorded el2n, loss and aign rank by columns of the history."""
    history = cases.history(N)
    task, record = Task.from_arrays(labels=np.zeros(N, int), history=history), history.at(np.arange(N))
    rows: list[tuple[Any, Any, str]] = [
        (AUM(), record.aum, "lowest"),
        (AUM("highest"), record.aum, "highest"),
        (Forgetting(), record.forgetting, "highest"),
        (ForgettingAdv(), record.forgetting, "highest"),
        (EL2N(from_history=True), record.el2n, "highest"),
        (EL2NAdv(from_history=True), record.el2n, "highest"),
        (Loss(from_history=True), record.loss, "highest"),
        (AIGN(from_history=True), record.input_norm, "lowest"),
    ]
    for selector, values, end in rows:
        chosen = select(task, selector, 9)
        assert np.array_equal(chosen.scores, values)
        assert chosen.indices.tolist() == ranked(values, end, 9), selector
        assert chosen.provenance.notes == ("the history is about attacked inputs",)


def test_never_learned_comes_before_forgotten_often(tmp_path: Any) -> None:
    """Never correct and never seen score +∞, which an index file keeps."""
    history = History(4)
    for z in ([1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]):
        history.record([0, 2, 3], torch.tensor([z, [0.0, 1.0], [1.0, 0.0]]), [0, 0, 0])
    chosen = select(Task.from_arrays(labels=[0] * 4, history=history), Forgetting(), 3)
    assert chosen.scores is not None
    assert chosen.scores.tolist() == [2, math.inf, math.inf, 0]
    assert chosen.provenance.notes == ("1 of 4 examples were never seen and count as never learned",)
    assert chosen.indices.tolist() == [1, 2, 0]
    for ending in ("npz", "json"):
        chosen.save(tmp_path / f"a.{ending}")
        assert np.array_equal(type(chosen).load(tmp_path / f"a.{ending}").scores, chosen.scores)


def test_refusals_about_histories() -> None:
    """Unseen examples, missing input gradients, and natural logits where attacked ones are needed raise errors."""
    history = History(3)
    history.record([0, 2], torch.zeros(2, 2), [0, 1])
    task = Task.from_arrays(labels=[0] * 3, history=history)
    for selector in (AUM(), EL2N(from_history=True), Loss(from_history=True), CCS()):
        with pytest.raises(RequirementError, match=r"no 1 examples|1 examples \(positions 1\)"):
            select(task, selector, 2)
    assert select(task.restrict([2, 0]), AUM(), 1).indices.tolist() == [0]
    with pytest.raises(RequirementError, match="no input gradients of 3"):
        select(task, AIGN(from_history=True), 2)
    for selector in (Forgetting(), AUM(), ForgettingAdv()):
        with pytest.raises(RequirementError, match="recorded none of the 3 examples"):
            select(Task.from_arrays(labels=[0] * 3, history=History(3)), selector, 2)
    for selector in (ForgettingAdv(), EL2NAdv(from_history=True)):
        with pytest.raises(RequirementError, match="history is about natural inputs"):
            select(task, selector, 2)


# --- ccs -------------------------------------------------------------------------------------------------------------
def ccs_shares(hardness: list[float], dropped: int, strata: int, k: int) -> dict[int, int]:
    """Algorithm 1 by loops: stratum → how many examples are drawn from it."""
    rest = sorted(range(len(hardness)), key=lambda i: (hardness[i], -i))[: len(hardness) - dropped]
    low, high = min(hardness[i] for i in rest), max(hardness[i] for i in rest)
    B: dict[int, int] = {}
    for i in rest:
        b = 0 if high == low else min(int((hardness[i] - low) / (high - low) * strata), strata - 1)
        B[b] = B.get(b, 0) + 1
    shares, m = {}, k
    while B:
        smallest = min(B, key=lambda b: (B[b], b))
        shares[smallest] = min(B[smallest], m // len(B))
        m -= shares[smallest]
        del B[smallest]
    return shares


@pytest.mark.parametrize(("k", "beta"), [(3, 0.0), (10, 0.3), (17, 0.1), (5, 0.6)])
def test_ccs_allocates_as_algorithm_1(k: int, beta: float) -> None:
    """None of the ⌊βN⌋ hardest is drawn, and every stratum gives as many as in the paper's loop."""
    history = cases.history(N)
    h = (-history.at(np.arange(N)).aum).tolist()
    task = Task.from_arrays(labels=[0] * N, history=history)
    dropped = int(beta * N + 1e-9)
    chosen = select(task, CCS(beta=beta, strata=6), k)
    hardest = sorted(range(N), key=lambda i: -h[i])[:dropped]
    assert not set(chosen.indices.tolist()) & set(hardest)
    rest = [v for i, v in enumerate(h) if i not in hardest]
    low, high = min(rest), max(rest)
    drawn: dict[int, int] = {}
    for i in chosen.indices:
        b = min(int((h[i] - low) / (high - low) * 6), 5)
        drawn[b] = drawn.get(b, 0) + 1
    assert drawn == {b: s for b, s in ccs_shares(h, dropped, 6, k).items() if s}


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.data())
def test_ccs_shares_fit(sizes: list[int], data: st.DataObject) -> None:
    """Shares sum to the budget, none is above its stratum's size, and a stratum is used up before another gets a larger share."""
    sizes = sorted(sizes)
    k = data.draw(st.integers(0, sum(sizes)))
    shares = allocate(sizes, k)
    assert sum(shares) == k
    for share, size in zip(shares, sizes, strict=True):
        assert 0 <= share <= size
        assert share == size or share >= max(shares) - 1


def test_ccs_draws_inside_a_stratum_are_uniform() -> None:
    """With equal scores there is one stratum, and over many rounds each example is drawn about equally often."""
    z = torch.tensor([[1.0, 0.0]]).repeat(10, 1)
    history = History(10)
    history.record(range(10), z, [0] * 10)
    task = Task.from_arrays(labels=[0] * 10, history=history)
    counts = np.zeros(10)
    for round in range(300):
        counts[select(task, CCS(beta=0.0), 3, round=round).indices] += 1
    assert np.abs(counts / 300 - 0.3).max() < 0.1  # 3.8 standard deviations


def test_ccs_says_when_it_drops_less() -> None:
    """If the budget needs more than (1 − β)N, fewer examples are dropped, and a note says so; a budget of N drops none."""
    task = Task.from_arrays(labels=[0] * N, history=cases.history(N))
    assert select(task, CCS(beta=0.5), 10).provenance.notes == ("the history is about attacked inputs",)
    for k in (15, N):
        notes = select(task, CCS(beta=0.5), k).provenance.notes
        assert (
            notes[1] == f"{N - k} of {N} examples were dropped as too hard, because the budget is {k}; beta asks for 10"
        )


def test_ccs_by_other_scores() -> None:
    """CCS also works with el2n, forgetting (with infinities), aign and margin."""
    task = cases.array_task(N, history=cases.history(N))
    for score in (EL2N(), Forgetting(), AIGN(from_history=True), Margin()):
        chosen = select(task, CCS(score=score, beta=0.2), 8)
        assert np.array_equal(chosen.scores, select(task, score, 1).scores)
        hard = -chosen.scores if score.hard == "lowest" else chosen.scores
        assert hard[chosen.indices].max() <= np.sort(hard)[N - 4 - 1]  # 4 dropped


# --- moderate --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("centre", ["mean", "median"])
def test_moderate_by_loops(centre: str) -> None:
    """In each class the distances nearest to their median are kept, with shares by largest remainder."""
    task = cases.array_task(N)
    with task.snapshot(0, 0) as snapshot:
        phi, y = snapshot.features().numpy(), snapshot.labels()
    got = select(task, Moderate(centre), 9)  # type: ignore[arg-type]
    want: list[int] = []
    for c in sorted(set(y.tolist())):
        members = [i for i in range(N) if y[i] == c]
        middle = getattr(np, centre)(phi[members], axis=0)
        d = {i: math.dist(phi[i], middle) for i in members}
        off = {i: abs(d[i] - float(np.median(list(d.values())))) for i in members}
        np.testing.assert_allclose(got.scores[members], [off[i] for i in members], atol=1e-12)  # type: ignore[index]
        share = int((y[got.indices] == c).sum())
        assert abs(share - 9 * len(members) / N) < 1
        want += sorted(members, key=off.__getitem__)[:share]
    assert got.indices.tolist() == want


# --- the neighbour graph ---------------------------------------------------------------------------------------------
def nearest(phi: Any, i: int, K: int) -> list[int]:
    """Return the K others nearest to i, ties by index."""
    return sorted((j for j in range(len(phi)) if j != i), key=lambda j: (math.dist(phi[i], phi[j]), j))[:K]


def d2_by_loops(s: list[float], phi: Any, K: int, forward: float, reverse: float, k: int) -> tuple[list[int], Any]:
    """Forward messages, then k times the largest and its reverse messages, each found by a full search."""
    n = len(s)
    N_ = [nearest(phi, i, K) for i in range(n)]
    d = [[math.dist(phi[i], phi[j]) for j in range(n)] for i in range(n)]
    u = [s[i] + sum(math.exp(-forward * d[i][j]) * s[j] for j in N_[i]) for i in range(n)]
    first, picks = list(u), []
    for _ in range(k):
        i = max((j for j in range(n) if j not in picks), key=lambda j: (u[j], -j))
        picks.append(i)
        for j in N_[i]:
            u[j] -= math.exp(-reverse * d[i][j]) * u[i] if j not in picks else 0
    return picks, first


@given(
    st.integers(0, 10**6),
    st.integers(1, 12),
    st.integers(1, 14),
    st.sampled_from([0.01, 0.1, 1.0]),
    st.sampled_from([0.3, 1.0]),
)
def test_d2_by_loops(seed: int, n: int, K: int, reverse: float, forward: float) -> None:
    """For any size, graph and reach, the picks, the order of gains and u are those of the loops."""
    rng = np.random.default_rng(seed)
    phi, y = rng.normal(size=(n, 2)), rng.integers(0, 3, n)
    task = Task.from_arrays(features=phi, logits=rng.normal(size=(n, 3)), labels=y)
    s = select(task, EL2N(), 1).scores
    assert s is not None
    k = int(rng.integers(1, n + 1))
    chosen = select(task, D2(neighbours=K, gamma_f=forward, gamma_r=reverse), k)
    picks, u = d2_by_loops(s.tolist(), phi, K, forward, reverse, k)
    np.testing.assert_allclose(chosen.scores, u, rtol=1e-12)
    assert chosen.indices.tolist() == picks


def test_d2_by_hand() -> None:
    """With two twins, a distant example and γ_r = 0: first the harder twin, then the distant example, then the other twin."""
    u, near, r = np.array([3.0, 2.9, 1.0]), np.array([[1], [0], [1]]), np.ones((3, 1))
    picks, gains = pick_and_discount(u, near, r, 3)
    assert picks.tolist() == [0, 2, 1]
    np.testing.assert_allclose(gains, [3.0, 1.0, 2.9 - 3.0 - 1.0])


def test_d2_shifts_scores_below_zero() -> None:
    """With aum, whose hardness may be negative, s is the distance below the largest margin."""
    history = cases.history(N)
    task = cases.array_task(N, history=history)
    with task.snapshot(0, 0) as snapshot:
        phi = snapshot.features().numpy()
    aum = history.at(np.arange(N)).aum
    chosen = select(task, D2(AUM(), neighbours=3), 8)
    picks, u = d2_by_loops((aum.max() - aum if aum.max() > 0 else -aum).tolist(), phi, 3, 1.0, 0.1, 8)
    assert chosen.indices.tolist() == picks
    np.testing.assert_allclose(chosen.scores, u, rtol=1e-12)
    assert len(select(task, D2(Forgetting(), neighbours=3), N)) == N


def test_cal_by_loops() -> None:
    """The mean over the K nearest others of KL(p_j ‖ p_i), to 1e-12; scikit-learn finds the same neighbours."""
    task = cases.array_task(N)
    with task.snapshot(0, 0) as snapshot:
        phi, z = snapshot.features().numpy(), snapshot.logits().tolist()
    P = [p(row) for row in z]
    near = [nearest(phi, i, 4) for i in range(N)]
    want = [
        sum(sum(a * math.log(a / b) for a, b in zip(P[j], P[i], strict=True)) for j in near[i]) / 4 for i in range(N)
    ]
    chosen = select(task, CAL(neighbours=4), 6)
    np.testing.assert_allclose(chosen.scores, want, rtol=1e-12)
    assert chosen.indices.tolist() == ranked(chosen.scores, "highest", 6)
    sklearn = pytest.importorskip("sklearn.neighbors")
    assert sklearn.NearestNeighbors(n_neighbors=5).fit(phi).kneighbors(phi)[1][:, 1:].tolist() == near


# --- inputs ----------------------------------------------------------------------------------------------------------
class Linear(nn.Module):
    """[B, 1, 6, 6] → [B, 4] by one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(36, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1))


@pytest.mark.parametrize("overshoot", [0.0001, 0.02])
def test_deepfool_of_a_linear_model_is_the_distance(overshoot: float) -> None:
    """For a linear model one step gives (1 + η) times the Euclidean distance to the nearest plane f_c = f_k₀."""
    model = cases.built(Linear)
    chosen = select(cases.sat_task(N, model=model), DeepFool(overshoot=overshoot), 5)
    W = model.fc.weight.detach()  # type: ignore[union-attr]
    for i, x in enumerate(cases.images(N)):
        f = model(x[None])[0].detach()
        own = int(f.argmax())
        want = min(float((f[own] - f[c]) / (W[own] - W[c]).norm()) for c in range(4) if c != own)
        assert chosen.scores is not None
        assert chosen.scores[i] == pytest.approx((1 + overshoot) * want, rel=1e-9)
    assert chosen.indices.tolist() == ranked(chosen.scores, "lowest", 5)
    assert not chosen.provenance.notes


def test_deepfool_crosses_and_counts_what_does_not() -> None:
    """On a network every perturbation changes the prediction; with one iteration, a note counts those that do not."""
    task = cases.sat_task(N)
    with task.snapshot(0, 0) as snapshot:
        at, x, _ = next(snapshot.inputs())
        r, crossed = DeepFool().perturb(snapshot, x, at)
        assert bool(crossed.all())
        assert bool((snapshot.outputs(x + r).argmax(1) != snapshot.outputs(x).argmax(1)).all())
        short, done = DeepFool(iterations=1).perturb(snapshot, x, at)
    left = int((~done).sum())
    notes = select(task, DeepFool(iterations=1), 5).provenance.notes
    assert notes == ((f"{left} of {N} examples did not cross the boundary in 1 iterations",) if left else ())
    assert bool(torch.isfinite(short).all())


def test_deepfool_without_a_slope_is_infinite() -> None:
    """A model with constant output has no boundary: distances are infinite, the lowest indices are picked, and a note says so."""
    model = cases.built(Linear)
    with torch.no_grad():
        model.fc.weight.zero_()  # type: ignore[union-attr]
    chosen = select(cases.sat_task(N, model=model), DeepFool(), 4)
    assert chosen.indices.tolist() == [0, 1, 2, 3]
    assert np.isinf(chosen.scores).all()  # type: ignore[arg-type]
    assert f"{N} of {N}" in chosen.provenance.notes[0]


def test_aign_of_a_linear_model() -> None:
    """‖Wᵀ(p − e_y)‖₂, lowest kept."""
    model = cases.built(Linear)
    chosen = select(cases.sat_task(N, model=model), AIGN(), 5)
    W, want = model.fc.weight.detach(), []  # type: ignore[union-attr]
    for x, y in zip(cases.images(N), cases.classes(N), strict=True):
        residual = model(x[None])[0].detach().softmax(0)
        residual[y] -= 1
        want.append(float((W.T @ residual).norm()))
    np.testing.assert_allclose(chosen.scores, want, rtol=1e-10)
    assert chosen.indices.tolist() == ranked(chosen.scores, "lowest", 5)


# --- promises --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "selector", [EL2N(), Margin(), CAL(3), D2(neighbours=3), AUM(), Forgetting()], ids=lambda s: s.name
)
def test_prefixes_are_the_smaller_answers(selector: Any) -> None:
    """If a selection is nested, its first picks are those of a smaller budget."""
    task = cases.array_task(N, history=cases.history(N))
    whole = select(task, selector, N)
    assert whole.nested
    for k in (1, 4, 11):
        assert select(task, selector, k).indices.tolist() == whole.indices[:k].tolist()


LOOKS = [EL2N(), Entropy(), Margin(), Loss(), CAL(3), D2(neighbours=3), DeepFool(2), AIGN()]


@pytest.mark.parametrize("selector", LOOKS, ids=lambda s: s.name)
def test_outputs_that_are_not_finite_are_refused(selector: Any) -> None:
    """An image on which the model overflows raises an error that names its position."""
    x = cases.images(N)
    x[5, 0] = 1e306
    model = cases.built(Linear)
    with torch.no_grad():
        model.fc.weight.mul_(1e6)  # type: ignore[union-attr]
    with pytest.raises(NonFiniteError) as caught:
        select(cases.sat_task(model=model, pool=cases.Items(x, cases.classes(N)), batch_size=3), selector, 2)
    assert caught.value.indices == (5,)
    assert "diverged" in str(caught.value)


@pytest.mark.parametrize("selector", [EL2N(), Loss()])
def test_labels_beyond_the_logits_are_refused(selector: Any) -> None:
    """A label without a logit raises an error that names it; so do logits of a single output."""
    with pytest.raises(ShapeError, match=r"positions 1\)"):
        select(Task.from_arrays(logits=np.zeros((2, 3)), labels=[0, 3]), selector, 1)
    with pytest.raises(ShapeError, match="at least 2 outputs"):
        select(Task.from_arrays(logits=np.zeros((2, 1)), labels=[0, 0]), selector, 1)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: AUM("hard"), UnknownNameError),  # type: ignore[arg-type]
        (lambda: Moderate("mode"), UnknownNameError),  # type: ignore[arg-type]
        (lambda: CCS(beta=1.0), ShapeError),
        (lambda: CCS(beta=math.nan), ShapeError),
        (lambda: CCS(strata=0), ShapeError),
        (lambda: CCS(score="aum"), ShapeError),  # type: ignore[arg-type]
        (lambda: D2(neighbours=0), ShapeError),
        (lambda: D2(gamma_r=-0.1), ShapeError),
        (lambda: D2(gamma_f=math.inf), ShapeError),
        (lambda: D2(score=Moderate()), ShapeError),  # type: ignore[arg-type]
        (lambda: CAL(0), ShapeError),
        (lambda: DeepFool(iterations=0), ShapeError),
        (lambda: DeepFool(classes=1), ShapeError),
        (lambda: DeepFool(overshoot=math.nan), ShapeError),
    ],
)
def test_impossible_settings_are_refused(make: Any, error: type[Exception]) -> None:
    """Settings out of range or of another type raise an error of one sentence."""
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value).count("\n") == 0


def test_a_selector_by_a_score_is_made_of_one_method() -> None:
    """A subclass of `Ranked` with a score and a name is a selector."""

    class First(Ranked):
        name = "first"
        needs = frozenset({"logits"})

        def score(self, snapshot: Any) -> Any:
            from coreselect.selectors.score.ranking import Scores

            return Scores(snapshot.logits()[:, 0].double().numpy())

    z = np.arange(12.0).reshape(6, 2) % 7
    assert select(Task.from_arrays(logits=z), First(), 3).indices.tolist() == ranked(z[:, 0], "highest", 3)
