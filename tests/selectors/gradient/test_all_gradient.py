"""What all gradient methods share: sketches beyond the head, and errors for missing labels and impossible settings."""

import math
from typing import Any

import cases
import pytest

from coreselect import select
from coreselect.errors import NonFiniteError, RequirementError, ShapeError
from coreselect.selectors import CRAIG, GLISTER, LESS, ACSCraig, ACSGradMatch, GradMatch, GraNd
from coreselect.selectors.gradient.example_gradients import NaturalCE

ALL = [CRAIG(), GradMatch(), GLISTER(), GraNd(), ACSCraig(), ACSGradMatch(), LESS()]


@pytest.mark.parametrize("selector", ALL, ids=lambda s: s.name)
def test_one_row_a_head_or_a_whole_model(selector: Any) -> None:
    """Gradients that reach beyond the head are sketched, a note says so, and there are still k picks."""
    task = cases.sat_task(6, u=3, capture="all", model=cases.built(lambda: cases.ConvNet(width=300)))  # P = 8404
    chosen = select(task, selector, 3)
    assert len(set(chosen.indices.tolist())) == 3
    assert any("sketched to 4096" in note for note in chosen.provenance.notes)


@pytest.mark.parametrize("selector", [CRAIG(), GradMatch(), GraNd()], ids=lambda s: s.name)
def test_a_pool_without_labels_is_refused(selector: Any) -> None:
    """Natural cross-entropy of a model needs labels; a contrastive task without labels raises an error that names the method."""
    with pytest.raises(RequirementError, match=rf"'{selector.name}' reads gradients of cross-entropy.*no labels"):
        select(cases.acl_task(), selector, 5)


@pytest.mark.parametrize("selector", [LESS(), GradMatch(target="validation"), GLISTER()], ids=lambda s: s.name)
def test_validation_without_labels_is_refused(selector: Any) -> None:
    """If the method reads validation's cross-entropy, validation items must be (x, y)."""
    task = cases.sat_task(validation=cases.Items(cases.images(5, seed=9)))
    with pytest.raises(RequirementError, match=rf"'{selector.name}'.*validation"):
        select(task, selector, 5)


@pytest.mark.parametrize("selector", [ACSCraig(), ACSGradMatch()], ids=lambda s: s.name)
def test_attacked_forms_need_attacks_of_single_examples(selector: Any) -> None:
    """A loss that attacks nothing, and a loss of whole batches, raise errors."""
    with pytest.raises(RequirementError, match="attacks no inputs"):
        select(cases.sat_task(loss="ce", attack=None), selector, 5)
    with pytest.raises(RequirementError, match="example gradients"):
        select(cases.acl_task(), selector, 5)


@pytest.mark.parametrize("selector", [s for s in ALL if s.name != "glister"], ids=lambda s: s.name)
def test_gradients_of_groups_are_refused(selector: Any) -> None:
    """Gradients per group raise an error, because they say nothing about single examples."""
    with pytest.raises(RequirementError, match=r"single examples|example gradients"):
        select(cases.array_task(6, groups=[0, 0, 1, 1, 2, 2]), selector, 3)


def test_a_validation_gradient_that_is_not_finite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """If validation's cross-entropy overflows, an error is raised instead of a comparison with its gradient."""
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
    """Settings outside their ranges raise an error at construction."""
    with pytest.raises(ShapeError):
        make(**settings)
