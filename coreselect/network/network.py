"""Networks as rows and queries need them: captured parameters θ, what may be cached, and outputs at any θ.

    h_θ = head_θ ∘ features      HeadSplit: only the head's parameters move, so features are computed once
    h_θ                          WholeModel: any parameters move, so "features" are the inputs themselves

Both answer the same two questions: `prepare(x, route)` gives what may be cached, `apply(θ, prepared, route)` the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from torch import Tensor, nn
from torch.func import functional_call

from coreselect.protocols import Call, Params, Route

ROUTES: tuple[Route, Route] = ("natural", "adversarial")


class Network(Protocol):
    """A model with some captured parameters, as rows and queries need it."""

    captured: Mapping[str, Tensor]  # θ: name in the model → value, detached
    caches: bool  # whether `prepare` does not depend on θ
    routes: int  # 1 where both routes give the same output, else 2
    outputs: int  # C

    def prepare(self, x: Tensor, route: Route) -> Tensor:
        """x [B, …] → what θ does not touch, [B, …]; differentiable in x."""
        ...

    def apply(self, params: Params, prepared: Tensor, route: Route) -> Tensor:
        """Outputs [B, C] with the captured parameters at `params`."""
        ...


@dataclass(frozen=True)
class Entry:
    """How the head was called: what comes besides the features."""

    rest: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class HeadSplit:
    """A head whose input is the features; θ are parameters inside it."""

    caches = True
    overwrites = False  # whether the head works on its input in place

    def __init__(
        self,
        model: nn.Module,
        call: Call,
        name: str,
        entries: Mapping[Route, Entry],
        captured: Sequence[str],
        routes: int,
        outputs: int,
    ) -> None:
        self.model, self.call, self.name, self.entries = model, call, name, entries
        self.routes, self.outputs = routes, outputs
        self.head = model.get_submodule(name)
        known = dict(model.named_parameters())
        self.captured = {n: known[n].detach() for n in captured}
        self._prefix = f"{name}." if name else ""

    def prepare(self, x: Tensor, route: Route) -> Tensor:
        caught: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(_catching(caught), with_kwargs=True)
        try:
            self.call(self.model, x, route)
        finally:
            hook.remove()
        return caught[0]

    def apply(self, params: Params, prepared: Tensor, route: Route) -> Tensor:
        entry = self.entries[route]
        prepared = prepared.clone() if self.overwrites else prepared
        local = {n.removeprefix(self._prefix): p for n, p in params.items()}
        return functional_call(self.head, local, (prepared, *entry.rest), dict(entry.kwargs))

    def linears(self) -> dict[str, nn.Linear] | None:
        """Name in the model → Linear, where θ is exactly weights and biases of Linears in the head; else None."""
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
    """Make a hook that writes down the head's input, and hands on a copy: a head may begin in place."""

    def catch(_module: nn.Module, args: Any, kwargs: Any) -> Any:
        caught.append(args[0])
        return (args[0].clone(), *args[1:]), kwargs

    return catch


class WholeModel:
    """Any parameters of the model; nothing can be cached but inputs."""

    caches = False

    def __init__(self, model: nn.Module, call: Call, captured: Sequence[str], routes: int, outputs: int) -> None:
        self.routes, self.outputs = routes, outputs
        self._called = _Called(model, call)
        known = dict(model.named_parameters())
        self.captured = {n: known[n].detach() for n in captured}

    def prepare(self, x: Tensor, route: Route) -> Tensor:
        return x

    def apply(self, params: Params, prepared: Tensor, route: Route) -> Tensor:
        return functional_call(self._called, {f"model.{n}": p for n, p in params.items()}, (prepared, route))


class _Called(nn.Module):
    """The user's way of calling the model, as a module that `functional_call` can reach into."""

    def __init__(self, model: nn.Module, call: Call) -> None:
        super().__init__()
        self.model, self.call = model, call

    def forward(self, x: Tensor, route: Route) -> Tensor:
        return self.call(self.model, x, route)


def default_call(model: nn.Module, x: Tensor, route: Route) -> Tensor:
    """Call a model without routes: model(x)."""
    return cast(Tensor, model(x))
