"""A user's own objective, from a callable."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from coreselect.attacks import PGD
from coreselect.errors import ShapeError
from coreselect.objectives.objective import Objective
from coreselect.protocols import Attack


@dataclass(frozen=True)
class Custom(Objective):
    """Lower function(adversarial outputs [B, C], natural outputs [B, C], labels [B] or None) → [B], which the attack raises.

    Args:
        function: differentiable in both outputs; labels are None where validation has none.
        attack: raises the function's sum.
    """

    function: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    attack: Attack = field(default=PGD(8 / 255, 10 / 765, 3), kw_only=True)
    name: ClassVar[str] = "custom"

    def value(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        out = self.function(adversarial, natural, labels)
        if out.shape not in ((len(adversarial),), ()):
            raise ShapeError(f"an objective must return [{len(adversarial)}] or a scalar, got {list(out.shape)}.")
        return out
