"""A model's own forward pass in place of the one that Accelerate puts around it for mixed precision.

`Accelerator(mixed_precision="bf16").prepare(model)` replaces `model.forward` by one that opens autocast and converts what comes
out to float32, on the model itself. It keeps the model's own as `_original_forward`. The training arguments of Transformers
(`bf16=True`) do the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

from torch import nn

from coreselect.support.interruptions import whole

ORIGINAL = "_original_forward"  # Accelerate's name


@contextmanager
@whole
def own_forward(model: nn.Module) -> Iterator[None]:
    """Run the model without the autocast that Accelerate has put into it; put that back afterwards, also when the body raises.

    Args:
        model: without wrappers such as DistributedDataParallel.
    """
    attributes: dict[str, Any] = vars(model)
    original, around = attributes.get(ORIGINAL), attributes.get("forward")
    if original is None or around is None:
        yield
        return
    function = getattr(original, "__func__", None)
    attributes["forward"] = original if function is None else MethodType(function, model)  # of a copy, where it is one
    try:
        yield
    finally:
        attributes["forward"] = around
