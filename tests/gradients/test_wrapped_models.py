"""Rows of compiled, wrapped, scripted, lazy and reused models: as autograd's, or one sentence."""

from typing import Any

import cases
import numpy as np
import pytest
import torch
from contract import photograph
from loop_rows import TOL, full, opened, sat_rows
from torch import Tensor, nn

from coreselect import select
from coreselect.errors import HeadError

C = cases.CLASSES
N = 7


class Inner(nn.Module):
    """A model whose inside is compiled."""

    def __init__(self, *, head: bool) -> None:
        super().__init__()
        self.body, self.fc = nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Tanh()), nn.Linear(5, C)
        inner: Any = self.fc if head else nn.Sequential(self.body, self.fc)
        self.inner = torch.compile(inner, backend="eager")
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.body(x) if self.head else x)


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("capture", [None, "all"])
def test_compiled_parts_with_a_cached_graph(head: bool, capture: Any) -> None:
    """A submodule that training has compiled has the rows of the loop, and training goes on afterwards."""
    model = cases.built(lambda: Inner(head=head))
    for _ in range(2):
        model(cases.images(5)).sum().backward()
    task = cases.sat_task(N, model=model, capture=capture)
    groups = [[3, 1, 0, 6], [2, 4, 5]]
    rows, _, names = opened(task, groups)
    assert torch.allclose(full(rows), sat_rows(task, names, groups), **TOL)
    assert len(select(task, cases.rcs(), 4)) == 4
    model(cases.images(5)).sum().backward()


@pytest.mark.parametrize("capture", [None, "all"])
def test_what_a_wrapper_calls_its_module(capture: Any) -> None:
    """Under DataParallel, `call` may use m.module as in training; without the wrapper the picks are the same."""
    want = select(cases.sat_task(N, capture=capture), cases.rcs(), 4).indices
    inner: Any = cases.built(cases.ConvNet)
    compiled: Any = torch.compile(inner)
    wrapped: Any = (
        (nn.DataParallel(inner), lambda m, x, _r: m.module(x)),
        (nn.DataParallel(inner), lambda m, x, _r: m(x)),
        (compiled, lambda m, x, _r: m._orig_mod(x)),
        (
            nn.DataParallel(compiled),
            lambda m, x, _r: m.module._orig_mod.fc(features(m.module._orig_mod, x)),
        ),
    )
    for model, call in wrapped:
        got = select(cases.sat_task(N, model=model, call=call, capture=capture), cases.rcs(), 4).indices
        assert np.array_equal(got, want)


def features(model: Any, x: Tensor) -> Tensor:
    """The features of a `ConvNet`."""
    return nn.functional.adaptive_avg_pool2d(torch.tanh(model.norm(model.conv(x))), 2).flatten(1)


def scripted(model: nn.Module) -> Any:
    """Compile a module to TorchScript."""
    return torch.jit.script(model)  # type: ignore[deprecated]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused_or_left_outside() -> None:
    """A scripted model, or scripted parameters, raise one sentence; a scripted body under a Python head has its rows."""

    def plain() -> nn.Module:
        return nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Tanh()), nn.Linear(5, C))

    whole = scripted(cases.built(plain))
    for capture in (None, "all"):
        with pytest.raises(HeadError, match=r"TorchScript.*Python module that was scripted") as caught:
            select(cases.sat_task(N, model=whole, capture=capture), cases.rcs(), 4)
        assert "\n" not in str(caught.value)
    model: Any = cases.built(plain)
    model[0] = scripted(model[0])
    task, groups = cases.sat_task(N, model=model), [[i] for i in range(N)]
    rows, _, names = opened(task, groups)
    assert torch.allclose(full(rows), sat_rows(task, names, groups), **TOL)
    with pytest.raises(HeadError, match=r"TorchScript"):
        select(cases.sat_task(N, model=model, capture="all"), cases.rcs(), 4)


def test_lazy_modules_are_refused_until_they_are_made() -> None:
    """Parameters that do not exist yet raise one sentence with the remedy; after one batch the model is like any other."""
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(C)).double().train()
    with pytest.raises(HeadError, match="run one batch through it"):
        select(cases.sat_task(N, model=model), cases.rcs(), 4)
    assert model.training
    model(cases.images(2))
    assert len(select(cases.sat_task(N, model=model), cases.rcs(), 4)) == 4


class Reused(nn.Module):
    """One module under two names, which is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.first, self.fc = nn.Linear(36, 5), nn.Linear(5, 5), nn.Linear(5, C)
        self.second = self.first

    def forward(self, x: Tensor) -> Tensor:
        z = torch.tanh(self.first(torch.tanh(self.body(x.flatten(1)))))
        return self.fc(torch.tanh(self.second(z)))


def test_a_module_under_two_names_keeps_its_parameters() -> None:
    """The rows of a layer that is used twice are the loop's, and its parameters are the same objects afterwards."""
    model = cases.built(Reused)
    before, task = photograph(model), cases.sat_task(N, model=model, capture="all")
    for groups in ([[i] for i in range(N)], [[3, 1, 0, 6], [2, 4, 5]]):
        rows, _, names = opened(task, groups)
        assert torch.allclose(full(rows), sat_rows(task, names, groups), **TOL)
    assert photograph(model) == before
