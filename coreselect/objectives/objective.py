"""The seam of objectives: a value on outputs at attacked and natural inputs, and what the attack raises."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from coreselect.protocols import Attack, Route


class Objective(ABC):
    """L(U; θ) = mean over U of `value`; lower is better.

    Subclasses are frozen dataclasses: equal settings are equal objects, and `coreselect.support.records` can describe them.
    """

    name: ClassVar[str]
    needs_labels: ClassVar[bool] = False
    attack: Attack
    natural_route: Route = "natural"  # which statistics natural inputs see; adversarial ones see the adversarial route

    @abstractmethod
    def value(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        """[B, C], [B, C], [B] → [B], or a scalar where the value is of the whole set."""

    def ascend(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        """What the attack raises: a scalar, summed over examples; by default the value itself."""
        out = self.value(adversarial, natural, labels)
        return out.sum() if out.dim() else out * len(adversarial)

    @property
    def set_size(self) -> int | None:
        """Over how many examples one value is taken; None: each by itself."""
        return None

    @property
    def flat_at_start(self) -> bool:
        """Whether the attacked value's gradient vanishes at x̃ = x when both see one route."""
        return False

    @property
    def fisher(self) -> float | None:
        """The value's second derivative at equal outputs, in units of diag p − p pᵀ; None: not of that form."""
        return None
