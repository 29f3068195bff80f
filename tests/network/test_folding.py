"""Folding of normalisations: the same outputs and gradients to rounding, only where they are, and nothing left behind."""

from dataclasses import replace
from typing import Any

import cases
import numpy as np
import pytest
import torch
from contract import photograph
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from coreselect import select
from coreselect.network.folding import folded
from coreselect.network.network import ROUTES
from coreselect_integrations.networks import build, route_call


def plain(model: nn.Module, x: Tensor, route: Any) -> Tensor:
    return model(x)


class Net(nn.Module):
    """Two convolutions with a normalisation each, put together by `body`."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
        self.norm, self.last = nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x).mean((2, 3)))

    def body(self, x: Tensor) -> Tensor:
        return self.last(self.two(self.norm(self.one(x)).relu())).relu()


class Shared(Net):
    """The first convolution's output is read twice."""

    def body(self, x: Tensor) -> Tensor:
        z = self.one(x)
        return self.last(self.two(self.norm(z).relu())) + z


class InPlace(Net):
    """An activation in place stands between the first convolution and its normalisation."""

    def body(self, x: Tensor) -> Tensor:
        return self.last(self.two(self.norm(self.one(x).relu_())))


class Twice(Net):
    """One normalisation is used after both convolutions."""

    def body(self, x: Tensor) -> Tensor:
        return self.norm(self.two(self.norm(self.one(x)).relu()))


class Checkpointed(Net):
    """The body runs again in the backward pass."""

    def body(self, x: Tensor) -> Any:
        return checkpoint(super().body, x, use_reentrant=False)


def gradient(call: Any, model: nn.Module, x: Tensor, route: Any) -> tuple[Tensor, Tensor]:
    here = x.clone().requires_grad_()
    out = call(model, here, route)
    return out.detach(), torch.autograd.grad(out.square().sum(), here)[0]


@pytest.mark.parametrize(
    ("kind", "count"), [(Net, 2), (InPlace, 1), (Shared, None), (Twice, None), (Checkpointed, None)]
)
def test_pairs_are_folded_where_that_is_exact(kind: Any, count: int | None) -> None:
    """Each normalisation right after a convolution is; one that reads anything else, or is shared, is not."""
    model, x = cases.built(kind), cases.images(5)
    before = photograph(model)
    made = folded(model, plain, x[:3])
    assert photograph(model) == before
    assert (None if made is None else made.count) == count
    if made is not None:
        for got, want in zip(gradient(made, model, x, "natural"), gradient(plain, model, x, "natural"), strict=True):
            assert torch.allclose(got, want, rtol=0, atol=1e-12)
        assert all("forward" not in vars(m) for m in model.modules())


@pytest.mark.parametrize("arch", ["small", "resnet18"])
@pytest.mark.parametrize("loss", ["sat", "acl"])
def test_our_networks_are_folded_on_each_route(arch: str, loss: str) -> None:
    """Every convolution is, with the statistics of the route, and in single precision outputs differ by rounding alone."""
    made = cases.built(lambda: build(arch, loss, channels=1, size=8, classes=3, seed=0), dtype=torch.float32)
    x = cases.images(4, side=8, dtype=torch.float32)
    call = folded(made, route_call, x, "head")
    assert call is not None
    assert call.count == sum(isinstance(m, nn.Conv2d) for m in made.modules())
    outputs = {}
    for route in ROUTES:
        outputs[route] = call(made, x, route)
        want = route_call(made, x, route)
        assert not torch.equal(outputs[route], want)
        assert (outputs[route] - want).norm() < 1e-5 * want.norm()
    assert torch.equal(outputs["natural"], outputs["adversarial"]) == (loss == "sat")


def test_routes_that_give_equal_outputs_are_folded_each() -> None:
    """At the beginning both routes have the same statistics; the second has layers of its own, which must not run beside."""
    model = build("small", "acl", channels=3, size=8, classes=3, seed=0).double().eval()
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    made = folded(model, route_call, x, "head")
    assert made is not None
    for route in ROUTES:
        want = route_call(model, x, route)
        assert float((made(model, x, route) - want).abs().max()) < 1e-12 * float(want.abs().max())


def test_layers_that_others_read_or_that_are_of_the_head_stay() -> None:
    """Hooks see what they saw before, layers in training mode or half precision are left alone, and so is the head."""
    x = cases.images(3)
    seen: list[Tensor] = []
    model: Any = cases.built(Net)
    model.one.register_forward_hook(lambda m, args, out: seen.append(out))
    made = folded(model, plain, x)
    assert made is not None
    assert made.count == 1
    made(model, x, "natural")
    assert torch.equal(seen[-1], model.one(x))

    model = cases.built(Net)
    model.norm.train()
    assert folded(model, plain, x).count == 1  # type: ignore[union-attr]  # the other one
    assert folded(cases.built(Net, dtype=torch.bfloat16), plain, x.bfloat16()) is None
    assert folded(cases.built(Net), plain, x, without="one").count == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("make", [cases.sat_task, cases.acl_task])
def test_selections_are_the_same_and_say_what_was_folded(make: Any) -> None:
    """Picks are equal and gains agree to rounding; the record has the number; without `fold`, and for all parameters, none."""
    want, got = select(make(fold=False), cases.rcs(), 12), select(make(), cases.rcs(), 12)
    assert got.indices.tolist() == want.indices.tolist()
    assert np.allclose(got.gains, want.gains, rtol=1e-9, atol=1e-15)
    assert got.provenance.task["folded"] == 1
    assert "folded" not in want.provenance.task
    assert got.provenance.task["memory_format"] == "contiguous"
    every = make(capture="all")
    assert "folded" not in select(every, cases.rcs(), 12).provenance.task
    assert replace(every, fold=False).fold is False
