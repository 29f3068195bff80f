"""Gains of any size are shown: infinite ones are counted and left out, and large ones overflow no bar."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from coreselect.cli.show import _gains


def shown(*gains: float) -> str:
    """Return the text that a user sees."""
    out = StringIO()
    with np.errstate(all="raise"):
        Console(file=out, width=100).print(_gains(np.array(gains)))
    return out.getvalue()


@pytest.mark.parametrize("endless", [np.inf, -np.inf])
def test_infinite_gains_are_counted_and_left_out(endless: float) -> None:
    """The bars and the sum are those of the others."""
    text = shown(3.0, endless, 1.0)
    assert text == shown(3.0, 1.0).rstrip("\n") + "\n1 others are infinite, and left out here\n"
    assert shown(endless, 0.0).strip() == "1 gains of 2 are infinite, and the others 0"


def test_the_bars_of_large_gains_are_those_of_small_ones() -> None:
    """Only their ratio counts; a sum that is no number any more is infinite."""
    small, large = (shown(*(scale * np.array([1.7, 1.7, -0.5]))) for scale in (1.0, 1e308))
    assert small.splitlines()[0] == large.splitlines()[0]
    assert "sum inf" in large
