"""GradMatch and its attacked form match the gradients that they state."""

import cases
import numpy as np
import pytest
from gradient_rows import natural_gradients, nonnegative, value

from coreselect import Task, select
from coreselect.errors import RequirementError
from coreselect.selectors import ACSGradMatch, GradMatch, PerClass


def test_gradmatch_weights_match_the_mean_gradient() -> None:
    """(1/k) Σ weight_i·g_i is as far from ḡ as the certificate's residual says, and nearer than the plain mean of the picks."""
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
    """Picks beyond the match have weight 0 and are counted in the notes; without a match there are no weights."""
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
    """In adversarial training the matched gradients are those of natural cross-entropy, computed here without factors."""
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
    """The published form, class by class, is `PerClass(GradMatch())`; its weights match each class's mean gradient."""
    task = cases.array_task(24)
    chosen = select(task, PerClass(GradMatch(ridge=0.0)), 8)
    for y in np.unique(task.labels):
        mine = chosen.indices[task.labels[chosen.indices] == y]
        w = chosen.weights[task.labels[chosen.indices] == y]  # type: ignore[index]
        want = nonnegative(task.gradients[mine], task.gradients[task.labels == y].mean(0), 0.0)
        assert w == pytest.approx(len(mine) * want, abs=1e-8)


def test_gradmatch_refuses_more_than_it_may_hold() -> None:
    """More picks than dense_up_to raise an error that gives the bytes and says what to do."""
    with pytest.raises(RequirementError, match=r"MiB.*per_class"):
        select(cases.array_task(), GradMatch(dense_up_to=4), 5)


def test_acs_gradmatch_can_match_attacked_validation() -> None:
    """Its validation target is the gradient of cross-entropy on validation inputs that are attacked as the pool is."""
    task = cases.sat_task(16)
    chosen = select(task, ACSGradMatch(target="validation"), 4)
    plain = select(task, GradMatch(target="validation"), 4)
    assert chosen.certificate is not None
    assert plain.certificate is not None
    assert chosen.certificate.details["target_norm"] > plain.certificate.details["target_norm"]
    assert chosen.provenance.task["loss"]["type"] == "SAT"
    assert plain.provenance.task["loss"]["type"] == "CE"
