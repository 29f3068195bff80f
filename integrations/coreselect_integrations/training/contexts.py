"""Context managers around forward passes: a model held in evaluation mode, and mixed precision."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from coreselect.protocols import Call, Route


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Hold `model` in evaluation mode, with `requires_grad` off for every parameter; restore both at the end.

    The states are restored after an error too. Gradients with respect to inputs still flow, even if the caller is inside
    `no_grad` or inference mode. A gradient step then costs about one forward pass less than with trainable parameters.
    """
    modes = [(m, m.training) for m in model.modules()]
    flags = [(p, p.requires_grad) for p in model.parameters()]
    try:
        model.eval()
        for p, _ in flags:
            p.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for m, training in modes:
            m.training = training
        for p, flag in flags:
            p.requires_grad_(flag)


def called_in(call: Call, precision: torch.dtype | None) -> Call:
    """Return a call of a network in mixed precision, with outputs in float32; None keeps the network's precision."""
    if precision is None:
        return call

    def lowered(model: nn.Module, x: Any, route: Route) -> Tensor:
        with mixed_precision(x, precision):
            return call(model, x, route).float()

    return lowered


def mixed_precision(x: Tensor, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Run one forward pass in bfloat16 or float16 on the device of `x`; None keeps the model's precision.

    Use a new context for each forward pass. A context caches the weights that it has cast, and a cast made without
    gradients must not be used by a pass that needs them.
    """
    return nullcontext() if dtype is None else torch.autocast(x.device.type, dtype=dtype)
