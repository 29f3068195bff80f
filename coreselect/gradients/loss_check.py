"""The check that a loss gives one value for each example, made once on a few outputs before any row is computed."""

from reprlib import repr as short
from typing import Any

import torch
from torch import Tensor

from coreselect.errors import CoreselectError, NonFiniteError, ShapeError
from coreselect.losses.targets import for_loss
from coreselect.protocols import Loss
from coreselect.support.structure import described, size, taken


def refuse_wrong_loss(loss: Loss, outputs: Tensor, y: Any) -> None:
    """Refuse a per-example loss whose value is not [B], or mixes examples.

    Args:
        outputs: [B, C] of a few natural inputs; they stand for every stream that the loss reads.
        y: their targets, as the items carry them, or None.
    Raises:
        ShapeError: the loss fails, has another shape or no gradient, or gives an example another value in another batch.
        NonFiniteError: a value is NaN or infinite, and no output is.
    """
    if getattr(loss, "reads_classes", False) or not loss.per_example or (loss.needs_labels and y is None):
        return
    y = for_loss(loss, y, len(outputs))
    if y is not None and size(y) != len(outputs):
        raise ShapeError(f"{len(outputs)} inputs came with targets of {size(y)}: return targets [B, …] from unpack=.")
    with torch.enable_grad():
        together = _value(loss, outputs.detach().clone().requires_grad_(True), y)
    if together.shape != (len(outputs),):
        raise ShapeError(
            f"the loss {loss.name!r} gives {_shape(together)} for a batch of {len(outputs)}, and one value for each example, [B], "
            'is needed: leave out its mean over the batch (reduction="none"), and average over what belongs to one example.'
        )
    if not bool(torch.isfinite(together).all()):
        if not bool(torch.isfinite(outputs).all()):
            return  # the model is what has to be looked at
        raise NonFiniteError(
            f"the loss {loss.name!r} gives {short(together.tolist())} for finite outputs {described(outputs)}: look at its "
            "logarithms and divisions.",
            [],
        )
    if not together.requires_grad:
        raise ShapeError(
            f"the loss {loss.name!r} has no gradient with respect to the outputs: leave out detach(), .data and no_grad()."
        )
    together = together.detach()
    with torch.no_grad():
        alone = torch.cat(
            [_value(loss, outputs[i : i + 1], taken(y, slice(i, i + 1))).reshape(-1) for i in range(len(outputs))]
        )
    tolerance = 8 * torch.finfo(together.dtype).eps ** 0.5
    if alone.shape != together.shape or not torch.allclose(
        alone, together, rtol=tolerance, atol=tolerance * float(together.abs().max()), equal_nan=True
    ):
        raise ShapeError(
            f"the loss {loss.name!r} gives an example another value alone than in a batch (outputs {described(outputs)}, targets "
            f"{described(y)}): compare each example's outputs with its own targets, of one shape."
        )


def _value(loss: Loss, outputs: Tensor, y: Any) -> Tensor:
    views = tuple(outputs for _ in range(loss.views))
    try:
        out = loss(views, views, y)
    except CoreselectError:
        raise
    except Exception as why:  # code of the user, which may raise anything
        raise ShapeError(
            f"the loss {loss.name!r} fails on outputs {described(outputs)} and targets {described(y)} "
            f"({type(why).__name__}: {' '.join(str(why).split())[:160]}): let both fit, with unpack= or call=."
        ) from why
    if not isinstance(out, Tensor) or not out.is_floating_point():
        raise ShapeError(
            f"the loss {loss.name!r} gives {described(out)}, and losses [B] as one floating-point tensor are needed."
        )
    return out


def _shape(value: Tensor) -> str:
    """Say the shape of a value."""
    return "one number" if value.dim() == 0 else str(list(value.shape))
