"""PGD, the attack by projected gradient ascent on the inputs.

    x₀ = Π(x + r·u),  u ~ U[−1, 1]        x_{t+1} = Π(x_t + α·sign ∇ₓ f(x_t))          (l∞)
    x₀ = Π(x + r·v),  v uniform in the unit ball   x_{t+1} = Π(x_t + α·∇ₓf/‖∇ₓf‖₂)      (l₂)

Π projects onto the ball of radius r around x, and then onto the bounds of the inputs. Inputs outside the bounds are refused,
because Π would move them further than r. Only gradients of inputs are computed; a NaN in ∇ₓf counts as 0.
Source: Madry et al., *Towards deep learning models resistant to adversarial attacks*, 2018.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from coreselect.errors import HeadError, ShapeError
from coreselect.protocols import Views
from coreselect.support.bounds import check_within

NORMS = ("linf", "l2")


def short_step(radius: float, steps: int) -> float:
    """Return the size of a step where `steps` of them walk 1¼ radii in all; without a radius, any positive step serves."""
    return 1.25 * radius / max(1, steps) or 1.0


@dataclass(frozen=True)
class PGD:
    """An attack by projected gradient ascent.

    Args:
        radius: r ≥ 0, the radius of the ball, in units of the inputs (8/255 for images in [0, 1]).
        step: α > 0, in the same units; it may be larger than the radius, because every step is projected.
        steps: the number of gradient steps, ≥ 0; with 0 steps the attack returns its random start.
        norm: `linf` or `l2`.
        random_start: start at a uniform random point of the ball, otherwise at x.
        bounds: (low, high), the range of valid inputs, or None, which fits inputs of any range.
    Raises:
        ShapeError: one of the settings is out of range.
        OutOfBoundsError: the attack is called with inputs outside the bounds by more than 0.0001 of their width.

    Source: Madry et al. 2018, section 2.1; all views together as in Kim et al. 2020 (RoCL) and Jiang et al. 2020 (ACL).
    """

    radius: float
    step: float
    steps: int
    norm: Literal["linf", "l2"] = field(default="linf", kw_only=True)
    random_start: bool = field(default=True, kw_only=True)
    bounds: tuple[float, float] | None = field(default=(0.0, 1.0), kw_only=True)

    def __post_init__(self) -> None:
        if not (self.radius >= 0 and self.step > 0 and self.steps >= 0):
            raise ShapeError(
                f"PGD needs radius ≥ 0, step > 0 and steps ≥ 0, got radius={self.radius}, step={self.step}, steps={self.steps}."
            )
        if self.norm not in NORMS:
            raise ShapeError(f"PGD has the norms {' and '.join(NORMS)}, got {self.norm!r}.")
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ShapeError(f"PGD bounds must be (low, high) with low < high, got {self.bounds}.")

    def __call__(self, ascend: Callable[[Views], Tensor], inputs: Views, noise: Views) -> Views:
        """Raise `ascend` on all views together, each view in its own ball.

        Args:
            ascend: views → scalar, a sum over examples, so that the gradient of one example does not depend on the others.
            inputs: one tensor [B, …] for each view.
            noise: uniform in [−1, 1), one tensor [B, …] for each view; each example has its own draws. Entries of exactly 0 do
                not count as dimensions of the ball: they are where nothing may move, as at padding.
        Returns:
            One detached tensor [B, …] for each view, inside the ball and the bounds.
        Raises:
            OutOfBoundsError: inputs lie outside the bounds.
            HeadError: no gradient flows from `ascend` to the inputs.
        """
        for x in inputs:
            check_within(x, self.bounds)
        at = tuple(
            self._project(x + self._start(n), x) if self.random_start else x for x, n in zip(inputs, noise, strict=True)
        )
        for _ in range(self.steps):
            at = tuple(x.detach().requires_grad_() for x in at)
            with torch.enable_grad():
                slopes = slopes_at(ascend(at), at)
            at = tuple(
                self._project(a.detach() + self.step * self._direction(g), x)
                for a, g, x in zip(at, slopes, inputs, strict=True)
            )
        return tuple(a.detach() for a in at)

    def _start(self, noise: Tensor) -> Tensor:
        if self.norm == "linf":
            return self.radius * noise
        # g = √2·erfinv(u) is Gaussian, so its direction is uniform. P(d/2, ‖g‖²/2), with P the regularised gamma function,
        # is the probability of a shorter g: it is uniform in [0, 1] and independent of the direction. Its d-th root is the
        # length of a uniform point of the unit ball.
        wide = torch.erfinv(noise.double().clamp(-1 + 1e-7, 1 - 1e-7))  # [B, …] g / √2
        length = wide.flatten(1).norm(dim=1)  # [B]
        half = (noise != 0).flatten(1).sum(1).clamp_min(1) / 2  # [B]
        half = half.to(length)
        share = torch.special.gammainc(half, length**2) ** (0.5 / half)  # [B]
        return (self.radius * _per_example(share, wide) * self._direction(wide)).to(noise.dtype)

    def _direction(self, slope: Tensor) -> Tensor:
        if self.norm == "linf":
            return torch.nan_to_num(slope.sign(), nan=0.0)
        slope = torch.nan_to_num(slope, nan=0.0)  # one bad entry moves no other; infinity becomes the largest number
        slope = slope / _per_example(
            _or_one(slope.flatten(1).abs().amax(dim=1)), slope
        )  # squares neither vanish nor overflow
        return slope / _per_example(_or_one(slope.flatten(1).norm(dim=1)), slope)

    def _project(self, at: Tensor, centre: Tensor) -> Tensor:
        if self.norm == "linf":
            at = torch.clamp(at, centre - self.radius, centre + self.radius)
        else:
            away = at - centre
            length = away.flatten(1).norm(dim=1)  # [B]
            at = centre + away * _per_example((self.radius / length.clamp_min(1e-30)).clamp_max(1.0), away)
        return at if self.bounds is None else at.clamp(*self.bounds)


def slopes_at(value: Tensor, at: Views) -> Views:
    """Return the gradient of a scalar with respect to each view [B, …].

    Raises:
        HeadError: the value does not depend on a view, as far as autograd sees.
    """
    found = torch.autograd.grad(value, at, allow_unused=True) if value.requires_grad else (None,)
    slopes = tuple(slope for slope in found if slope is not None)
    if len(slopes) < len(at):
        raise HeadError(
            "no gradient flows from the model's output to its inputs, so they cannot be attacked: let no part of forward run "
            "under no_grad or detach(), or use a loss and a method that attack nothing."
        )
    return slopes


def _or_one(lengths: Tensor) -> Tensor:
    """Replace lengths of zero by one, so that a zero vector divided by its length stays zero."""
    return torch.where(lengths > 0, lengths, torch.ones_like(lengths))


def _per_example(values: Tensor, like: Tensor) -> Tensor:
    """Return a view of [B] that broadcasts over [B, …]."""
    return values.view(-1, *[1] * (like.dim() - 1))
