"""σ of Theorem 2 from Lipschitz constants that the caller knows.

    σ = 1 + ν₁ + ν₂·L₂ + η·M·L₂·( L₁ + η·kN·(L₁·L₄ + L₂·L₃) ),   ν₁, ν₂ → 0

Source: Xu et al., "Efficient Adversarial Contrastive Learning via Robustness-Aware Coreset Selection", NeurIPS 2023, section 3.
"""

import math
from dataclasses import dataclass

from coreselect.errors import RequirementError


@dataclass(frozen=True, slots=True)
class Lipschitz:
    """The constants of Theorem 2.

    Args:
        rd, training: L₁ and L₂ ≥ 0, of the divergence and of the training loss as functions of the parameters.
        rd_gradient, training_gradient: L₃ and L₄ ≥ 0, of their gradients.
        size: M ≥ 1, the number of validation examples.
    Raises:
        RequirementError: a constant is out of range.
    """

    rd: float
    training: float
    rd_gradient: float
    training_gradient: float
    size: float

    def __post_init__(self) -> None:
        constants = (self.rd, self.training, self.rd_gradient, self.training_gradient)
        if not all(0 <= c < math.inf for c in constants) or not 1 <= self.size < math.inf:
            why = f"Theorem 2 needs constants L₁…L₄ of at least 0 and M of at least 1, got {(*constants, self.size)}."
            raise RequirementError(why)

    def sigma(self, eta: float, picks: int) -> float:
        """Return σ ≥ 1 for a step size η and kN picked groups; ν₁ and ν₂ are taken as 0, their limit."""
        inner = self.rd + eta * picks * (self.rd * self.training_gradient + self.training * self.rd_gradient)
        return 1.0 + eta * self.size * self.training * inner
