"""A loss that the user gives as a callable: a function of outputs and targets, or a loss module of torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor, nn

from coreselect.errors import RequirementError, ShapeError
from coreselect.protocols import Views

MEMBERS = ("name", "views", "streams", "per_example", "needs_labels", "default_attack", "ascend", "__call__")


@dataclass(frozen=True, eq=False)
class CallableLoss:
    """A function of the outputs of natural inputs and the targets: outputs [B, C], targets as items carry them → [B].

    Modules such as `nn.MSELoss(reduction="none")` give one value for each output; the mean over an example's outputs is its
    loss, which is what `reduction="mean"` averages over a batch.

    Args:
        function: (outputs [B, C], targets) → [B], or a module with `reduction="none"`.
    Raises:
        ShapeError: the module has another reduction, or a class was given in place of an object.
    """

    function: Callable[[Tensor, Any], Tensor]
    settings: Mapping[str, Any] = field(init=False, default_factory=dict)  # of a module, for the record of a selection
    views = 1
    streams = (("natural", 0),)
    per_example = True
    needs_labels = True
    default_attack = None

    def __post_init__(self) -> None:
        if isinstance(self.function, type):
            raise ShapeError(f"the loss is the class {self.function.__name__}: give an object, as {self._example()}.")
        if self._reduction not in (None, "none"):
            raise ShapeError(
                f"the loss {self.name} has reduction={self._reduction!r}, which is one value for a batch, and one for each "
                f"example is needed: give {self._example()}."
            )
        self._refuse_other_arguments()
        if isinstance(self.function, nn.Module):
            plain = {k: v for k, v in vars(self.function).items() if not k.startswith("_") and k != "training"}
            held = {k: v.tolist() for k, v in self.function.state_dict().items() if v.numel() <= 1000}
            object.__setattr__(self, "settings", {**plain, **held})

    def _refuse_other_arguments(self) -> None:
        """Refuse a function that cannot be called with outputs and targets.

        Raises:
            ShapeError: it takes other arguments.
        """
        try:
            taken = signature(self.function.forward if isinstance(self.function, nn.Module) else self.function)
        except (TypeError, ValueError):  # of a function that is not written in Python
            return
        try:
            taken.bind(None, None)
        except TypeError as why:
            raise ShapeError(
                f"the loss {self.name}{taken} is called with outputs [B, C] and targets, and takes other arguments ({why}): give a "
                "function (outputs, targets) → [B], or an object with the members of coreselect.protocols.Loss."
            ) from why

    @property
    def name(self) -> str:
        """The name of the function, or of the module's class."""
        own = getattr(self.function, "__name__", None) or getattr(
            getattr(self.function, "func", None), "__name__", None
        )
        return own or type(self.function).__name__

    @property
    def _reduction(self) -> str | None:
        return getattr(self.function, "reduction", None) if isinstance(self.function, nn.Module) else None

    def _example(self) -> str:
        kind = self.function if isinstance(self.function, type) else type(self.function)
        return f'{kind.__name__}(reduction="none")' if issubclass(kind, nn.Module) else f"{kind.__name__}()"

    def ascend(self, adversarial: Views, natural: Views, labels: Any) -> Tensor:
        """Compute the scalar that an attack would raise; nothing is attacked under this loss."""
        return self((), adversarial, labels).sum()

    def __call__(self, adversarial: Views, natural: Views, labels: Any) -> Tensor:
        """Outputs [B, C] and targets → losses [B]."""
        outputs = natural[0]
        values = self.function(outputs, labels)
        if self._reduction != "none" or values.dim() < 2:
            return values
        if values.shape[: outputs.dim()] != outputs.shape[: values.dim()]:
            raise ShapeError(
                f"the loss {self.name} gives {list(values.shape)} for outputs {list(outputs.shape)}, so targets were repeated to "
                "fit: give targets of the outputs' shape with unpack=."
            )
        return values.flatten(1).mean(1)


def refuse_loss_elsewhere(loss: Any, device: torch.device) -> None:
    """Refuse a loss module whose tensors, such as class weights, are on another device than the model.

    Raises:
        RequirementError: they are.
    """
    inner = getattr(loss, "function", None)
    if not isinstance(inner, nn.Module):
        return
    elsewhere = {t.device for t in (*inner.parameters(), *inner.buffers()) if t.dim()} - {device}
    if elsewhere:
        raise RequirementError(
            f"the loss {loss.name} holds tensors on {min(map(str, elsewhere))} and the model is on {device}: move the loss there."
        )


def own_loss(given: Any) -> Any:
    """Return an object with the complete protocol as it is, and wrap any other callable.

    Raises:
        ShapeError: it is no loss, or has a part of the protocol's members only.
    """
    lacking = [m for m in MEMBERS if not hasattr(given, m)]
    if not lacking and not isinstance(given, type):
        return given
    if hasattr(given, "streams") and hasattr(given, "per_example"):
        what = f"{type(given).__name__} lacks {', '.join(lacking)}" if lacking else f"{given.__name__} is a class"
        raise ShapeError(
            f"the loss {what}: give an object with all members of coreselect.protocols.Loss, or a function "
            "(outputs, targets) → [B]."
        )
    if not callable(given):
        raise ShapeError(
            f"the loss is a {type(given).__name__}: give a name such as 'sat', a function (outputs, targets) → [B], or an object "
            "with the members of coreselect.protocols.Loss."
        )
    return CallableLoss(cast(Any, given))
