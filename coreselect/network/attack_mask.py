"""Which positions of a submodule's output may be attacked: those that are no padding."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from coreselect.errors import ShapeError


def found_mask(module: nn.Module, args: tuple[Any, ...], x: Any, out: Tensor) -> Tensor | None:
    """Return the mask that inputs or an embedding show, or None if every position may be attacked.

    Args:
        module: whose output is attacked.
        args: what it was called with.
        x: the model's inputs; a dictionary may hold `attention_mask` [B, T], 1 where there is a token.
        out: the module's output; an attention mask is about positions, so it is for outputs [B, T, …].
    """
    given = x.get("attention_mask") if isinstance(x, Mapping) else None
    if isinstance(given, Tensor) and given.dim() == 2 and out.dim() >= 3:
        return given
    if isinstance(module, nn.Embedding) and module.padding_idx is not None and args and isinstance(args[0], Tensor):
        return args[0] != module.padding_idx
    return None


def expanded(mask: Any, out: Tensor, name: str) -> Tensor:
    """Return a mask as numbers 0 and 1 with the dimensions of an output [B, T, …]; it broadcasts over the rest.

    Raises:
        ShapeError: it is no tensor [B], [B, T], … of the output's first dimensions.
    """
    if not isinstance(mask, Tensor) or not 1 <= mask.dim() <= out.dim() or mask.shape != out.shape[: mask.dim()]:
        got = list(mask.shape) if isinstance(mask, Tensor) else f"a {type(mask).__name__}"
        raise ShapeError(
            f"the mask of attack_at is {got}, and the output of {name!r} is {list(out.shape)}: give "
            "AttackAt(module, mask=lambda x: …), which returns the first dimensions of that output, true where a position may be "
            "attacked."
        )
    return (mask != 0).to(out).view(*mask.shape, *[1] * (out.dim() - mask.dim()))
