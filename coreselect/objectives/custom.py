"""The objective that a user gives as a callable."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from coreselect.errors import ShapeError
from coreselect.objectives.objective import Objective
from coreselect.protocols import Attack


@dataclass(frozen=True)
class Custom(Objective):
    """A function of the outputs to lower, the same that the attack raises.

    Args:
        function: (adversarial outputs [B, C], natural outputs [B, C], labels int64 [B] or None) → [B] or a scalar,
            differentiable in both outputs; labels are None where validation has none.
        attack: the attack that raises the sum of the function; None: as for `RD`.
    Raises:
        ShapeError: the function returns another shape.
    """

    function: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    attack: Attack | None = field(default=None, kw_only=True)
    name: ClassVar[str] = "custom"

    def value(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        out = self.function(adversarial, natural, labels)
        if out.shape not in ((len(adversarial),), ()):
            raise ShapeError(f"an objective must return [{len(adversarial)}] or a scalar, got {list(out.shape)}.")
        return out
