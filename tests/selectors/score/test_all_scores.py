"""What all scores share: ties, prefixes, and errors for values and settings that are impossible."""

import math
from typing import Any

import cases
import numpy as np
import pytest
import torch
from score_formulas import Linear, N, ranked, select

from coreselect import Task
from coreselect.errors import NonFiniteError, ShapeError, UnknownNameError
from coreselect.selectors import (
    AIGN,
    AUM,
    CAL,
    CCS,
    D2,
    EL2N,
    DeepFool,
    Entropy,
    Forgetting,
    LeastConfidence,
    Loss,
    Margin,
    Moderate,
)
from coreselect.selectors.score.ranking import Ranked


@pytest.mark.parametrize("make", [EL2N, Entropy, Margin, LeastConfidence, Loss, CAL, D2])
def test_equals_go_to_the_lowest_index(make: Any) -> None:
    """If all examples are the same, the first k are chosen, in order."""
    task = Task.from_arrays(features=np.ones((N, 3)), logits=np.ones((N, 3)), labels=np.zeros(N, int))
    selector = make(neighbours=N) if make in (CAL, D2) else make()
    if make is D2:  # a pick takes its neighbours down, all of them alike
        assert select(task, selector, N).indices.tolist() == list(range(N))
    assert select(task, selector, 6).indices.tolist() == list(range(6))


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
