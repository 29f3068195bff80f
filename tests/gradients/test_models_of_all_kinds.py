"""Rows of models that cannot be vectorised are autograd's, for single examples and for groups."""

from collections.abc import Callable
from typing import Any

import cases
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_rows import TOL, full, opened, sat_rows
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from coreselect import select
from coreselect.selectors import CRAIG

C = cases.CLASSES
N = 7


class Recurrent(nn.Module):
    """A recurrent layer over the rows of an image."""

    def __init__(self, kind: Any = nn.GRU, layers: int = 1, both: bool = False) -> None:
        super().__init__()
        self.r = kind(6, 4, num_layers=layers, bidirectional=both, batch_first=True)
        self.fc = nn.Linear(8 if both else 4, C)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.r(x[:, 0])[0][:, -1])


class Body(nn.Module):
    """A Linear, then a function of its own, then a Linear."""

    def __init__(self, between: Callable[[nn.Linear, Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.fc = nn.Linear(36, 5), nn.Linear(5, C)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.between(self.body, x.flatten(1)))


def fresh(body: nn.Linear, x: Tensor) -> Tensor:
    """Write into a fresh tensor."""
    out = torch.zeros(len(x), 5, dtype=x.dtype)
    out[:, :] = torch.tanh(body(x))
    return out


def item(body: nn.Linear, x: Tensor) -> Tensor:
    """Read a number of the batch."""
    z = torch.tanh(body(x))
    return torch.stack([t * (2.0 if t[0].item() > 0 else 1.0) for t in z])


def last(body: nn.Linear, x: Tensor) -> Tensor:
    """Copy in channels_last."""
    z = torch.tanh(body(x))[:, :, None, None]
    return z.clone(memory_format=torch.channels_last).flatten(1)


def saved(body: nn.Linear, x: Tensor) -> Tensor:
    """Keep saved tensors elsewhere."""
    with torch.autograd.graph.save_on_cpu():
        return torch.tanh(body(x))


def checkpointed(body: nn.Linear, x: Tensor) -> Tensor:
    """Compute activations twice instead of keeping them."""
    out: Any = checkpoint(lambda t: torch.tanh(body(t)), x, use_reentrant=False)
    return out


class OldForm(torch.autograd.Function):
    """A function whose forward takes the context."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return slopes[0] * ctx.saved_tensors[0].cos()


def old_form(body: nn.Linear, x: Tensor) -> Tensor:
    """Use such a function."""
    out: Any = OldForm.apply(body(x))
    return out


def per_sample() -> nn.Module:
    """A model with hooks that keep gradients of single examples, as wrappers for private training have them."""
    model = Body(lambda body, x: torch.tanh(body(x)))

    def forward(m: Any, inputs: Any, _out: Tensor) -> None:
        m.seen = inputs[0].detach()

    def backward(m: Any, _slopes: Any, slopes: Any) -> None:
        m.weight.grad_sample = torch.einsum("bo,bi->boi", slopes[0], m.seen)

    for m in (model.body, model.fc):
        m.register_forward_hook(forward)
        m.register_full_backward_hook(backward)
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "GRU": Recurrent,
    "LSTM": lambda: Recurrent(nn.LSTM),
    "RNN": lambda: Recurrent(nn.RNN),
    "fresh tensor": lambda: Body(fresh),
    "item": lambda: Body(item),
    "channels_last": lambda: Body(last),
    "saved tensors": lambda: Body(saved),
    "checkpoint": lambda: Body(checkpointed),
    "old autograd function": lambda: Body(old_form),
    "gradients of samples": per_sample,
}


@pytest.mark.parametrize("capture", [None, "all"])
@pytest.mark.parametrize("grouping", ["examples", "uneven"])
@pytest.mark.parametrize("kind", list(MODELS))
def test_rows_are_autograds(kind: str, grouping: str, capture: Any) -> None:
    """Rows of single examples and of groups equal an autograd loop in float64, whatever torch.func thinks of the model."""
    task = cases.sat_task(N, model=cases.built(MODELS[kind]), capture=capture)
    groups = [[i] for i in range(N)] if grouping == "examples" else [[3, 1, 0, 6], [2, 4, 5]]
    rows, _, names = opened(task, groups)
    if capture == "all":
        assert set(names) == {n for n, _ in task.model.named_parameters()}
    assert torch.allclose(full(rows), sat_rows(task, names, groups), **TOL)


@given(kind=st.sampled_from([nn.GRU, nn.LSTM, nn.RNN]), layers=st.integers(1, 2), both=st.booleans())
@settings(max_examples=6, deadline=None)
def test_recurrent_layers_of_any_form(kind: Any, layers: int, both: bool) -> None:
    """At any depth and in both directions, rows equal the loop's."""
    task = cases.sat_task(4, model=cases.built(lambda: Recurrent(kind, layers, both)), capture="all", batch_size=3)
    groups = [[i] for i in range(4)]
    rows, _, names = opened(task, groups)
    assert torch.allclose(full(rows), sat_rows(task, names, groups), **TOL)


@pytest.mark.parametrize("kind", ["fresh tensor", "item", "saved tensors"])
def test_the_slow_way_is_noted_once(kind: str) -> None:
    """Provenance says that rows were computed one by one, and why; for a model that can be vectorised it says nothing."""

    def notes(model: nn.Module) -> list[str]:
        chosen = select(cases.sat_task(N, model=model, capture="all", batch_size=2), CRAIG(), 3)
        return [n for n in chosen.provenance.notes if "one by one" in n]

    assert len(notes(cases.built(MODELS[kind]))) == 1
    assert notes(cases.built(cases.ConvNet)) == []


@pytest.mark.parametrize("kind", ["checkpoint", "saved tensors", "old autograd function"])
def test_queries_at_another_theta_are_autograds(kind: str) -> None:
    """Layers that run again in the backward pass run at θ′: the query equals the gradient of a model with these weights."""
    task = cases.sat_task(N, model=cases.built(MODELS[kind]), capture="all")
    with task.snapshot(0, 0) as shot:
        held, layout = shot.objective(cases.RD_WEAK), shot.layout()
        theta = shot.theta() + 0.1 * torch.randn(
            layout.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
        )
        query = held.query(theta)
        seen, natural = held.adversarial, shot.opened.validation().inputs
    moved = cases.built(lambda: Body(lambda body, x: (torch.sin if "old" in kind else torch.tanh)(body(x))))
    with torch.no_grad():
        for name, value in layout.unflatten(theta).items():
            moved.get_parameter(name).copy_(value)
    a, b = moved(seen).softmax(1), moved(natural).softmax(1)
    value = (a * (a / b).log()).sum(1).mean()
    slopes = torch.autograd.grad(value, cases.parts(moved, layout.names))
    assert torch.allclose(query, torch.cat([s.flatten() for s in slopes]), **TOL)
