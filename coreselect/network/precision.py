"""The attack of training as mixed-precision training walks it: forward and backward passes in half precision.

    x_{t+1} = Π(x_t + α·sign ∇ₓ f(x_t)),   f = loss ∘ h,   h in bfloat16, the loss and x_t in the precision of the model

Micikevicius et al., *Mixed precision training*, 2018; bfloat16 has the range of float32, so no gradient needs scaling. Few
digits decide the sign of a cross-entropy's slope, which is of order p − y. The slope of a divergence is a small difference,
p̃ − p: at 8/255 it survives, at a radius far below that it is lost in rounding, so RD is attacked in full.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from coreselect.protocols import Attack, Views


@dataclass(frozen=True)
class HalfPrecision:
    """The attack of a task, `Task.from_model(attack=HalfPrecision(PGD(...)))`, with the network's passes in bfloat16 by autocast.

    For selections, where the loss that it raises, and features and rows at the inputs it finds, are computed in full. Models in
    double precision are left as they are: autocast does not lower them. About twice as fast with a ResNet-18 on a CPU
    that has bfloat16 instructions; one without takes longer.

    Args:
        attack: what walks, such as `PGD`.
    """

    attack: Attack

    @property
    def random_start(self) -> bool:
        return self.attack.random_start

    def __call__(self, ascend: Callable[[Views], Tensor], inputs: Views, noise: Views) -> Views:
        """Raise `ascend` as `attack` does."""

        def lowered(at: Views) -> Tensor:
            # a snapshot's own context is open around this one, and would keep what is cached until it closes
            with torch.autocast(at[0].device.type, dtype=torch.bfloat16, cache_enabled=False):
                return ascend(at)

        return self.attack(lowered, inputs, noise)


def raised(outputs: Tensor, to: torch.dtype) -> Tensor:
    """Outputs [B, C] in that precision, or in their own where it is higher: what a loss reads, inside autocast or not."""
    return outputs.to(torch.promote_types(outputs.dtype, to))


def in_full(outputs: Tensor) -> AbstractContextManager[object]:
    """Compute what follows the network as its tensors are: a softmax or a product of few digits is another loss."""
    return torch.autocast(outputs.device.type, enabled=False)
