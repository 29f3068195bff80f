"""Layers whose `train()` and `eval()` do more than set a flag come out of a selection as they went in."""

from typing import Any

import cases
import pytest
import torch
from contract import photograph
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from coreselect import select
from coreselect.network.frozen import frozen
from coreselect.selectors import CRAIG


class Merging(nn.Linear):
    """A low-rank part that `eval()` adds to the weight, and `train()` takes out again."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.a, self.b = nn.Parameter(torch.randn(2, inputs)), nn.Parameter(torch.randn(outputs, 2))
        self.merged = False

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * self.b @ self.a
            self.merged = not mode
        return self

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + (0 if self.merged else input @ self.a.T @ self.b.T)


class OneWay(Merging):
    """The same, but only `eval()` is replaced, and nothing takes the low-rank part out again."""

    def train(self, mode: bool = True) -> Any:
        return nn.Module.train(self, mode)

    def eval(self) -> Any:
        nn.Module.eval(self)
        if not self.merged:
            self.weight.data = self.weight.data + self.b @ self.a
            self.merged = True
        return self


class Joined(nn.Module):
    """Two branches that become one Linear in evaluation: parameters and modules are replaced by others."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        if not mode and hasattr(self, "one"):
            whole = nn.Linear(self.one.in_features, self.one.out_features).to(self.one.weight)
            whole.weight.data.copy_(self.one.weight.data + self.two.weight.data)
            whole.bias.data.copy_(self.one.bias.data + self.two.bias.data)
            del self.one, self.two
            self.whole = whole.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) + self.two(x) if hasattr(self, "one") else self.whole(x)


class Gate(nn.Module):
    """A block that keeps its first layer in evaluation mode, and so replaces `train()`, around other blocks."""

    def __init__(self, *inside: nn.Module) -> None:
        super().__init__()
        self.norm, self.inside = nn.BatchNorm1d(36), nn.Sequential(*inside)

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(self.norm(x))


KINDS = {"merging": Merging, "one way": OneWay, "joined": Joined}


def network(kind: str, *, gated: bool = False) -> nn.Module:
    """Make a network with such a layer, in training mode: [B, 1, 6, 6] → [B, C]."""

    def make() -> nn.Module:
        layers = (KINDS[kind](36, 5), nn.ReLU())
        body = [Gate(*layers)] if gated else layers
        return nn.Sequential(nn.Flatten(), *body, nn.Linear(5, cases.CLASSES))

    return cases.built(make).train()


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_selection_leaves_no_trace(kind: str, gated: bool) -> None:
    """Parameters, their identity, modes, modules and plain attributes are the same bits after a selection."""
    model = network(kind, gated=gated)
    before, plain = photograph(model), [getattr(m, "merged", None) for m in model.modules()]
    select(cases.sat_task(16, model=model, loss="ce", attack=None), CRAIG(), 5)
    assert photograph(model) == before
    assert [getattr(m, "merged", None) for m in model.modules()] == plain
    model(cases.images(4)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_body_that_raises_leaves_no_trace(kind: str) -> None:
    """Everything comes back when the body raises, also when it has moved the weights itself."""
    model = network(kind)
    before = photograph(model)

    def fail() -> None:
        with frozen(model) as inside:
            inside[-1].weight.requires_grad_(True)  # type: ignore[index]
            raise cases.Broken("half-way")

    with pytest.raises(cases.Broken):
        fail()
    assert photograph(model) == before


def test_an_eval_that_raises_leaves_no_trace() -> None:
    """If a layer's own `eval()` raises after another was merged, that other is as before."""

    class Refusing(nn.Linear):
        def eval(self) -> Any:
            raise cases.Broken("no evaluation")

    model = nn.Sequential(Merging(4, 4), Refusing(4, 3)).train()
    before = photograph(model)
    with pytest.raises(cases.Broken), frozen(model):
        pass
    assert photograph(model) == before


@given(flags=st.lists(st.booleans(), min_size=8, max_size=8), kind=st.sampled_from(list(KINDS)))
@settings(max_examples=25, deadline=None)
def test_nested_mixed_modes_come_back(flags: list[bool], kind: str) -> None:
    """Whatever mix of modes the caller has set, each module has its own again, with the same contents."""
    model = network(kind, gated=True)
    for flag, m in zip(flags, list(model.modules()), strict=False):
        m.train(flag)
    before = photograph(model)
    with frozen(model) as inside:
        assert not any(m.training for m in inside.modules())
    assert photograph(model) == before


def test_a_pending_backward_pass_stays_valid() -> None:
    """A selection between a forward and its backward pass does not count as a change in place."""
    model = network("merging")
    waiting = model(cases.images(4)).sum()
    with frozen(model):
        pass
    waiting.backward()
    assert model[1].a.grad is not None  # type: ignore[index, union-attr]
