"""Representational divergence (Xu et al. 2023, section 3.1):

    L_RD(U; θ) = (1/|U|) Σ_{x ∈ U} d( h_θ(x̃), h_θ(x) ),    x̃ = argmax over the ball of the same d

adversarial first; no side is detached. The paper sums over U; the mean differs by a constant factor and keeps η's
meaning independent of |U|.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from coreselect.attacks import PGD
from coreselect.divergences import divergence
from coreselect.objectives.objective import Objective
from coreselect.protocols import Attack, Divergence, Route


@dataclass(frozen=True)
class RD(Objective):
    """Representational divergence between attacked and natural validation inputs; labels are never read.

    Args:
        divergence: `"kl"` (published), `"js"`, `"ot"`, or a callable (adversarial [B, C], natural [B, C]) → [B] or scalar.
        attack: raises d itself; published PGD, radius 8/255, 3 steps of 10/765.
        routes: with two normalisation routes, `"both"` sends natural inputs through the natural one (published), `"one"`
            sends both through the adversarial one, so that RD(x, x) = 0.
        sets: for a divergence between sets (optimal transport), how many validation examples form a set.
    """

    divergence: str | Divergence = "kl"
    attack: Attack = field(default=PGD(8 / 255, 10 / 765, 3), kw_only=True)
    routes: Literal["both", "one"] = field(default="both", kw_only=True)
    sets: int = field(default=256, kw_only=True)
    name: ClassVar[str] = "rd"

    def __post_init__(self) -> None:
        divergence(self.divergence)  # refuse an unknown name here, not an hour later

    def value(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        return divergence(self.divergence)(adversarial, natural)

    @property
    def natural_route(self) -> Route:  # type: ignore[override]  # derived from `routes`
        return "natural" if self.routes == "both" else "adversarial"

    @property
    def set_size(self) -> int | None:
        return self.sets if getattr(divergence(self.divergence), "setwise", False) else None

    @property
    def flat_at_start(self) -> bool:
        return True

    @property
    def fisher(self) -> float | None:
        return getattr(divergence(self.divergence), "fisher", None)
