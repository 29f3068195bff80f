"""Half precision where only a sign is asked for: the passes of an attack, never what a selection measures.

    x_{t+1} = Π(x_t + α·sign ∇ₓ f(x_t)),   f = loss ∘ h,   h in bfloat16, the loss and x_t in the precision of the model

Micikevicius et al., *Mixed precision training*, 2018; bfloat16 has the range of float32, so no gradient needs scaling. A step
is a sign (or a direction), which few digits decide; features, rows and RD at the attacked inputs are computed in full.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from coreselect.protocols import Attack, Views


@dataclass(frozen=True)
class HalfPrecision:
    """An attack whose forward and backward passes through the network are in bfloat16, by autocast.

    Inputs lie in the ball and the bounds of `attack` exactly, and are as reproducible. Models in double precision are left as
    they are: autocast does not lower them. About twice as fast with a ResNet-18 on a CPU that has bfloat16 instructions; one
    without takes longer.

    Args:
        attack: what walks, such as `PGD`.
    """

    attack: Attack

    @property
    def random_start(self) -> bool:
        return self.attack.random_start

    def __call__(self, ascend: Callable[[Views], Tensor], inputs: Views, noise: Views) -> Views:
        """Raise `ascend` as `attack` does; one context a pass, so that no cast made without gradients is found by one with."""

        def lowered(at: Views) -> Tensor:
            with torch.autocast(at[0].device.type, dtype=torch.bfloat16):
                return ascend(at)

        return self.attack(lowered, inputs, noise)


def raised(outputs: Tensor, to: torch.dtype) -> Tensor:
    """Outputs [B, C] in that precision, or in their own where it is higher: what a loss reads, inside autocast or not."""
    return outputs.to(torch.promote_types(outputs.dtype, to))


def in_full(outputs: Tensor) -> AbstractContextManager[object]:
    """Compute what follows the network as its tensors are: a softmax or a product of few digits is another loss."""
    return torch.autocast(outputs.device.type, enabled=False)
