"""Losses that users give: callables are wrapped, targets travel untouched, and a wrong form is refused in one sentence."""

from functools import partial
from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_rows import TOL, full, opened
from torch import Tensor, nn
from torch.utils.data import Dataset

from coreselect import select
from coreselect.errors import CoreselectError, NonFiniteError, RequirementError, ShapeError
from coreselect.losses import CallableLoss
from coreselect.selectors import (
    CRAIG,
    EL2N,
    GLISTER,
    LESS,
    RS2,
    Entropy,
    GradMatch,
    GraNd,
    Loss,
    Moderate,
    Random,
    Redraw,
)

N = 12
f64 = torch.float64


class Pairs(Dataset[Any]):
    """Images with any targets, given as a structure of tensors [N, …]."""

    def __init__(self, x: Tensor, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        y = {k: v[index] for k, v in self.y.items()} if isinstance(self.y, dict) else self.y[index]
        return self.x[index], y


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Draw numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=f64)


def tokens(n: int, length: int, seed: int = 0) -> Tensor:
    """Draw token ids."""
    return torch.randint(cases.CLASSES, (n, length), generator=torch.Generator().manual_seed(seed))


def likelihood(outputs: Tensor, targets: Tensor) -> Tensor:
    """Outputs [B, C], token ids [B, T] → the mean negative log likelihood of each example, [B]."""
    return -outputs.log_softmax(1).gather(1, targets).mean(1)


def masked(outputs: Tensor, targets: Any) -> Tensor:
    """The squared error where a mask is set, [B]."""
    return ((outputs - targets["value"]).square() * targets["mask"]).sum(1)


C = cases.CLASSES
KINDS: dict[str, tuple[Any, Any]] = {
    "float vectors": (nn.MSELoss(reduction="none"), lambda n, s: draw(n, C, seed=s)),
    "multi-hot": (nn.BCEWithLogitsLoss(reduction="none"), lambda n, s: (draw(n, C, seed=s) > 0.6).double()),
    "class numbers": (nn.CrossEntropyLoss(reduction="none"), lambda n, s: tokens(n, 1, s)[:, 0]),
    "soft labels": (nn.CrossEntropyLoss(reduction="none"), lambda n, s: draw(n, C, seed=s).softmax(1)),
    "token ids": (likelihood, lambda n, s: tokens(n, 3, s)),
    "numbers": (lambda o, t: (o[:, 0] - t).abs(), lambda n, s: 7 * draw(n, seed=s)),
    "parts": (masked, lambda n, s: {"value": draw(n, C, seed=s), "mask": draw(n, C, seed=s + 9) > 0.5}),
}


def task_of(kind: str, *, n: int = N, u: int = 5, seed: int = 0, **settings: Any) -> Any:
    """Make a task with a loss and targets of one kind."""
    loss, targets = KINDS[kind]
    pool = Pairs(cases.images(n, seed=seed), targets(n, seed))
    held = Pairs(cases.images(u, seed=seed + 77), targets(u, seed + 77))
    return cases.sat_task(pool=pool, validation=held, **{"attack": None, "loss": loss, **settings})


def by_hand(task: Any, kind: str, names: Any, groups: Any) -> Tensor:
    """Rows by an autograd loop."""
    loss = KINDS[kind][0]

    def scalar(members: Any) -> Tensor:
        batch = torch.utils.data.default_collate([task.pool[i] for i in members])
        value = loss(task.model(batch[0]), batch[1])
        return value.mean()

    return oracles.loop_rows(scalar, cases.parts(task.model, names), groups)


@pytest.mark.parametrize("how", ["factored", "vmap", "groups", "whole model"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_rows_are_those_of_an_autograd_loop(kind: str, how: str) -> None:
    """For targets of every kind and every form of rows, rows equal the loop's to 1e-10."""
    settings: dict[str, Any] = {
        "vmap": {"capture": ["fc.bias", "norm.*"]},
        "whole model": {"capture": "all"},
    }.get(how, {})
    task = task_of(kind, **settings)
    groups = [[3, 1, 0, 6], [2, 4, 5]] if how in ("groups", "whole model") else [[i] for i in range(N)]
    rows, _, names = opened(task, groups)
    assert torch.allclose(full(rows), by_hand(task, kind, names, groups), **TOL)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(
    "selector", [CRAIG(), GradMatch(target="validation"), GLISTER(), LESS(), Loss(), cases.rcs()], ids=lambda s: s.name
)
def test_methods_that_need_no_classes_work(kind: str, selector: Any) -> None:
    """Gradient methods, the loss's score and RCS choose under any loss and targets; validation's targets travel too."""
    chosen = select(task_of(kind), selector, 5)
    assert len(set(chosen.indices.tolist())) == 5
    if selector.name == "rcs":
        assert chosen.diagnostics is not None
        assert chosen.diagnostics.query_loss_cosine is not None


@given(c=st.integers(1, 5), n=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_a_modules_loss_is_its_mean_over_an_examples_outputs(c: int, n: int, seed: int) -> None:
    """At any width, the mean over a batch is what the same module gives with reduction='mean'."""
    outputs, targets = draw(n, c, seed=seed), draw(n, c, seed=seed + 1)
    own = CallableLoss(nn.MSELoss(reduction="none"))((), (outputs,), targets)
    assert own.shape == (n,)
    assert torch.allclose(own.mean(), nn.MSELoss()(outputs, targets), **TOL)


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.BCEWithLogitsLoss(reduction="sum"), nn.CrossEntropyLoss()])
def test_a_module_that_reduces_is_refused_at_construction(loss: nn.Module) -> None:
    """reduction='mean' and 'sum' are refused with the remedy when the task is made."""
    with pytest.raises(ShapeError, match=rf"{loss.reduction}.*{type(loss).__name__}\(reduction=\"none\"\)"):
        task_of("float vectors", loss=loss)


class Partial:
    """A part of the protocol."""

    name, streams, per_example = "part", (("natural", 0),), True


@pytest.mark.parametrize(
    ("loss", "told"), [(nn.MSELoss, "the class MSELoss"), (3, "is a int"), (Partial(), "lacks views")]
)
def test_what_is_no_loss_is_refused_at_construction(loss: Any, told: str) -> None:
    """A class, a number, and an object with a part of the members raise one sentence."""
    with pytest.raises(ShapeError, match=told) as caught:
        task_of("float vectors", loss=loss)
    assert "\n" not in str(caught.value)


WRONG = {
    "a scalar": (F.mse_loss, "one number"),
    "one value for each output": (partial(F.mse_loss, reduction="none"), r"\[4, 4\]"),
    "a column": (lambda o, t: (o - t).square().mean(1, keepdim=True), r"\[4, 1\]"),
    "examples that mix": (lambda o, t: (o - o.mean(0)).square().mean(1), "alone than in a batch"),
    "a failure": (lambda o, t: o[:, 9], "fails on outputs"),
    "no tensor": (lambda o, t: [1.0], "gives a list"),
    "no gradient": (lambda o, t: (o - t).square().mean(1).detach(), "has no gradient"),
}


@pytest.mark.parametrize("which", list(WRONG))
@pytest.mark.parametrize("selector", [CRAIG(), cases.rcs(), GLISTER(), GraNd(), Loss()], ids=lambda s: s.name)
def test_another_form_than_one_value_an_example_is_refused(which: str, selector: Any) -> None:
    """A loss that is no [B] raises one sentence at the first batch, whatever the method."""
    loss, told = WRONG[which]
    with pytest.raises(ShapeError, match=told) as caught:
        select(task_of("float vectors", loss=loss), selector, 5)
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_nan_for_finite_outputs_is_refused() -> None:
    """It is the loss that has to be looked at, not the examples."""
    with pytest.raises(NonFiniteError, match="for finite outputs"):
        select(task_of("float vectors", loss=lambda o, t: (o - t).mean(1) * float("nan")), cases.rcs(), 5)


def test_targets_that_are_repeated_to_fit_are_refused() -> None:
    """Outputs [B, 1] and targets [B] would be compared each with each, without a word."""
    task = task_of("numbers", loss=nn.MSELoss(reduction="none"), model=cases.built(lambda: cases.ConvNet(classes=1)))
    with pytest.raises(ShapeError, match=r"outputs \[4, 1\].*unpack="), pytest.warns(UserWarning, match="broadcast"):
        select(task, CRAIG(), 5)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "class numbers"])
@pytest.mark.parametrize(
    "selector", [Moderate(), EL2N(), Entropy(), cases.rcs(stratify="labels")], ids=lambda s: s.name
)
def test_methods_that_need_classes_say_what_the_targets_are(kind: str, selector: Any) -> None:
    """Only methods that read classes ask for them, in a sentence that names the targets."""
    with pytest.raises(RequirementError, match="this task's targets are") as caught:
        select(task_of(kind), selector, 5)
    assert "\n" not in str(caught.value)
    if kind == "multi-hot":
        assert "multi-label [N, 4] float64" in str(caught.value)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("selector", [Random(), Redraw(), RS2()], ids=lambda s: s.name)
@pytest.mark.parametrize("loss", ["own", "sat"])
def test_uniform_draws_never_look_at_targets(kind: str, selector: Any, loss: str) -> None:
    """random, redraw and rs2 draw under any targets, also where the task's loss could not read them."""
    task = task_of(kind) if loss == "own" else task_of(kind, loss=loss)
    want = select(cases.sat_task(N), selector, 5, seed=3)
    assert np.array_equal(select(task, selector, 5, seed=3).indices, want.indices)


@pytest.mark.parametrize("kind", ["multi-hot", "parts", "token ids"])
def test_a_loss_of_classes_over_other_targets_says_so(kind: str) -> None:
    """sat over targets that are no classes raises one sentence that names them."""
    for selector in (cases.rcs(), CRAIG()):
        with pytest.raises(CoreselectError, match="targets are") as caught:
            select(task_of(kind, loss="sat", attack=cases.WEAK), selector, 5)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["factored", "vmap", "groups", "score"])
@pytest.mark.parametrize("where", [9, 11])
def test_a_loss_that_fails_late_names_the_example(how: str, where: int) -> None:
    """A label without an output, after the items that are probed, is one sentence with its position, in every form of rows."""
    targets = tokens(N, 1)[:, 0]
    targets[where] = C + 3
    task = cases.sat_task(
        pool=Pairs(cases.images(N), targets),
        validation=Pairs(cases.images(5, seed=7), tokens(5, 1, 3)[:, 0]),
        attack=None,
        loss=nn.CrossEntropyLoss(reduction="none"),
        batch_size=5,
        **({"vmap": {"capture": ["fc.bias", "norm.*"]}, "groups": {"capture": "all"}}.get(how, {})),
    )
    selector = {"groups": cases.rcs(), "score": Loss()}.get(how, CRAIG(per_class=False))
    with pytest.raises(
        ShapeError, match=rf"fails on 1 pool example \(positions {where};.*correct their targets"
    ) as caught:
        select(task, selector, 4)
    assert isinstance(caught.value.__cause__, (IndexError, RuntimeError))
