"""One recorded forward pass of a model: its output, and every call of every submodule."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from coreselect.errors import HeadError, ShapeError
from coreselect.network.hooks import hooked
from coreselect.network.network import HeadArguments
from coreselect.protocols import Call, Route
from coreselect.support.structure import described, size


class Trace:
    """The record of one forward pass on one route.

    Args:
        call: (model, x, route) → output [B, C].
        x: inputs [B, …].
    Raises:
        HeadError: the output is not one floating-point tensor [B, C].
        ShapeError: the model fails on inputs that are not one floating-point tensor.
    """

    def __init__(self, model: nn.Module, call: Call, x: Any, route: Route) -> None:
        self._calls: dict[str, list[tuple[tuple[Any, ...], dict[str, Any], Any]]] = {}
        hooks = [
            partial(
                m.register_forward_hook,
                lambda _m, args, kwargs, out, name=n: self._calls.setdefault(name, []).append((args, kwargs, out)),
                with_kwargs=True,
            )
            for n, m in model.named_modules()
            if not isinstance(m, torch.jit.ScriptModule)  # which take no hooks
        ]
        try:
            with hooked(hooks), torch.no_grad():
                output = call(model, x, route)
        except (RuntimeError, TypeError, ValueError) as why:
            if isinstance(x, Tensor) and x.is_floating_point():
                raise
            raise ShapeError(
                f"the model cannot be run on inputs that are {described(x)} ({type(why).__name__}: "
                f"{' '.join(str(why).split())[:160]}): convert images to floating-point in [0, 1], or say with call= how it is run."
            ) from why
        refuse_output(output, size(x))
        self.output = output

    def made_output(self, name: str) -> bool:
        """Return whether this submodule was called once, and its output is the model's output."""
        calls = self._calls.get(name, [])
        return len(calls) == 1 and calls[0][2] is self.output

    def first_call(self, name: str) -> tuple[tuple[Any, ...], dict[str, Any], Any] | None:
        """Return arguments, keyword arguments and output of the first call of a submodule ("" is the model), if it was called."""
        return next(iter(self._calls.get(name, [])), None)

    def head_arguments(self, name: str) -> HeadArguments:
        """Return how the submodule `name` was called, so that it can be called again as the head.

        Raises:
            HeadError: it was not called exactly once with one tensor, the features, as its first argument.
        """
        calls = self._calls.get(name, [])
        if len(calls) != 1:
            raise HeadError(
                f"the head {name!r} is called {len(calls)} times in a forward pass, once is needed: name another with head=."
            )
        args, kwargs, _ = calls[0]
        others = (*args[1:], *kwargs.values())
        if not args or not isinstance(args[0], Tensor) or any(isinstance(a, Tensor) for a in others):
            raise HeadError(
                f"the head {name!r} must take the features as its first and only tensor: name another with head=."
            )
        return HeadArguments(args[1:], kwargs)


def refuse_output(output: Any, n: int) -> None:
    """Refuse what a model has returned for n inputs, unless it is one floating-point tensor [n, C].

    Raises:
        HeadError: it is anything else.
    """
    if not isinstance(output, Tensor):
        raise HeadError(
            f"the model's output is a {type(output).__name__}, not one tensor: choose the tensor with "
            "call=lambda model, x, route: …"
        )
    if output.dim() != 2 or len(output) != n:
        raise HeadError(
            f"the model's output must be [B, C], got {list(output.shape)} for {n} inputs: flatten it in call=."
        )
    if not output.is_floating_point():
        raise HeadError(
            f"the model's output is {output.dtype}, and floating-point logits or features are needed: return what comes before "
            "argmax."
        )
