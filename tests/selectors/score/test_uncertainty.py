"""Scores of one prediction equal their formulas."""

from typing import Any

import cases
import numpy as np
import pytest
from score_formulas import OF_LOGITS, N, ranked, select

from coreselect import Task
from coreselect.errors import RequirementError
from coreselect.selectors import (
    CAL,
    EL2N,
    EL2NAdv,
    Entropy,
    LeastConfidence,
    Margin,
    MarginAdv,
)


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
