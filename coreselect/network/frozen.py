"""The guard around everything that a selection does with a model: it restores the model afterwards, also on failure."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import torch
from torch import nn

from coreselect.errors import RequirementError, first_few
from coreselect.network.arithmetic import exact_arithmetic
from coreselect.network.modes import evaluating
from coreselect.network.own_forward import own_forward
from coreselect.support.interruptions import whole
from coreselect.support.seeding import rng_kept

# what the wrapper of Lightning Fabric holds; its `module` is the model
FABRIC = ("_forward_module", "_original_module", "_strategy")
FSDP1 = "_fsdp_wrapped_module"  # what the wrapper of FSDP1 calls the module inside; it is `module` too


def unwrap(model: nn.Module) -> nn.Module:
    """Return the module inside any DistributedDataParallel, DataParallel, FSDP1, torch.compile and Lightning Fabric wrappers."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel) or hasattr(model, FSDP1):
            model = cast(nn.Module, model.module)
        elif hasattr(model, "_orig_mod"):
            model = cast(nn.Module, model._orig_mod)
        elif all(hasattr(model, n) for n in FABRIC):
            model = cast(nn.Module, model.module)
        else:
            return model


def uncompiled() -> AbstractContextManager[object]:
    """Run compiled parts of a model as plain Python: hooks and exchanged parameters do not reach into a cached graph."""
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):  # nothing is compiled
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


def refuse_meta(model: nn.Module) -> None:
    """Refuse a model whose parameters have no values.

    Raises:
        RequirementError: parameters are on the device `meta`.
    """
    empty = [n for n, p in model.named_parameters() if p.is_meta]
    if empty:
        raise RequirementError(
            f"the model's parameters {first_few(empty, 3)} are on the device meta, where they have no values: load the weights "
            "(model.to_empty(device=...), then load_state_dict) first."
        )


@contextmanager
@whole
def frozen(model: nn.Module, note: Callable[[str], None] = lambda operation: None) -> Iterator[nn.Module]:
    """Give the model without wrappers, in evaluation mode and with no `requires_grad`, and restore everything afterwards.

    The guard restores the training flag of every module, `requires_grad` of every parameter, the content of every buffer
    and every global random state, also when the body raises. Layers whose `train()` or `eval()` change more than a flag get
    their parameters and contents back too (`coreselect.network.modes`). Inside, the caller's autocast, `no_grad` and
    inference mode are off, also the autocast that Accelerate puts into a model (`coreselect.network.own_forward`), and compiled
    parts run as plain Python, so that none of these changes a selection. Products of float32 are computed in float32, and on a
    GPU with deterministic kernels (`coreselect.network.arithmetic`). The guard never touches `.grad`.

    Args:
        note: called with the name of an operation that has no deterministic kernel on the model's device.
    Raises:
        RequirementError: parameters are on the device `meta`.
    """
    bare = unwrap(model)
    refuse_meta(bare)
    grads = [(p, p.requires_grad) for p in bare.parameters() if not nn.parameter.is_lazy(p)]
    buffers = [
        (m, name, b, b.detach().clone())
        for m in bare.modules()
        for name, b in m._buffers.items()
        if b is not None and not nn.parameter.is_lazy(b)
    ]
    device = next((p.device for p in bare.parameters()), torch.device("cpu"))
    with rng_kept():
        try:
            with own_forward(bare), evaluating(bare):
                for p in bare.parameters():
                    if not nn.parameter.is_lazy(p):
                        p.requires_grad_(False)
                with (
                    uncompiled(),
                    torch.inference_mode(False),
                    torch.enable_grad(),
                    torch.autocast(device.type, enabled=False),
                    exact_arithmetic(device, note),
                ):
                    yield bare
        finally:
            for p, asked in grads:
                p.requires_grad_(asked)
            with torch.no_grad():
                for m, name, b, was in buffers:
                    m._buffers[name] = b  # a forward pass may have put another tensor there
                    if not torch.equal(b, was):
                        b.copy_(was)
