"""Half precision for attacks, as in mixed-precision training: `HalfPrecision` runs an attack's passes in bfloat16.

    x_{t+1} = Π(x_t + α·sign ∇ₓ f(x_t)),   f = loss ∘ h,   h in bfloat16, the loss and x_t in the precision of the model

Micikevicius et al., *Mixed precision training*, 2018; bfloat16 has the range of float32, so gradients need no scaling.
A few digits are enough for the sign of a cross-entropy's gradient, which is of the order of p − y. The gradient of a
divergence is a small difference, p̃ − p: at a radius of 8/255 it survives, at a much smaller radius rounding hides it.
Therefore RD is always attacked in full precision.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from coreselect.protocols import Attack, Views

# What the names of --precision mean for passes through a network; None is the precision of the network.
DTYPES: Mapping[str, torch.dtype | None] = MappingProxyType({"fp32": None, "bf16": torch.bfloat16})


@dataclass(frozen=True)
class HalfPrecision:
    """An attack whose passes through the network run in bfloat16: `Task.from_model(attack=HalfPrecision(PGD(...)))`.

    It is for selections. They compute the loss that the attack raises, and the features and rows at the attacked inputs,
    in full precision. It does not change models in double precision, because autocast leaves them as they are.
    With a ResNet-18 it is about twice as fast on a CPU with bfloat16 instructions; on a CPU without them it is slower.

    Args:
        attack: the attack to run, such as `PGD`.
    """

    attack: Attack

    @property
    def random_start(self) -> bool:
        """Whether the attack starts at a random point."""
        return self.attack.random_start

    def __call__(self, ascend: Callable[[Views], Tensor], inputs: Views, noise: Views) -> Views:
        """Raise `ascend` as `attack` does; see `coreselect.protocols.Attack`."""

        def in_bfloat16(at: Views) -> Tensor:
            # the autocast context of the snapshot is open around this one, and would keep cached tensors until it closes
            with torch.autocast(at[0].device.type, dtype=torch.bfloat16, cache_enabled=False):
                return ascend(at)

        return self.attack(in_bfloat16, inputs, noise)


def precision_of(attack: Attack | None) -> str:
    """Return the name of the precision of an attack's passes, one of `DTYPES`."""
    return "bf16" if isinstance(attack, HalfPrecision) else "fp32"


def attack_in(attack: Attack, precision: str) -> Attack:
    """Return an attack with its passes in a precision of this name, one of `DTYPES`."""
    return attack if DTYPES[precision] is None else HalfPrecision(attack)


def at_least(outputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the outputs [B, C] in `dtype`, or in their own precision where it is higher."""
    return outputs.to(torch.promote_types(outputs.dtype, dtype))


def without_autocast(outputs: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off on the device of the outputs, so that a loss computes in the precision of its tensors."""
    return torch.autocast(outputs.device.type, enabled=False)
