"""The range of inputs against the bounds of an attack, which would otherwise clip what lies outside without a word."""

import math
from typing import Any

import torch
from torch import Tensor

from coreselect.errors import OutOfBoundsError
from coreselect.support.late_checks import check_late

TOLERANCE = 1e-4  # of the width of the bounds: so far outside, inputs differ by rounding alone, and are clipped

Range = tuple[float, float]  # (smallest, largest) value


def bounds_of(attack: Any) -> Range | None:
    """Return the bounds of an attack, or of the attack inside a wrapper such as `HalfPrecision`; None if there are none."""
    while attack is not None and not hasattr(attack, "bounds"):
        attack = getattr(attack, "attack", None)
    bounds = getattr(attack, "bounds", None)
    return None if bounds is None else (float(bounds[0]), float(bounds[1]))


def range_of(x: Tensor) -> Range:
    """Return the smallest and the largest value of inputs, (0, 0) for none; NaN if one is NaN."""
    if not x.numel():
        return 0.0, 0.0
    low, high = torch.stack(torch.aminmax(x.detach())).tolist()  # one transfer from an accelerator
    return low, high


def known_range(x: Any) -> Range | None:
    """Return the smallest and the largest value of inputs.

    It is None for integers, and for values that are not finite, which other checks name better.
    """
    seen = range_of(x) if isinstance(x, Tensor) and x.is_floating_point() else None
    return seen if seen is not None and all(map(math.isfinite, seen)) else None


def check_range(seen: Range, bounds: Range | None, what: str = "inputs", who: str = "the attack") -> None:
    """Check that inputs of this range lie inside the bounds of an attack.

    Args:
        seen: the smallest and the largest value; NaN passes, because other checks name it better.
        bounds: (low, high), or None, which every range fits.
        what, who: the inputs and the attack in the message.
    Raises:
        OutOfBoundsError: a value is outside by more than `TOLERANCE` of the width of the bounds.
    """
    if bounds is None:
        return
    slack = TOLERANCE * (bounds[1] - bounds[0])
    if seen[0] < bounds[0] - slack or seen[1] > bounds[1] + slack:
        raise OutOfBoundsError(
            f"{what} lie in [{seen[0]:.4g}, {seen[1]:.4g}], outside the bounds [{bounds[0]:g}, {bounds[1]:g}] to which {who} "
            "clips them: give inputs inside the bounds and normalise in the model, coreselect.Normalized(model, mean, std), "
            "or give PGD(..., bounds=None) with radius and step in the units of these inputs."
        )


def check_within(x: Tensor, bounds: Range | None, what: str = "inputs") -> None:
    """Check that inputs [B, …] lie inside bounds; on a device, the answer may come later (`coreselect.support.late_checks`).

    Raises:
        OutOfBoundsError: see `check_range`.
    """
    if bounds is None or not x.numel():
        return
    check_late(torch.stack(torch.aminmax(x.detach())), lambda seen: check_range(tuple(seen.tolist()), bounds, what))


def check_inputs(x: Tensor, attack: Any, what: str = "inputs") -> None:
    """Check that inputs [B, …] lie inside the bounds of an attack; it costs one pass over them, without bounds nothing.

    Raises:
        OutOfBoundsError: see `check_range`.
    """
    check_within(x, bounds_of(attack), what)
