"""N-FGSM, a one-step attack whose noise is wider than the ball and whose result is not projected onto it.

    x₀ = Π(x + kr·u),  u ~ U[−1, 1]        x̃ = Π(x₀ + α·sign ∇ₓ f(x₀))

Π clips to the bounds of the inputs only. So ‖x̃ − x‖∞ may reach kr + α. That is what delays catastrophic overfitting, and it is
for training alone: an accuracy under this attack belongs to no ball.
Source: de Jorge et al., *Make some noise: reliable and efficient single-step adversarial training*, NeurIPS 2022 (k = 2, α = r).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from coreselect.attacks import slopes_at
from coreselect.errors import ShapeError
from coreselect.protocols import Views
from coreselect.support.bounds import check_within


@dataclass(frozen=True)
class NFGSM:
    """A training attack: wide noise, then signed steps that are not projected.

    Args:
        radius: r ≥ 0, in units of the inputs (8/255 for images in [0, 1]); it is the scale of the noise.
        step: α > 0, in the same units; as published, r.
        steps: of the gradient, ≥ 0; 1 is the published attack.
        noise: k ≥ 0, the largest noise in radii; as published, 2.
        bounds: (low, high), the range of valid inputs, or None, which fits inputs of any range.
    Raises:
        ShapeError: one of the settings is out of range.
        OutOfBoundsError: the attack is called with inputs outside the bounds.

    Source: de Jorge et al., NeurIPS 2022, algorithm 1.
    """

    radius: float
    step: float
    steps: int = 1
    noise: float = field(default=2.0, kw_only=True)
    bounds: tuple[float, float] | None = field(default=(0.0, 1.0), kw_only=True)
    random_start: bool = field(default=True, init=False)
    norm: str = field(default="linf", init=False)

    def __post_init__(self) -> None:
        if not (self.radius >= 0 and self.step > 0 and self.steps >= 0 and self.noise >= 0):
            raise ShapeError(
                "N-FGSM needs radius ≥ 0, step > 0, steps ≥ 0 and noise ≥ 0, got "
                f"radius={self.radius}, step={self.step}, steps={self.steps}, noise={self.noise}."
            )
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ShapeError(f"N-FGSM bounds must be (low, high) with low < high, got {self.bounds}.")

    def __call__(self, ascend: Callable[[Views], Tensor], inputs: Views, noise: Views) -> Views:
        """Raise `ascend` on all views together.

        Args:
            ascend: views → scalar, a sum over examples.
            inputs: one tensor [B, …] for each view.
            noise: uniform in [−1, 1), one tensor [B, …] for each view.
        Returns:
            One detached tensor [B, …] for each view, inside the bounds.
        Raises:
            OutOfBoundsError: inputs lie outside the bounds.
            HeadError: no gradient flows from `ascend` to the inputs.
        """
        for x in inputs:
            check_within(x, self.bounds)
        at = tuple(self._clip(x + self.noise * self.radius * u) for x, u in zip(inputs, noise, strict=True))
        for _ in range(self.steps):
            at = tuple(x.detach().requires_grad_() for x in at)
            with torch.enable_grad():
                slopes = slopes_at(ascend(at), at)
            at = tuple(
                self._clip(a.detach() + self.step * torch.nan_to_num(g.sign(), nan=0.0))
                for a, g in zip(at, slopes, strict=True)
            )
        return tuple(a.detach() for a in at)

    def _clip(self, at: Tensor) -> Tensor:
        return at if self.bounds is None else at.clamp(*self.bounds)
