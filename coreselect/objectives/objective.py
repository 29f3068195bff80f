"""The interface of objectives: a value from the outputs at attacked and natural inputs, and what the attack raises."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from coreselect.protocols import Attack, Route


class Objective(ABC):
    """L(U; θ), the mean of `value` over U; lower is better.

    Subclasses are frozen dataclasses, so that equal settings are equal objects and `coreselect.support.records` can
    describe them. `attack` may be None: then it follows the task's attack (`objectives/following.py`). `softmax` says whether
    the value compares softmaxes, which need two or more outputs. `natural_route` is the route of natural inputs; adversarial
    inputs always use the adversarial route.
    """

    name: ClassVar[str]
    needs_labels: ClassVar[bool] = False
    softmax: ClassVar[bool] = False
    attack: Attack | None
    natural_route: Route = "natural"

    @abstractmethod
    def value(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        """Compute the value from outputs [B, C], [B, C] and labels [B]: [B], or a scalar if it is a value of the whole set."""

    def ascend(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        """Compute the scalar that the attack raises, summed over examples; by default the value itself."""
        out = self.value(adversarial, natural, labels)
        return out.sum() if out.dim() else out * len(adversarial)

    @property
    def set_size(self) -> int | None:
        """The number of examples that one value is computed over; None: each example has its own value."""
        return None

    @property
    def flat_at_start(self) -> bool:
        """Whether the gradient of the attacked value is zero at x̃ = x when both inputs use one route."""
        return False

    @property
    def fisher(self) -> float | None:
        """The second derivative of the value at equal outputs, in units of diag p − p pᵀ; None: it has another form."""
        return None
