"""The two forms of a model that rows and queries use: a head on cached features, or the whole model.

    h_θ = head_θ ∘ features      HeadSplit: only parameters of the head change, so features are computed once
    h_θ                          WholeModel: any parameters change, so the "features" are the inputs themselves

Both have the same two methods: `prepare(x, route)` returns what can be cached, `apply(θ, prepared, route)` the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, cast

from torch import Tensor, nn

from coreselect.network.hooks import hooked
from coreselect.network.substitution import Substitution
from coreselect.protocols import Call, Params, Route

ROUTES: tuple[Route, Route] = ("natural", "adversarial")


class Network(Protocol):
    """A model with captured parameters θ, whose outputs can be computed at any θ."""

    call: Call  # (model, x, route) → outputs
    captured: Mapping[str, Tensor]  # θ: name in the model → value, detached
    caches: bool  # True if `prepare` does not depend on θ
    routes: int  # 1 if both routes give the same output, else 2
    outputs: int  # C

    def prepare(self, x: Any, route: Route) -> Any:
        """Compute the part of the model that does not depend on θ: x [B, …] → [B, …], differentiable in x."""
        ...

    def apply(self, params: Params, prepared: Any, route: Route) -> Tensor:
        """Compute the outputs [B, C] with the captured parameters set to `params`."""
        ...

    def holding(self, params: Params) -> AbstractContextManager[object]:
        """Keep the captured parameters set to `params`, also for a backward pass that runs layers again (checkpointing)."""
        ...


@dataclass(frozen=True)
class HeadArguments:
    """The arguments of the head other than the features, which come first."""

    rest: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class HeadSplit:
    """A model as a head on features; θ are parameters inside the head.

    Args:
        call: (model, x, route) → output [B, C].
        name: the name of the head in the model.
        arguments: for each route, the other arguments of the head.
        captured: the names of the captured parameters in the model.
        routes: 1 if both routes give the same output, else 2.
        outputs: C.
    """

    caches = True
    overwrites = False  # True if the head works on its input in place, and so needs a copy

    def __init__(
        self,
        model: nn.Module,
        call: Call,
        name: str,
        arguments: Mapping[Route, HeadArguments],
        captured: Sequence[str],
        routes: int,
        outputs: int,
    ) -> None:
        self.model, self.call, self.name, self.arguments = model, call, name, arguments
        self.routes, self.outputs = routes, outputs
        self.head = model.get_submodule(name)
        known = dict(model.named_parameters())
        self.captured = {n: known[n].detach() for n in captured}
        self._prefix = f"{name}." if name else ""
        self._substituted = Substitution(model, captured)

    def prepare(self, x: Any, route: Route) -> Tensor:
        caught: list[Tensor] = []
        with hooked([lambda: self.head.register_forward_pre_hook(_catching(caught), with_kwargs=True)]):
            self.call(self.model, x, route)
        return caught[0]

    def apply(self, params: Params, prepared: Tensor, route: Route) -> Tensor:
        arguments = self.arguments[route]
        prepared = prepared.clone() if self.overwrites else prepared
        with self.holding(params):
            return self.head(prepared, *arguments.rest, **arguments.kwargs)

    def holding(self, params: Params) -> AbstractContextManager[object]:
        return self._substituted(params)

    def linears(self) -> dict[str, nn.Linear] | None:
        """Return the Linears that hold θ by their names in the model, or None if θ is not only weights and biases of Linears."""
        found = {
            self._prefix + n if n else self.name: m for n, m in self.head.named_modules() if isinstance(m, nn.Linear)
        }
        owned = {
            f"{n}.{leaf}" if n else leaf for n, m in found.items() for leaf, _ in m.named_parameters(recurse=False)
        }
        if not set(self.captured) <= owned:
            return None
        return {n: m for n, m in found.items() if any(c.rpartition(".")[0] == n for c in self.captured)}


def _catching(caught: list[Tensor]) -> Callable[[nn.Module, Any, Any], Any]:
    """Make a hook that keeps the head's input and passes on a copy, because the head may change its input in place."""

    def catch(_module: nn.Module, args: Any, kwargs: Any) -> Any:
        caught.append(args[0])
        return (args[0].clone(), *args[1:]), kwargs

    return catch


class WholeModel:
    """A model as a whole; θ are any of its parameters, and only the inputs can be cached.

    Args: as for `HeadSplit`.
    """

    caches = False

    def __init__(self, model: nn.Module, call: Call, captured: Sequence[str], routes: int, outputs: int) -> None:
        self.routes, self.outputs = routes, outputs
        self.model, self.call = model, call
        self._substituted = Substitution(model, captured)
        known = dict(model.named_parameters())
        self.captured = {n: known[n].detach() for n in captured}

    def prepare(self, x: Any, route: Route) -> Any:
        return x

    def apply(self, params: Params, prepared: Any, route: Route) -> Tensor:
        with self.holding(params):
            return self.call(self.model, prepared, route)

    def holding(self, params: Params) -> AbstractContextManager[object]:
        return self._substituted(params)


def default_call(model: nn.Module, x: Any, route: Route) -> Tensor:
    """Call a model that has no routes: model(x); see `run`."""
    return run(model, x, {})


def run(model: nn.Module, x: Any, more: Mapping[str, Any]) -> Tensor:
    """Call a model with an input and further arguments; a dictionary gives keyword arguments, a list or tuple arguments.

    Where the model returns an object with `logits`, as models of transformers do, these are the output.
    """
    args = (x,) if isinstance(x, Tensor) else () if isinstance(x, Mapping) else x
    out = model(*args, **(x if isinstance(x, Mapping) else {}), **more)
    logits = None if isinstance(out, Tensor) else getattr(out, "logits", None)
    return cast(Tensor, out if logits is None else logits)
