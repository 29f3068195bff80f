"""Methods that compare natural gradients or losses use the task's own loss where it is natural, and say so where it is not."""

from dataclasses import dataclass
from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
import torch.nn.functional as F
from gradient_rows import natural_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from coreselect import select
from coreselect.selectors import CRAIG, GLISTER, LESS, GradMatch, GraNd, Loss

ALL = [CRAIG(per_class=False), GradMatch(), GradMatch(target="validation"), GLISTER(), GraNd(), LESS(), Loss()]


@dataclass(frozen=True)
class Weighted:
    """Cross-entropy with weights of classes, and smoothed labels."""

    weights: tuple[float, ...] = (1.0, 30.0, 0.2, 5.0)
    smoothing: float = 0.0
    name = "weighted"
    views = 1
    streams = (("natural", 0),)
    per_example = True
    needs_labels = True
    default_attack = None

    def ascend(self, adversarial: Any, natural: Any, labels: Tensor | None) -> Tensor:
        raise AssertionError("nothing is attacked")

    def __call__(self, adversarial: Any, natural: Any, labels: Tensor | None) -> Tensor:
        assert labels is not None
        z = natural[0]
        return F.cross_entropy(z, labels, z.new_tensor(self.weights), reduction="none", label_smoothing=self.smoothing)


def scores(task: Any, selector: Any) -> Any:
    """The scores of all examples."""
    return select(task, selector, 4).scores


def own_gradients(task: Any, loss: Any) -> tuple[Tensor, Tensor]:
    """The rows [N, P] of a loss in the head, and validation's mean gradient [P], one backward pass each."""
    fc = task.model.fc

    def rows(data: cases.Items) -> Tensor:
        y = data.y
        assert y is not None
        return oracles.loop_rows(
            lambda i: loss((), (task.model(data.x[i]),), y[i]).sum(), [fc.weight, fc.bias], [[i] for i in range(len(y))]
        )

    return rows(task.pool), rows(task.validation).mean(0)


@given(
    weights=st.tuples(*[st.floats(0.01, 100)] * cases.CLASSES),
    smoothing=st.floats(0, 0.5),
    seed=st.integers(0, 100),
)
@settings(max_examples=8, deadline=None)
def test_norms_and_cosines_are_those_of_the_own_loss(weights: Any, smoothing: float, seed: int) -> None:
    """At any class weights and smoothing, grand's, less's and loss's scores are those of an autograd loop."""
    loss = Weighted(weights, smoothing)
    task = cases.sat_task(12, u=5, loss=loss, attack=None, seed=seed)
    rows, query = own_gradients(task, loss)
    assert np.allclose(scores(task, GraNd()), rows.norm(dim=1), rtol=1e-9)
    cosine = rows @ query / (rows.norm(dim=1) * query.norm())
    assert np.allclose(scores(task, LESS()), cosine, rtol=0, atol=1e-9)
    assert np.allclose(scores(task, GLISTER()), 0.01 * rows @ query, rtol=1e-7, atol=1e-12)
    with torch.no_grad():
        own = loss((), (task.model(task.pool.x),), task.pool.y)
    assert np.allclose(scores(task, Loss()), own, rtol=1e-9)


@pytest.mark.parametrize("selector", ALL, ids=lambda s: f"{s.name} {getattr(s, 'target', '')}")
def test_the_own_loss_decides_and_the_record_names_it(selector: Any) -> None:
    """Other weights of classes, other picks; nothing is said to be replaced, and the record names the loss."""
    plain = select(cases.sat_task(24, loss="ce", attack=None), selector, 8)
    own = select(cases.sat_task(24, loss=Weighted(), attack=None), selector, 8)
    assert not np.array_equal(plain.indices, own.indices)
    assert not any("cross-entropy" in note for s in (plain, own) for note in s.provenance.notes)
    if selector.name != "loss":  # whose record holds no model
        assert own.provenance.task["loss"]["type"] == "Weighted"


@pytest.mark.parametrize("loss", ["sat", "trades"])
@pytest.mark.parametrize("selector", ALL, ids=lambda s: f"{s.name} {getattr(s, 'target', '')}")
def test_a_replaced_loss_is_noted(selector: Any, loss: str) -> None:
    """Where the task's loss attacks its inputs, natural cross-entropy is compared, as published, and a note says so."""
    chosen = select(cases.sat_task(24, loss=loss), selector, 8)
    told = [note for note in chosen.provenance.notes if f"the task's loss is {loss}" in note]
    assert len(told) == 1
    assert "cross-entropy" in told[0]
    rows, _ = natural_gradients(cases.sat_task(24))
    if selector.name == "grand":
        assert chosen.scores is not None
        assert np.allclose(chosen.scores, rows.norm(dim=1), rtol=1e-9)
