"""Two-route networks with names of their own: recognised from the network, or named; never a KeyError."""

from typing import Any

import cases
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from coreselect import select
from coreselect.errors import HeadError
from coreselect.network.normalized import Normalized
from coreselect.network.routes import PAIRS
from coreselect.selectors import CRAIG


class Keyed(nn.Module):
    """A network whose two normalisations lie in a ModuleDict under names of its own."""

    def __init__(self, names: tuple[str, str] = ("normal", "pgd")) -> None:
        super().__init__()
        self.body, self.fc = nn.Linear(36, 5), nn.Linear(5, cases.CLASSES)
        self.norms = nn.ModuleDict({n: nn.BatchNorm1d(5) for n in names})

    def forward(self, x: Tensor, bn_name: str) -> Tensor:
        return self.fc(torch.relu(self.norms[bn_name](self.body(x.flatten(1)))))


class Defaulted(Keyed):
    """The same with a default route, as in the papers' programs."""

    def forward(self, x: Tensor, bn_name: str = "normal") -> Tensor:
        return super().forward(x, bn_name)


class Compared(nn.Module):
    """A network that compares the name in its code."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc = nn.Linear(36, 5), nn.Linear(5, cases.CLASSES)
        self.norms = nn.ModuleDict({n: nn.BatchNorm1d(5) for n in "ab"})

    def forward(self, x: Tensor, bn: str) -> Tensor:
        first, second = self.norms.values()
        if bn not in ("clean", "adv"):
            raise ValueError(f"unknown {bn}")
        return self.fc(torch.relu((second if bn == "adv" else first)(self.body(x.flatten(1)))))


def picks(model: nn.Module, **settings: Any) -> Any:
    """What RCS picks."""
    return select(cases.sat_task(16, model=model, **settings), cases.rcs(), 6).indices.tolist()


def by_hand(names: tuple[str, str]) -> Any:
    """A call that translates the routes."""
    return lambda m, x, route: m(x, names[route == "adversarial"])


WANT = picks(cases.built(Keyed), call=by_hand(("normal", "pgd")))


@pytest.mark.parametrize("model", [Keyed, Defaulted, Compared])
def test_names_are_recognised(model: Any) -> None:
    """From keys of a ModuleDict, with and without a default route, and from comparisons in the code; also inside Normalized."""
    net = cases.built(model)
    assert picks(net) == WANT
    assert picks(nn.DataParallel(net)) == WANT
    inside = Normalized(net, [0.0], [1.0]).double()
    assert picks(inside) == WANT
    with cases.sat_task(16, model=net).snapshot(0, 0) as shot:
        assert shot.net.routes == 2  # type: ignore[attr-defined]


@given(pair=st.sampled_from(PAIRS), turned=st.booleans())
@settings(max_examples=11, deadline=None)
def test_every_known_pair_is_recognised_in_any_order(pair: tuple[str, str], turned: bool) -> None:
    """Whatever the order of the keys, attacked inputs take the adversarial route."""
    net = cases.built(lambda: Keyed((pair[1], pair[0]) if turned else pair))
    assert picks(net) == picks(net, call=by_hand(pair))


@given(names=st.lists(st.from_regex(r"[a-z]{2,6}_x", fullmatch=True), min_size=2, max_size=2, unique=True))
@settings(max_examples=8, deadline=None)
def test_any_names_can_be_given(names: list[str]) -> None:
    """Names that nobody knows are refused in one sentence that shows how to give them; given, the picks are right."""
    first, second = names
    net = cases.built(lambda: Keyed((first, second)))
    with pytest.raises(HeadError, match=rf"--routes {first},{second}"):
        picks(net)
    assert picks(net, routes=names) == WANT
    assert picks(net, routes=names, call=lambda m, x, name: m(x, bn_name=name)) == WANT


def test_wrong_names_are_no_key_error() -> None:
    """Routes that the network does not have, one name, and routes for a network without them raise one sentence."""
    for model, routes, told in (
        (Keyed, ("normal", "adversary"), "no route 'adversary'"),
        (Keyed, ("normal",), "two different names"),
        (cases.ConvNet, ("normal", "pgd"), "takes no second argument"),
    ):
        with pytest.raises(HeadError, match=told) as caught:
            select(cases.sat_task(16, model=cases.built(model), routes=routes), CRAIG(), 4)
        assert "\n" not in str(caught.value)


def test_a_network_without_routes_is_called_as_before() -> None:
    """A second argument of another meaning is left alone."""

    class Scaled(cases.ConvNet):
        def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
            return super().forward(scale * x)

    assert np.array_equal(picks(cases.built(Scaled)), picks(cases.built(cases.ConvNet)))
