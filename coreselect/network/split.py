"""A model seen as features → head, found by probing, never by editing the model.

The head is the smallest submodule that holds a Linear and whose output is the model's output, or the one named; it is
verified: head(features(x)) equals model(x) on both routes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from coreselect.errors import HeadError, name_some
from coreselect.network.network import ROUTES, Entry, HeadSplit, WholeModel
from coreselect.protocols import Call, Route


def split(
    model: nn.Module, call: Call, probe: Tensor, *, head: str | None = None, capture: Sequence[str] | str | None = None
) -> HeadSplit | WholeModel:
    """See a model (in evaluation mode, bare) as features → head, or as a whole where the captured parameters ask for it.

    Args:
        call: (model, x, route) → output [B, C].
        probe: a few inputs [B, …] to run.
        head: name of the submodule that is the head; None: the smallest that holds a Linear and whose output is the model's.
        capture: None: the weights and biases of the Linears in the head; `"all"`: every parameter; or name patterns
            (`fnmatch`) over the model's parameter names.
    Raises:
        HeadError: no such head or parameter, or head(features(x)) is not model(x).
    """
    traces: dict[Route, _Trace] = {route: _Trace(model, call, probe, route) for route in ROUTES}
    outputs = [t.output for t in traces.values()]
    routes = 1 if torch.equal(*outputs) else 2
    width = outputs[0].shape[1]
    _refuse_half(model, outputs[0])
    _refuse_company(model, call, probe, outputs[1])
    names = None if capture is None else _match(model, capture)
    if names is not None and capture == "all":
        return WholeModel(model, call, names, routes, width)
    try:
        where = _find(model, traces["adversarial"]) if head is None else _named(model, head)
        entries: dict[Route, Entry] = {route: _entry(where, trace) for route, trace in traces.items()}
    except HeadError:
        if names is None or head is not None:
            raise
        return WholeModel(model, call, names, routes, width)
    inside = [f"{where}.{n}" if where else n for n, _ in model.get_submodule(where).named_parameters()]
    if names is not None and not set(names) <= set(inside):
        return WholeModel(model, call, names, routes, width)
    out = HeadSplit(model, call, where, entries, names or _linear_parameters(model, where), routes, width)
    if not out.captured:
        raise HeadError(f"the head {where!r} holds no Linear to capture: name parameters with capture=.")
    _refuse_tied(model, where, out.captured)
    _verify(out, probe, traces)
    return out


def _refuse_half(model: nn.Module, output: Tensor) -> None:
    """Refuse half precision: steps of η·r are lost in it, and the query would never move."""
    kinds = {t.dtype for t in (output, *model.parameters())} & {torch.float16, torch.bfloat16}
    if kinds:
        raise HeadError(
            f"the model computes in {kinds.pop()}, in which scratch steps are lost: select with a float32 copy of it."
        )


class _Trace:
    """One forward pass, with every submodule's calls written down."""

    def __init__(self, model: nn.Module, call: Call, x: Tensor, route: Route) -> None:
        self.calls: dict[str, list[tuple[tuple[Any, ...], dict[str, Any], Any]]] = {}
        hooks = [
            m.register_forward_hook(
                lambda _m, args, kwargs, out, name=n: self.calls.setdefault(name, []).append((args, kwargs, out)),
                with_kwargs=True,
            )
            for n, m in model.named_modules()
        ]
        try:
            with torch.no_grad():
                output = call(model, x, route)
        finally:
            for h in hooks:
                h.remove()
        if not isinstance(output, Tensor):
            raise HeadError(
                f"the model's output is a {type(output).__name__}, not one tensor: say with call=lambda model, x, route: … "
                "which tensor is meant."
            )
        if output.dim() != 2 or len(output) != len(x):
            raise HeadError(
                f"the model's output must be [B, C], got {list(output.shape)} for {len(x)} inputs: flatten it in call=."
            )
        self.output = output

    def made_output(self, name: str) -> bool:
        calls = self.calls.get(name, [])
        return len(calls) == 1 and calls[0][2] is self.output


def _refuse_company(model: nn.Module, call: Call, probe: Tensor, together: Tensor) -> None:
    """Refuse a model whose output for an input depends on the batch that it is in: no answer would be free of batch_size."""
    if len(probe) < 3 or not bool(torch.isfinite(together).all()):
        return
    with torch.no_grad():
        apart = call(model, probe[1:], "adversarial")
    tolerance = 8 * torch.finfo(together.dtype).eps ** 0.5 * float(together.abs().max())
    off = float((apart - together[1:]).abs().max())
    if off > tolerance:
        raise HeadError(
            f"the model's output for an input changes by up to {off:.2g} with the batch that it is in (BatchNorm without running "
            "statistics, or noise, in evaluation mode?): give a model that treats inputs one by one."
        )


def _find(model: nn.Module, trace: _Trace) -> str:
    fits = [
        (sum(p.numel() for p in m.parameters()), -n.count("."), n)
        for n, m in model.named_modules()
        if trace.made_output(n)
        and any(isinstance(s, nn.Linear) for s in m.modules())
        and (n or isinstance(m, nn.Linear))
    ]
    if not fits:
        raise HeadError(
            "no submodule that holds a Linear produces the model's output: name the head with head=, "
            "or say with call= how its output is got."
        )
    return min(fits)[2]


def _named(model: nn.Module, head: str) -> str:
    if head not in dict(model.named_modules()):
        children = [n for n, _ in model.named_children()]
        raise HeadError(
            f"the model has no submodule {head!r} to be the head; its children are {', '.join(children) or 'none'}."
        )
    return head


def _entry(name: str, trace: _Trace) -> Entry:
    calls = trace.calls.get(name, [])
    if len(calls) != 1:
        raise HeadError(
            f"the head {name!r} is called {len(calls)} times in a forward pass, once is needed: name another with head=."
        )
    args, kwargs, _ = calls[0]
    if not args or not isinstance(args[0], Tensor) or any(isinstance(a, Tensor) for a in (*args[1:], *kwargs.values())):
        raise HeadError(
            f"the head {name!r} must take the features as its first and only tensor: name another with head=."
        )
    return Entry(args[1:], kwargs)


def _linear_parameters(model: nn.Module, head: str) -> list[str]:
    held = {
        id(p)
        for m in model.get_submodule(head).modules()
        if isinstance(m, nn.Linear)
        for p in m.parameters()  # those of its parametrizations too (weight_norm)
    }
    return [n for n, p in model.named_parameters() if id(p) in held]


def _match(model: nn.Module, capture: Sequence[str] | str) -> list[str]:
    names = [n for n, p in model.named_parameters() if p.is_floating_point()]
    if capture == "all":
        return names
    patterns = [capture] if isinstance(capture, str) else list(capture)
    for pattern in patterns:
        if not any(fnmatchcase(n, pattern) for n in names):
            raise HeadError(f"capture={pattern!r} matches no parameter; there are {name_strings(names)}.")
    return [n for n in names if any(fnmatchcase(n, p) for p in patterns)]


def name_strings(names: Sequence[str], most: int = 6) -> str:
    """Write the first few of many names."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _refuse_tied(model: nn.Module, head: str, captured: Mapping[str, Tensor]) -> None:
    inside = {id(m) for m in model.get_submodule(head).modules()}
    outside = {id(p) for m in model.modules() if id(m) not in inside for p in m.parameters(recurse=False)}
    known = dict(model.named_parameters())
    tied = [n for n in captured if id(known[n]) in outside]
    if tied:
        raise HeadError(
            f"the head's parameters {name_strings(tied)} are used outside it too, so features move with them: use capture='all'."
        )


def _verify(net: HeadSplit, probe: Tensor, traces: Mapping[Route, _Trace]) -> None:
    """Hold head(features(x)) against model(x), on both routes, after both were probed and other inputs have passed.

    What a forward pass leaves behind in the model (a route, a skip connection) is then not what the head finds.
    """
    with torch.no_grad():
        prepared = {route: net.prepare(probe, route) for route in ROUTES}
        for route in ROUTES:
            net.prepare(0.7 * probe.roll(1, 0) + 0.1, route)
        for route in ROUTES:
            want, z = traces[route].output, prepared[route]
            bad = [i for i, o in enumerate(want) if not bool(torch.isfinite(o).all())]
            if bad:
                raise HeadError(
                    f"the model's output is not finite for probed inputs {name_some(bad)}: the model has diverged."
                )
            fresh = z._version
            got = net.apply(net.captured, z, route)
            net.overwrites |= z._version != fresh  # from now on it gets a copy
            if got.shape != want.shape or not torch.allclose(
                got, want, rtol=1e-4, atol=1e-5 * float(want.abs().max() + 1e-30)
            ):
                off = "its shape" if got.shape != want.shape else f"up to {float((got - want).abs().max()):.2g}"
                raise HeadError(
                    f"head(features(x)) differs from model(x) by {off} on the {route} route: the head {net.name!r} depends on more "
                    "than its input; name another with head=."
                )
