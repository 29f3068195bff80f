"""What training loops need for their attacks: a check that loss and attack fit, and random starts."""

import torch
from torch import Tensor

from coreselect.errors import RequirementError
from coreselect.protocols import Attack, Loss
from coreselect_integrations.training.shares import uniform


def check_attack(loss: Loss, attack: Attack | None) -> None:
    """Check that a loss and an attack fit together.

    Raises:
        RequirementError: the loss reads attacked inputs and there is no attack, or the other way round; or the attack
            starts where its gradient is zero.
    """
    attacked = any(route == "adversarial" for route, _ in loss.streams)
    if attacked and attack is None:
        why = f"the loss {loss.name!r} needs attacked inputs, but there is no attack: give one, such as PGD(8 / 255, 2 / 255, 10)."
        raise RequirementError(why)
    if attack is not None and not attacked:
        why = f"the loss {loss.name!r} reads natural inputs only, but there is an attack: give attack=None."
        raise RequirementError(why)
    if attack is not None and getattr(loss, "flat_at_start", False) and not attack.random_start:
        why = f"an attack on the divergence in {loss.name!r} has zero gradient at x̃ = x: use random_start=True."
        raise RequirementError(why)


def random_start(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw uniform numbers in [−1, 1) of the shape of `x`, on the generator's device, and move them to that of `x`."""
    pin = x.device.type == "cuda" and generator.device.type == "cpu"  # a copy from there does not wait
    u = uniform(x.shape, generator, pin_memory=pin)
    return u.mul_(2).sub_(1).to(x.device, x.dtype, non_blocking=x.device.type != "cpu")
