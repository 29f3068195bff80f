"""Claims about CRAIG, GradMatch, GLISTER, GraNd, LESS and their forms at attacked points."""

import itertools
import math
from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import nnls

from coreselect import Task, select
from coreselect.errors import NonFiniteError, RequirementError, ShapeError
from coreselect.gradients.rows import DenseRows, single_examples
from coreselect.selectors import CRAIG, GLISTER, LESS, ACSCraig, ACSGradMatch, GradMatch, GraNd, PerClass
from coreselect.selectors.gradient.example_gradients import NaturalCE
from coreselect.solvers.covering import Distances, cover
from coreselect.solvers.omp import _Held, omp

ALL = [CRAIG(), GradMatch(), GLISTER(), GraNd(), ACSCraig(), ACSGradMatch(), LESS()]
Array = NDArray[np.float64]


def normal(seed: int, *shape: int) -> Array:
    """Gaussian numbers."""
    return np.random.default_rng(seed).normal(size=shape)


def rows_of(g: Array, dtype: torch.dtype = torch.float64) -> DenseRows:
    """An array as rows of single examples."""
    return DenseRows(torch.from_numpy(g).to(dtype), single_examples(len(g)))


def natural_gradients(task: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """∇ of natural cross-entropy in the head of a `ConvNet`, by one backward pass each: pool [N, P], validation's mean [P]."""
    fc = task.model.fc
    params = [fc.weight, fc.bias]

    def gradients(data: cases.Items) -> torch.Tensor:
        y = data.y
        assert y is not None
        return oracles.loop_rows(
            lambda i: oracles.cross_entropy(task.model(data.x[i]), y[i]).sum(), params, [[i] for i in range(len(y))]
        )

    return gradients(task.pool), gradients(task.validation).mean(0)


# --- matching --------------------------------------------------------------------------------------------------------
def slow_omp(g: Array, b: Array, k: int, lam: float) -> tuple[list[int], Array]:
    """The formula read aloud: best correlation, refit by normal equations, back off to the first weight that turns 0."""
    chosen: list[int] = []
    w = np.zeros(0)
    while len(chosen) < k:
        r = b - (w @ g[chosen] if chosen else 0)
        left = [i for i in range(len(g)) if i not in chosen]
        j = max(left, key=lambda i: (g[i] @ r, -i))
        if g[j] @ r <= 1e-10:
            break
        chosen, w = [*chosen, j], np.append(w, 0.0)
        while True:
            a = g[chosen]
            x = np.linalg.solve(a @ a.T + lam * np.eye(len(a)), a @ b)
            if (x > 0).all():
                w = x
                break
            at = [w[i] / (w[i] - x[i]) if w[i] > 0 else 0.0 for i in range(len(x)) if x[i] <= 0]
            w = w + min(at) * (x - w)
            keep = [i for i in range(len(x)) if not (x[i] <= 0 and abs(w[i]) < 1e-14)]
            chosen, w = [chosen[i] for i in keep], w[keep]
    return chosen, np.asarray(w, np.float64)


def value(g: Array, b: Array, w: Array, lam: float) -> float:
    """E(w) by its definition."""
    return float(((w @ g - b) ** 2).sum() + lam * (w**2).sum())


def nonnegative(g: Array, b: Array, lam: float) -> Array:
    """SciPy's argmin of E over w ≥ 0 on all of these rows."""
    a = np.vstack([g.T, math.sqrt(lam) * np.eye(len(g))])
    return np.asarray(nnls(a, np.concatenate([b, np.zeros(len(g))]))[0], np.float64)


@given(st.integers(0, 10_000), st.integers(2, 14), st.integers(1, 8), st.sampled_from([0.0, 1e-3, 1.0]), st.data())
def test_omp_is_its_transcription(seed: int, n: int, width: int, lam: float, data: st.DataObject) -> None:
    """Picks, weights and E are those of the slow loop, drops of weights that turn 0 included."""
    k = data.draw(st.integers(1, n))
    g, b = normal(seed, n, width), normal(seed + 1, width)
    found = omp(rows_of(g), torch.from_numpy(b), k, lam=lam)
    order, w = slow_omp(g, b, k, lam)
    assert found.order[: found.matched].tolist() == order
    assert found.weights[: found.matched] == pytest.approx(w, rel=1e-6, abs=1e-9)
    assert found.objective == pytest.approx(value(g[found.order], b, found.weights, lam), abs=1e-9)
    assert sorted({*found.order.tolist()}) == sorted(found.order.tolist())
    assert len(found.order) == k


def test_omp_with_many_drops_is_its_transcription(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where weights turn 0 and rows leave and come back, the factor stays that of the rows held."""
    drops = []
    drop = _Held._drop
    monkeypatch.setattr(_Held, "_drop", lambda self, i: (drops.append(len(self.members) - i), drop(self, i)))
    g = normal(0, 400, 40)
    found = omp(rows_of(g), torch.from_numpy(g.mean(0)), 40, lam=0.1)
    order, w = slow_omp(g, g.mean(0), 40, 0.1)
    assert len(drops) >= 5
    assert max(drops) > 3  # not only the latest
    assert found.order.tolist() == order
    assert found.weights == pytest.approx(w, rel=1e-8)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1]))
def test_weights_are_the_nonnegative_optimum_on_the_picks(seed: int, lam: float) -> None:
    """SciPy's non-negative least squares on the chosen rows gives the same weights, and on all rows, k = N, the same E."""
    g, b = normal(seed, 12, 7), normal(seed + 1, 7)
    found = omp(rows_of(g), torch.from_numpy(b), 5, lam=lam)
    assert found.weights == pytest.approx(nonnegative(g[found.order], b, lam), abs=1e-8)
    whole = omp(rows_of(g), torch.from_numpy(b), 12, lam=lam)
    assert whole.objective == pytest.approx(value(g, b, nonnegative(g, b, lam), lam), abs=1e-9)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_orthogonal_rows_give_the_best_of_all_subsets(k: int) -> None:
    """For orthonormal rows no set of k has a smaller E, by trying them all."""
    g = np.linalg.qr(normal(3, 7, 7))[0]
    b = normal(4, 7)
    best = min(
        value(g[list(s)], b, nonnegative(g[list(s)], b, 0.01), 0.01) for s in itertools.combinations(range(7), k)
    )
    assert omp(rows_of(g), torch.from_numpy(b), k, lam=0.01).objective == pytest.approx(best)


def test_no_set_is_better_than_the_best_of_all() -> None:
    """E of the picks is at least the best over all sets, and at most the best of a hundred random sets, for unit rows."""
    g = normal(5, 10, 6)
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    b = g.mean(0)
    found = omp(rows_of(g), torch.from_numpy(b), 3)
    sets = [list(s) for s in itertools.combinations(range(10), 3)]
    all_of_them = [value(g[s], b, nonnegative(g[s], b, 0.0), 0.0) for s in sets]
    assert min(all_of_them) - 1e-12 <= found.objective <= np.median(all_of_them)


def test_what_matching_leaves_open_is_completed_by_correlation() -> None:
    """A target that two rows make exactly takes two picks; the rest follow by correlation with weight 0, lowest index first."""
    g = np.array([[0.0, -1.0], [2.0, 0.0], [0.0, -1.0], [0.0, 3.0], [1.0, 0.0]])
    found = omp(rows_of(g), torch.tensor([4.0, 3.0], dtype=torch.float64), 5)
    assert found.matched == 2
    assert found.order.tolist() == [3, 1, 0, 2, 4]  # ⟨g, b⟩ = −3, 8, −3, 9, 4; then ⟨g, 0⟩
    assert found.weights == pytest.approx([1.0, 2.0, 0.0, 0.0, 0.0])
    assert found.correlations == pytest.approx([9.0, 8.0, 0.0, 0.0, 0.0], abs=1e-12)
    assert found.residual == pytest.approx(0, abs=1e-12)


def test_equal_rows_are_taken_in_order_and_once() -> None:
    """Of equal rows the lowest index is picked, in float32 too, and its doubles add nothing without ridge."""
    g = np.repeat(normal(6, 4, 9), 5, axis=0)
    for dtype in (torch.float32, torch.float64):
        found = omp(rows_of(g, dtype), torch.from_numpy(g.mean(0)), 20)
        assert sorted(found.order[: found.matched].tolist()) == [0, 5, 10, 15]
        assert sorted(found.order.tolist()) == list(range(20))


def test_ridge_shares_the_weight_among_equal_rows() -> None:
    """With λ > 0 doubles are worth taking: three equal rows weigh the same, w = (3 + λ/‖g‖²)⁻¹·⟨g, b⟩/‖g‖²."""
    g = np.repeat(np.array([[1.0, 2.0]]), 3, axis=0)
    found = omp(rows_of(g), torch.tensor([1.0, 2.0], dtype=torch.float64), 3, lam=0.5)
    assert found.order.tolist() == [0, 1, 2]
    assert found.weights == pytest.approx(np.full(3, 1 / 3.1))


def test_gradmatch_weights_match_the_mean_gradient() -> None:
    """(1/k) Σ weight_i·g_i is the certificate's residual away from ḡ, and nearer than the plain mean of the picks."""
    task = cases.array_task(30, width=12)
    chosen = select(task, GradMatch(), 8)
    g, w = task.gradients, chosen.weights
    assert w is not None
    away = np.linalg.norm((w[:, None] * g[chosen.indices]).sum(0) / 8 - g.mean(0))
    known = chosen.certificate
    assert known is not None
    assert known.details["residual"] == pytest.approx(away)
    assert away < np.linalg.norm(g[chosen.indices].mean(0) - g.mean(0))
    lam = 1e-3 * (g**2).sum(1).mean()
    assert w / 8 == pytest.approx(nonnegative(g[chosen.indices], g.mean(0), lam), abs=1e-9)
    assert known.value == pytest.approx((g.mean(0) ** 2).sum() - value(g[chosen.indices], g.mean(0), w / 8, lam))
    assert known.upper_bound == pytest.approx((g.mean(0) ** 2).sum())
    assert chosen.scores == pytest.approx(g @ g.mean(0))


def test_gradmatch_does_not_change_with_the_scale_of_the_loss() -> None:
    """Gradients a thousand times larger give the same picks and weights: λ is in units of ‖g‖²."""
    small = cases.array_task(25)
    large = cases.array_task(25, gradients=1000 * small.gradients)
    a, b = select(small, GradMatch(ridge=0.1), 10), select(large, GradMatch(ridge=0.1), 10)
    assert a.indices.tolist() == b.indices.tolist()
    assert a.weights == pytest.approx(b.weights)


def test_gradmatch_can_match_validation() -> None:
    """With target='validation' the target is validation's gradient."""
    task = cases.array_task(25)
    chosen = select(task, GradMatch(target="validation", ridge=0.0), 6)
    assert chosen.indices[0] == np.argmax(task.gradients @ task.validation_gradient)
    w = nonnegative(task.gradients[chosen.indices], task.validation_gradient, 0.0)
    assert chosen.weights == pytest.approx(6 * w, abs=1e-8)


def test_gradmatch_says_what_it_completed() -> None:
    """Picks beyond the match weigh 0 and are counted in the notes; without any match there are no weights."""
    g = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
    chosen = select(Task.from_arrays(gradients=g), GradMatch(ridge=0.0), 3)
    assert chosen.weights is not None
    assert np.count_nonzero(chosen.weights) == 1
    assert any("matching ended after 1 of 3 picks" in note for note in chosen.provenance.notes)
    away = select(Task.from_arrays(gradients=-abs(g), validation_gradient=[1.0, 0]), GradMatch(target="validation"), 2)
    assert away.weights is None
    assert away.indices.tolist() == [0, 1]
    assert any("without weights" in note for note in away.provenance.notes)


def test_gradmatch_of_a_model_is_that_of_its_natural_gradients() -> None:
    """In a task of adversarial training the matched gradients are natural cross-entropy's, found without factors."""
    task = cases.sat_task(20)
    own, query = (t.numpy() for t in natural_gradients(task))
    for target in ("train", "validation"):
        made = GradMatch(target=target)
        want = select(Task.from_arrays(gradients=own, validation_gradient=query), made, 6)
        got = select(task, made, 6)
        assert got.indices.tolist() == want.indices.tolist()
        assert got.weights == pytest.approx(want.weights)
        assert got.scores == pytest.approx(want.scores)


def test_gradmatch_inside_classes() -> None:
    """The published form, class by class, is `PerClass(GradMatch())`: weights speak of each class's mean gradient."""
    task = cases.array_task(24)
    chosen = select(task, PerClass(GradMatch(ridge=0.0)), 8)
    for y in np.unique(task.labels):
        mine = chosen.indices[task.labels[chosen.indices] == y]
        w = chosen.weights[task.labels[chosen.indices] == y]  # type: ignore[index]
        want = nonnegative(task.gradients[mine], task.gradients[task.labels == y].mean(0), 0.0)
        assert w == pytest.approx(len(mine) * want, abs=1e-8)


def test_gradmatch_refuses_more_than_it_may_hold() -> None:
    """More picks than dense_up_to are refused with the bytes and the way out."""
    with pytest.raises(RequirementError, match=r"MiB.*per_class"):
        select(cases.array_task(), GradMatch(dense_up_to=4), 5)


# --- covering --------------------------------------------------------------------------------------------------------
def all_distances(g: Array) -> Array:
    """‖g_i − g_j‖ [N, N]."""
    return np.asarray(np.sqrt(((g[:, None] - g[None]) ** 2).sum(-1)), np.float64)


def slow_cover(d: Array, k: int) -> tuple[list[int], list[float]]:
    """Add whichever raises F most, F written out each time; equals (to rounding) go to the lowest index."""
    c = d.max()

    def f(s: list[int]) -> float:
        return sum(max(c - d[i, j] for j in s) for i in range(len(d))) if s else 0.0

    order: list[int] = []
    gains: list[float] = []
    for _ in range(k):
        here = {j: f([*order, j]) - f(order) for j in range(len(d)) if j not in order}
        best = max(here.values())
        j = min(j for j, v in here.items() if v >= best - 1e-11)
        order.append(j)
        gains.append(here[j])
    return order, gains


@given(st.integers(0, 10_000), st.integers(1, 20), st.data(), st.booleans())
def test_cover_is_greedy_facility_location(seed: int, n: int, data: st.DataObject, dense: bool) -> None:
    """Picks, gains, F and owners are those of the definition, whether distances are held or computed when asked for."""
    k = data.draw(st.integers(1, n))
    g = normal(seed, n, 3)
    d = all_distances(g)
    found = cover(Distances(rows_of(g), np.arange(n), n if dense else 0), k)
    order, gains = slow_cover(d, k)
    assert found.order.tolist() == order
    assert found.gains == pytest.approx(gains, abs=1e-9)
    assert found.value == pytest.approx(sum(gains), abs=1e-9)
    assert found.nearest == pytest.approx(d[:, order].min(1), abs=1e-7)
    assert found.owner.tolist() == [min(order, key=lambda j: (d[i, j], j)) for i in range(n)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 2, 3])
def test_cover_keeps_the_greedy_guarantee(seed: int, k: int) -> None:
    """F(S) is at least 1 − 1/e of the best of all sets, which the stated bound is never below."""
    d = all_distances(normal(seed, 9, 2))
    found = cover(Distances(rows_of(normal(seed, 9, 2)), np.arange(9), 9), k)
    best = max((d.max() - d[:, list(s)].min(1)).sum() for s in itertools.combinations(range(9), k))
    assert (1 - 1 / math.e) * best <= found.value <= best + 1e-9
    assert best <= found.bound + 1e-9


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("k", [1, 3, 9, 24])
def test_craig_weights_count_and_its_certificate_holds(per_class: bool, k: int) -> None:
    """γ counts whom each pick is nearest to (inside its class), γ·k/N are the weights, and the error is within its bound."""
    task = cases.array_task(24)
    chosen = select(task, CRAIG(per_class=per_class), k)
    g, d, y = task.gradients, all_distances(task.gradients), task.labels
    picks = chosen.indices.tolist()
    counts = dict.fromkeys(picks, 0)
    bound = 0.0
    for i in range(24):
        mine = [j for j in picks if not per_class or y[j] == y[i]] or picks
        j = min(mine, key=lambda j: (d[i, j], j))
        counts[j] += 1
        bound += d[i, j]
    assert chosen.weights == pytest.approx(np.array([counts[j] for j in picks]) * k / 24)
    known = chosen.certificate
    assert known is not None
    error = np.linalg.norm(g.sum(0) - sum(c * g[j] for j, c in counts.items()))
    assert known.details["gradient_error"] == pytest.approx(error, abs=1e-9)
    assert known.details["distance_bound"] == pytest.approx(bound, abs=1e-6)
    assert error <= bound + 1e-6
    assert known.upper_bound is not None
    assert known.value <= known.upper_bound + 1e-9
    assert chosen.nested is not per_class
    lost = [i for i in range(24) if per_class and y[i] not in y[picks]]
    assert any(note.startswith(f"{len(lost)} examples") for note in chosen.provenance.notes) == bool(lost)


def test_craig_shares_the_budget_over_classes() -> None:
    """Each class has its share by largest remainder, and its picks are the greedy ones inside it."""
    labels = np.repeat([7, 3, 5], [12, 8, 4])
    task = cases.array_task(24, labels=labels)
    chosen = select(task, CRAIG(), 12)
    want: list[int] = []
    for y, k in ((3, 4), (5, 2), (7, 6)):
        members = np.flatnonzero(labels == y)
        want += members[slow_cover(all_distances(task.gradients[members]), k)[0]].tolist()
    assert chosen.indices.tolist() == want


def test_craig_without_labels_is_one_class_and_says_so() -> None:
    """Without labels the pool is one class: the same as per_class=False, with a note."""
    task = cases.array_task(24, labels=None)
    chosen = select(task, CRAIG(), 6)
    assert chosen.indices.tolist() == select(task, CRAIG(per_class=False), 6).indices.tolist()
    assert "there are no labels: the pool is one class" in chosen.provenance.notes


def test_craig_says_what_memory_it_took() -> None:
    """Held distances are noted in bytes; beyond dense_up_to the answer is the same, and the note says how it was found."""
    task = cases.array_task(24, labels=None)
    held, asked = select(task, CRAIG(), 6), select(task, CRAIG(dense_up_to=23), 6)
    assert any("4,608 bytes" in note for note in held.provenance.notes)  # 24² float64
    assert any("dense_up_to=23" in note for note in asked.provenance.notes)
    assert held.indices.tolist() == asked.indices.tolist()
    assert held.weights == pytest.approx(asked.weights)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_doubles_stand_for_each_other(dtype: Any) -> None:
    """Of equal gradients the lowest index is picked and counts them all, in float32 too; none is picked before every kind is."""
    g = np.tile(normal(8, 10, 40), (4, 1)).astype(dtype)
    chosen = select(Task.from_arrays(gradients=g), CRAIG(), 10)
    assert sorted(chosen.indices.tolist()) == list(range(10))
    assert chosen.weights == pytest.approx(np.ones(10))  # γ = 4 of 40, times k/N


def test_craig_of_a_model_is_that_of_its_gradients() -> None:
    """CRAIG reads natural gradients even in adversarial training, its attacked form those of the task's own loss."""
    task = cases.sat_task(20)
    labels = task.pool.y.numpy()
    plain = natural_gradients(task)[0].numpy()
    with task.snapshot(0, 0) as shot:
        rows, _ = shot.rows(single_examples(20))
        own = torch.stack([rows.full(i) for i in range(20)]).numpy()
    assert not np.allclose(own, plain, atol=1e-4)
    for selector, twin, g in (
        (CRAIG(), CRAIG(), plain),
        (ACSCraig(), CRAIG(), own),
        (ACSGradMatch(), GradMatch(), own),
    ):
        got = select(task, selector, 7)
        want = select(Task.from_arrays(gradients=g, labels=labels), twin, 7)
        assert got.indices.tolist() == want.indices.tolist()
        assert got.weights == pytest.approx(want.weights)


def test_acs_gradmatch_can_match_attacked_validation() -> None:
    """Its validation target is the gradient of cross-entropy on validation inputs attacked as the pool is."""
    task = cases.sat_task(16)
    chosen = select(task, ACSGradMatch(target="validation"), 4)
    plain = select(task, GradMatch(target="validation"), 4)
    assert chosen.certificate is not None
    assert plain.certificate is not None
    assert chosen.certificate.details["target_norm"] > plain.certificate.details["target_norm"]
    assert chosen.provenance.task["loss"]["type"] == "SAT"
    assert plain.provenance.task["loss"]["type"] == "CE"


# --- gains, norms and cosines ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("refresh", [1, 3])
def test_glister_is_algorithm_1_on_natural_cross_entropy(refresh: int) -> None:
    """Picks, gains and first gains are those of the slow loop with single examples and validation's cross-entropy."""
    task = cases.sat_task(18)
    fc, z = task.model.fc, None
    rows, _ = natural_gradients(task)
    handle = fc.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].detach()))
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        task.model(task.validation.x)
    handle.remove()
    z = seen[0]  # [|U|, D] features of validation

    def query(theta: torch.Tensor) -> torch.Tensor:
        here = theta.clone().requires_grad_()
        outputs = z @ here[: fc.weight.numel()].view_as(fc.weight).T + here[fc.weight.numel() :]
        return torch.autograd.grad(oracles.cross_entropy(outputs, task.validation.y).mean(), here)[0]

    theta = oracles.flat([fc.weight.detach(), fc.bias.detach()])
    order, picks, gains, _ = oracles.algorithm_1(
        lambda m: rows[m[0]], query, [[i] for i in range(18)], theta, 0.5, 9, refresh=refresh
    )
    chosen = select(task, GLISTER(eta=0.5, refresh=refresh), 9)
    assert chosen.indices.tolist() == order == picks
    assert chosen.gains == pytest.approx(gains)
    assert chosen.scores == pytest.approx(0.5 * (rows @ query(theta)).numpy())
    assert chosen.nested


def test_grand_is_the_norm_of_the_natural_gradient() -> None:
    """Scores are the norms of one backward pass each; the largest come first, equals by index."""
    task = cases.sat_task(20)
    norms = natural_gradients(task)[0].norm(dim=1).numpy()
    chosen = select(task, GraNd(), 7)
    assert chosen.scores == pytest.approx(norms)
    assert chosen.indices.tolist() == sorted(range(20), key=lambda i: -norms[i])[:7]
    tied = Task.from_arrays(gradients=[[1.0, 0], [0, -2.0], [2.0, 0], [0, 1.0], [0, 2.0]])
    assert select(tied, GraNd(), 4).indices.tolist() == [1, 2, 4, 0]


def test_less_is_the_cosine_with_validation() -> None:
    """Scores are cosines by numpy, of a model's natural gradients too; a zero gradient has cosine 0."""
    task = cases.array_task(24)
    task.gradients[5] = 0
    q = task.validation_gradient
    want = [0.0 if i == 5 else g @ q / np.linalg.norm(g) / np.linalg.norm(q) for i, g in enumerate(task.gradients)]
    chosen = select(task, LESS(), 9)
    assert chosen.scores == pytest.approx(want)
    assert chosen.indices.tolist() == sorted(range(24), key=lambda i: -want[i])[:9]
    model = cases.sat_task(20)
    rows, query = natural_gradients(model)
    cosines = torch.nn.functional.cosine_similarity(rows, query[None]).numpy()
    assert select(model, LESS(), 5).scores == pytest.approx(cosines)


def test_less_breaks_ties_in_float32_by_index() -> None:
    """Equal and parallel gradients (powers of two apart) come in the order of their indices, in float32."""
    g = np.tile(normal(2, 3, 33), (20, 1)).astype(np.float32)
    g[::2] *= 4
    query = normal(3, 33).astype(np.float32)
    chosen = select(Task.from_arrays(gradients=g, validation_gradient=query), LESS(), 45)
    best = int(np.argsort(-chosen.scores[:3])[0])  # type: ignore[index]
    assert chosen.indices[:20].tolist() == list(range(best, 60, 3))


@pytest.mark.parametrize("selector", ALL, ids=lambda s: s.name)
def test_one_row_a_head_or_a_whole_model(selector: Any) -> None:
    """Where gradients reach beyond the head they are sketched, with a note, and k picks are made all the same."""
    task = cases.sat_task(6, u=3, capture="all", model=cases.built(lambda: cases.ConvNet(width=300)))  # P = 8404
    chosen = select(task, selector, 3)
    assert len(set(chosen.indices.tolist())) == 3
    assert any("sketched to 4096" in note for note in chosen.provenance.notes)


# --- refusals --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("selector", [CRAIG(), GradMatch(), GraNd()], ids=lambda s: s.name)
def test_a_pool_without_labels_is_refused(selector: Any) -> None:
    """Natural cross-entropy of a model needs labels, and a contrastive task that has none is refused by the method's name."""
    with pytest.raises(RequirementError, match=rf"'{selector.name}' reads gradients of cross-entropy.*no labels"):
        select(cases.acl_task(), selector, 5)


@pytest.mark.parametrize("selector", [LESS(), GradMatch(target="validation"), GLISTER()], ids=lambda s: s.name)
def test_validation_without_labels_is_refused(selector: Any) -> None:
    """Where the method reads validation's cross-entropy, validation items must be (x, y)."""
    task = cases.sat_task(validation=cases.Items(cases.images(5, seed=9)))
    with pytest.raises(RequirementError, match=rf"'{selector.name}'.*validation"):
        select(task, selector, 5)


@pytest.mark.parametrize("selector", [ACSCraig(), ACSGradMatch()], ids=lambda s: s.name)
def test_attacked_forms_need_attacks_of_single_examples(selector: Any) -> None:
    """A loss that attacks nothing, and one of whole batches, are refused."""
    with pytest.raises(RequirementError, match="attacks none"):
        select(cases.sat_task(loss="ce", attack=None), selector, 5)
    with pytest.raises(RequirementError, match="example gradients"):
        select(cases.acl_task(), selector, 5)


@pytest.mark.parametrize("selector", [s for s in ALL if s.name != "glister"], ids=lambda s: s.name)
def test_gradients_of_groups_are_refused(selector: Any) -> None:
    """Gradients of groups say nothing of single examples."""
    with pytest.raises(RequirementError, match=r"single examples|example gradients"):
        select(cases.array_task(6, groups=[0, 0, 1, 1, 2, 2]), selector, 3)


def test_a_validation_gradient_that_is_not_finite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where validation's cross-entropy has overflowed, nothing is compared with its gradient."""
    monkeypatch.setattr(NaturalCE, "value", lambda _self, _adversarial, natural, _labels: natural.sum(1) * math.inf)
    for selector in (LESS(), GLISTER(), GradMatch(target="validation")):
        with pytest.raises(NonFiniteError, match="validation gradient is not finite"):
            select(cases.sat_task(8), selector, 3)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (CRAIG, {"dense_up_to": -1}),
        (GradMatch, {"target": "test"}),
        (GradMatch, {"ridge": -1.0}),
        (GradMatch, {"ridge": float("nan")}),
        (GradMatch, {"dense_up_to": 0}),
        (GLISTER, {"eta": 0.0}),
        (GLISTER, {"refresh": 0}),
    ],
)
def test_impossible_settings_are_refused(make: Any, settings: Any) -> None:
    """Settings outside their ranges are refused when the selector is made."""
    with pytest.raises(ShapeError):
        make(**settings)
