"""An attack with bounds refuses inputs outside them, whatever form it has; without bounds it fits inputs of any range."""

from dataclasses import dataclass
from typing import Any

import cases
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from coreselect import Normalized
from coreselect.attacks import PGD
from coreselect.errors import OutOfBoundsError, ShapeError
from coreselect.network.precision import HalfPrecision
from coreselect.support.bounds import bounds_of

RANGES = st.tuples(st.floats(-300, 300), st.floats(1e-3, 300)).map(lambda r: (r[0], r[0] + r[1]))  # (low, high)
NORMS = st.sampled_from(["linf", "l2"])


@dataclass(frozen=True)
class Own(PGD):
    """A user's subclass."""

    def __call__(self, ascend: Any, inputs: Any, noise: Any) -> Any:
        return super().__call__(ascend, inputs, noise)


def spread(low: float, high: float, n: int = 5) -> Tensor:
    """Images [n, 1, 6, 6] that reach from low to high."""
    x = cases.images(n)
    x = (x - x.min()) / (x.max() - x.min())
    return low + x * (high - low)


def ascend(views: tuple[Tensor, ...]) -> Tensor:
    """A scalar whose slopes are not zero."""
    return (views[0] ** 2).sum() + views[0].sum()


def attacked(attack: Any, x: Tensor) -> Tensor:
    """The attacked inputs, from random starts."""
    return attack(ascend, (x,), (2 * cases.images(len(x), seed=1) - 1,))[0]


@given(RANGES, st.sampled_from([PGD, Own]), NORMS)
def test_inputs_outside_the_bounds_are_refused(seen: tuple[float, float], kind: type[PGD], norm: Any) -> None:
    """The message names the range, the bounds and both ways out, for PGD, a subclass, and either in half precision."""
    attack, x = kind(0.1, 0.05, 1, norm=norm), spread(*seen)
    if seen[0] >= -1e-4 and seen[1] <= 1 + 1e-4:
        assert attacked(attack, x).shape == x.shape
        return
    for each in (attack, HalfPrecision(attack), HalfPrecision(HalfPrecision(attack))):
        assert bounds_of(each) == (0, 1)
        with pytest.raises(
            OutOfBoundsError, match=r"Normalized\(model, mean, std\), or give PGD\(..., bounds=None\)"
        ) as why:
            attacked(each, x)
        assert f"[{float(x.min()):.4g}, {float(x.max()):.4g}]" in str(why.value)


@given(RANGES, NORMS, st.integers(0, 3))
def test_without_bounds_a_radius_of_nothing_changes_nothing(seen: tuple[float, float], norm: Any, steps: int) -> None:
    """For inputs of any range, radius 0 returns them, and any radius is kept in their units."""
    x = spread(*seen)
    assert torch.equal(attacked(PGD(0.0, 1.0, steps, norm=norm, bounds=None), x), x)
    radius = 0.1 * (seen[1] - seen[0])
    away = (attacked(PGD(radius, radius, steps, norm=norm, bounds=None), x) - x).flatten(1)
    assert float((away.abs().amax(1) if norm == "linf" else away.norm(dim=1)).max()) <= radius * (1 + 1e-6) + 1e-9


@given(RANGES)
def test_bounds_of_the_data_fit_the_data(seen: tuple[float, float]) -> None:
    """An attack whose bounds are the range of the inputs takes them, and those that differ by rounding."""
    attack = PGD(0.0, 1.0, 1, bounds=seen)
    x = spread(*seen)
    assert torch.allclose(attacked(attack, x), x, rtol=0, atol=1e-9)
    width = seen[1] - seen[0]
    assert attacked(attack, x + 5e-5 * width).max() <= seen[1] + 1e-9
    with pytest.raises(OutOfBoundsError):
        attacked(attack, x + 5e-4 * width)


def test_all_views_are_looked_at_and_an_empty_batch_passes() -> None:
    """The second view is refused as the first, and no inputs are inside every bounds."""
    inside, outside = cases.images(3), cases.images(3) * 255
    attack = PGD(0.1, 0.05, 1, random_start=False)
    with pytest.raises(OutOfBoundsError):
        attack(ascend, (inside, outside), (inside, inside))
    assert attacked(PGD(0.1, 0.05, 0, random_start=False), inside[:0]).shape == (0, 1, 6, 6)


@pytest.mark.parametrize(
    ("mean", "std"), [((0.5, 0.5), (0.2,)), ((0.5,), (0.0,)), (0.5, -1.0), (float("nan"), 0.2), (0.5, float("inf"))]
)
def test_a_normalisation_that_cannot_be_is_refused(mean: Any, std: Any) -> None:
    """Means and stds are equally many and finite, and stds are above 0."""
    with pytest.raises(ShapeError, match="as many finite stds above 0"):
        Normalized(torch.nn.Identity(), mean, std)


def test_one_number_serves_all_channels_and_three_do_not_serve_one() -> None:
    """A scalar mean is every channel's; a mean of three channels is not broadcast over an image with one."""
    x = torch.rand(2, 3, 4, 4)
    assert torch.equal(
        Normalized(torch.nn.Identity(), 0.5, 0.25)(x), Normalized(torch.nn.Identity(), [0.5] * 3, [0.25] * 3)(x)
    )
    with pytest.raises(ShapeError, match="mean of 3 channels and inputs have 1"):
        Normalized(torch.nn.Identity(), [0.5] * 3, [0.25] * 3)(x[:, :1])
