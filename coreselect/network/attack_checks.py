"""The check that an attack inside a model reaches its output, made once on a few inputs before any sweep."""

from functools import partial
from typing import Any

import torch
from torch import nn

from coreselect.errors import HeadError
from coreselect.network.attack_at import AttackAt
from coreselect.network.hooks import hooked
from coreselect.protocols import Call


def refuse_wrong_place(at: AttackAt, model: nn.Module, call: Call, head: str | None, probe: Any) -> None:
    """Refuse a submodule whose output does not reach the features, or that runs again in the backward pass.

    Args:
        call: (model, x, route) → output [B, C], without perturbed inputs.
        head: the name of the head, if features are computed before it.
        probe: a few inputs [B, …].
    Raises:
        HeadError, ShapeError: see above, and `AttackAt.point`.
    """
    if head is not None and (at.module == head or at.module.startswith(f"{head}.")):
        raise HeadError(
            f"the submodule {at.module!r} of attack_at lies in the head {head!r}, and features are computed before it: name "
            "a submodule before the head, or another head with head=."
        )
    point = at.point(model, probe, call)
    delta = point.centre.clone().requires_grad_()
    calls: list[int] = []
    slope = None
    count = partial(at.find(model).register_forward_hook, lambda _m, _args, _out: calls.append(1))
    with hooked([count]), torch.enable_grad():
        outputs = at.run(model, point.placed(delta), call)
        try:
            if outputs.requires_grad:
                (slope,) = torch.autograd.grad(outputs.sum(), delta, allow_unused=True)
        except RuntimeError:  # checkpoints that run again see other tensors
            if len(calls) < 2:
                raise
    if len(calls) > 1:
        raise HeadError(
            f"the submodule {at.module!r} of attack_at runs again in the backward pass (gradient checkpointing), without the "
            "attack: switch checkpointing off, or name a submodule outside it."
        )
    if slope is None:
        raise HeadError(
            f"no gradient flows from the model's output to the output of the submodule {at.module!r} of attack_at (it is not "
            "used, or runs under no_grad): name another submodule."
        )
