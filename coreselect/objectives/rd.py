"""Representational divergence (RD), the objective of the method (Xu et al. 2023, section 3.1).

    L_RD(U; θ) = (1/|U|) Σ_{x ∈ U} d( h_θ(x̃), h_θ(x) ),    x̃ = argmax over the ball of the same d

The adversarial output comes first, and no side is detached. The paper sums over U. The mean differs by a constant factor
and makes the meaning of η independent of |U|.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from coreselect.divergences import divergence
from coreselect.objectives.objective import Objective
from coreselect.protocols import Attack, Divergence, Route


@dataclass(frozen=True)
class RD(Objective):
    """Representational divergence between attacked and natural validation inputs; it reads no labels.

    Args:
        divergence: `"kl"` (published), `"js"`, `"ot"`, or a callable (adversarial [B, C], natural [B, C]) → [B] or scalar.
        attack: the attack that raises d; None: 3 steps in the ball of the task's attack and its bounds;
            published: PGD with radius 8/255 and 3 steps of 10/765.
        routes: for a model with two normalisation routes: `"both"` sends natural inputs through the natural route
            (published), `"one"` sends all inputs through the adversarial route, so that RD(x, x) = 0.
        sets: how many validation examples form a set, for a divergence between sets (optimal transport).
    Raises:
        UnknownNameError: no divergence has that name.
    """

    divergence: str | Divergence = "kl"
    attack: Attack | None = field(default=None, kw_only=True)
    routes: Literal["both", "one"] = field(default="both", kw_only=True)
    sets: int = field(default=256, kw_only=True)
    name: ClassVar[str] = "rd"

    def __post_init__(self) -> None:
        divergence(self.divergence)  # refuses an unknown name at once

    def value(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        return divergence(self.divergence)(adversarial, natural)

    @property
    def natural_route(self) -> Route:  # type: ignore[override]  # derived from `routes`
        return "natural" if self.routes == "both" else "adversarial"

    @property
    def set_size(self) -> int | None:
        return self.sets if getattr(divergence(self.divergence), "setwise", False) else None

    @property
    def softmax(self) -> bool:  # type: ignore[override]  # derived from `divergence`
        return getattr(divergence(self.divergence), "softmax", False)

    @property
    def flat_at_start(self) -> bool:
        return True

    @property
    def fisher(self) -> float | None:
        return getattr(divergence(self.divergence), "fisher", None)
