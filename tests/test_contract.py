"""Every selector keeps the contract, alone and inside the combinators."""

from collections.abc import Callable
from typing import Any, cast

import cases
import pytest
from contract import SelectorContract

from coreselect import Selector
from coreselect.selectors import (
    RCS,
    RS2,
    SELECTORS,
    Mixture,
    PerClass,
    Random,
    RCSSampled,
    Redraw,
    Windowed,
)

pytestmark = pytest.mark.filterwarnings("ignore::coreselect.selectors.rcs.SingleExamplesWarning")


class TestRCS(SelectorContract):
    """Groups of three, as published."""

    make = staticmethod(cases.rcs)


class TestRCSWithDefaults(SelectorContract):
    """Default group size."""

    make = staticmethod(lambda: cases.rcs(group_size=None))


class TestRCSOfExamples(SelectorContract):
    """Single examples."""

    order_free = True
    make = staticmethod(lambda: cases.rcs(groups="example", group_size=None))


class TestRCSRecrafting(SelectorContract):
    """The letter of Algorithm 1: attacked anew at every pick."""

    tasks = ("sat",)
    make = staticmethod(lambda: cases.rcs(recraft="every"))

    test_copes_with_zero_gradients = None  # type: ignore[assignment]  # arrays cannot be attacked


class TestRCSContrastive(SelectorContract):
    """Plain groups without labels."""

    tasks = ("sat", "acl")
    make = staticmethod(lambda: cases.rcs(stratify=None, refresh=2, certify="sampled"))
    test_copes_with_zero_gradients = None  # type: ignore[assignment]  # a sampled certificate needs values


class TestRCSByClusters(SelectorContract):
    """Groups balanced over clusters of the features."""

    make = staticmethod(lambda: cases.rcs(stratify="clusters", clusters=3))


class TestRCSSampled(SelectorContract):
    """Drawn with probability rising in the gain."""

    make = staticmethod(lambda: RCSSampled(objective=cases.RD_WEAK))


class TestRandom(SelectorContract):
    """Uniform, once."""

    reads_pool = False
    make = staticmethod(Random)


class TestRedraw(SelectorContract):
    """Uniform, anew every round."""

    reads_pool = False
    make = staticmethod(Redraw)


class TestRS2(SelectorContract):
    """Uniform, anew every epoch, without repetition."""

    reads_pool = False
    make = staticmethod(RS2)


class TestPerClassOfRCS(SelectorContract):
    """RCS inside each class."""

    make = staticmethod(lambda: PerClass(cases.rcs()))


class TestPerClassOfRedraw(SelectorContract):
    """Uniform inside each class."""

    reads_pool = False
    make = staticmethod(lambda: PerClass(Redraw()))


class TestWindowedRCS(SelectorContract):
    """RCS window by window."""

    make = staticmethod(lambda: Windowed(cases.rcs(), window=10))


class TestWindowedRedraw(SelectorContract):
    """Uniform window by window."""

    reads_pool = False
    make = staticmethod(lambda: Windowed(Redraw(), window=10))


class TestMixture(SelectorContract):
    """RCS, weighted draws and plain draws share one budget."""

    make = staticmethod(lambda: Mixture((cases.rcs(), RCSSampled(objective=cases.RD_WEAK), Redraw()), shares=(2, 1, 1)))


def test_every_selector_is_under_contract() -> None:
    """No selector is registered that no class of this file holds to the contract."""
    held: set[str] = set()

    def name(selector: Selector) -> None:
        held.add(selector.name)

    for cls in SelectorContract.__subclasses__():
        name(cast(Any, cls).make())
    assert held == set(SELECTORS)


@pytest.mark.parametrize("make", [RCS, RCSSampled, Random, Redraw, RS2])
def test_published_defaults_make_a_selector(make: Callable[[], Selector]) -> None:
    """Every method can be made without arguments."""
    assert isinstance(make(), Selector)
