"""An objective that is zero everywhere chooses nothing: one logit, and a first query of zeros, are refused with a way out."""

from typing import Any

import cases
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from coreselect import Task, get_selector, select
from coreselect.attacks import PGD
from coreselect.errors import RequirementError, ShapeError
from coreselect.losses import CE, SAT, TRADES
from coreselect.objectives import RD, AdversarialCE, CEPlusRD, Custom
from coreselect.selectors import RCS, RCSSampled


def binary(width: int = 1) -> nn.Module:
    """A network of one logit, or more."""
    return cases.built(lambda: cases.ConvNet(classes=width))


def two_logits(m: nn.Module, x: torch.Tensor, route: str) -> torch.Tensor:
    """The remedy of the message."""
    return torch.cat([0 * m(x), m(x)], 1)


def one_logit_task(**settings: Any) -> Any:
    """A task of two classes on a network of one logit, whose pool says when it is read."""
    pool, held = (cases.Items(cases.images(n, seed=n), cases.classes(n, count=2)) for n in (24, 10))
    return cases.sat_task(model=binary(), pool=pool, validation=held, **settings)


@pytest.mark.parametrize("objective", [RD(), RD("js"), AdversarialCE(), CEPlusRD()])
@pytest.mark.parametrize("loss", ["sat", "trades", "ce"])
def test_one_logit_is_refused_before_the_sweep_and_the_remedy_works(objective: Any, loss: str) -> None:
    """Every softmax loss and objective refuses it before anything is swept; with a zero beside it, there are gains."""
    parts: list[str] = []
    task = one_logit_task(loss=loss, attack=None if loss == "ce" else cases.WEAK)
    with pytest.raises(ShapeError, match=r"torch.cat\(\[0 \* m\(x\), m\(x\)\], 1\)"):
        select(task.reporting(lambda part, done, total: parts.append(part)), RCS(objective, group_size=3), 8)
    assert "sweep" not in parts
    fixed = one_logit_task(loss=loss, attack=None if loss == "ce" else cases.WEAK, call=two_logits)
    assert np.abs(select(fixed, RCS(objective, group_size=3, certify=None), 8).gains).min() > 0


@pytest.mark.parametrize("name", ["acs_craig", "acs_gradmatch", "grand", "craig"])
def test_rows_of_one_logit_are_refused(name: str) -> None:
    """Methods without a validation objective refuse the loss."""
    with pytest.raises(ShapeError, match="softmax of one logit is always 1"):
        select(one_logit_task(), get_selector(name), 8)


def test_losses_refuse_one_logit_themselves() -> None:
    """In a training loop too, where no task is made."""
    z, y = torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64)
    for loss in (CE(), SAT(), TRADES()):
        with pytest.raises(ShapeError, match="one logit"):
            loss((z,), (z,), y)


def test_one_logit_is_fine_where_no_softmax_is_compared() -> None:
    """Features of the same network, and an objective of the user's own, need no second logit."""
    assert len(select(one_logit_task(), get_selector("k_center"), 8)) == 8
    task = one_logit_task(call=two_logits)
    own = Custom(lambda adversarial, natural, labels: ((adversarial - natural) ** 2).sum(1))
    assert len(select(task, RCS(own, group_size=3, certify=None), 8)) == 8


class Dead(nn.Module):
    """A network whose hidden units are all off, so that its outputs are its bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(36, width), nn.ReLU())
        self.fc = nn.Linear(width, cases.CLASSES)
        nn.init.constant_(self.body[1].bias, -1e3)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(x))


@given(
    st.sampled_from([RCS(group_size=3), RCS(RD("js"), group_size=3), RCSSampled()]),
    st.integers(1, 9), st.sampled_from(["radius", "dead"]), st.sampled_from(["linf", "l2"]),
)  # fmt: skip
def test_a_first_query_of_zeros_is_refused(selector: Any, width: int, why: str, norm: Any) -> None:
    """A radius of 0, and a network without a live unit, of any width, give one sentence before the sweep of RCS."""
    parts: list[str] = []
    model = cases.built(lambda: Dead(width)) if why == "dead" else None
    task = cases.sat_task(model=model, attack=PGD(0.0 if why == "radius" else 0.1, 0.05, 2, norm=norm))
    with pytest.raises(RequirementError, match=r"radius 0.*dead or saturated"):
        select(task.reporting(lambda part, done, total: parts.append(part)), selector, 8)
    assert "sweep" not in parts


@pytest.mark.parametrize("name", ["rcs", "rcs_sampled", "less"])
def test_a_given_validation_gradient_of_zeros_is_noted(name: str) -> None:
    """Over arrays the user's gradient is used as it is, and the notes say plainly what it means."""
    rng = np.random.default_rng(0)
    for zero in (True, False):
        query = np.zeros(5) if zero else rng.normal(size=5)
        task = Task.from_arrays(gradients=rng.normal(size=(24, 5)), validation_gradient=query)
        notes = select(task, get_selector(name), 8).provenance.notes
        assert any("exactly zero, so no example is better" in note for note in notes) == zero


@pytest.mark.parametrize("name", ["rcs", "rcs_sampled", "glister", "less"])
def test_a_saturated_network_is_refused(name: str) -> None:
    """A network that is certain of the right class has a validation gradient of zeros."""
    task = cases.sat_task(24, validation=right(), model=saturated())
    with pytest.raises(RequirementError, match="exactly zero"):
        select(task, get_selector(name), 8)


def saturated() -> nn.Module:
    """A network that is certain of class 0."""
    model = cases.built(cases.ConvNet)
    with torch.no_grad():
        model.fc.weight.zero_()  # type: ignore[union-attr, operator]
        model.fc.bias.copy_(torch.tensor([1e6, 0, 0, 0]))  # type: ignore[union-attr, operator]
    return model


def right() -> cases.Items:
    """Validation images that all have class 0."""
    return cases.Items(cases.images(10), torch.zeros(10, dtype=torch.int64))


@given(st.lists(st.integers(-3, 3), min_size=6, max_size=6).filter(lambda y: min(y) < 0))
def test_labels_below_zero_are_refused_over_arrays(labels: list[int]) -> None:
    """Alike for every selector, because the task refuses them; the rows are named."""
    with pytest.raises(ShapeError, match=rf"rows {next(i for i, y in enumerate(labels) if y < 0)}"):
        Task.from_arrays(features=np.ones((6, 2)), labels=labels)
