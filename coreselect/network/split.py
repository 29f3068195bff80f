"""The split of a model into features and head, found by running the model, without changing it.

The head is the smallest submodule that holds a Linear and whose output is the model's output, or the submodule that the
caller names. The split is checked: head(features(x)) must equal model(x) on both routes.
"""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from coreselect.errors import HeadError, first_few
from coreselect.network.called_head import CalledHead, find_called_head
from coreselect.network.network import ROUTES, HeadArguments, HeadSplit, WholeModel
from coreselect.network.split_checks import (
    refuse_batch_dependence,
    refuse_half_precision,
    refuse_scripted_parameters,
    refuse_tied_parameters,
    refuse_unmade_parameters,
    refuse_wrong_split,
    scripted,
)
from coreselect.network.trace import Trace
from coreselect.protocols import Call, Route


def split(
    model: nn.Module,
    call: Call,
    probe: Any,
    *,
    head: str | None = None,
    capture: Sequence[str] | str | None = None,
    fixed: Collection[str] = (),
) -> HeadSplit | WholeModel:
    """Split a model into features and head, or return it as a whole where the captured parameters lie outside the head.

    Args:
        model: in evaluation mode, without wrappers such as DistributedDataParallel.
        call: (model, x, route) → output [B, C].
        probe: a few inputs [B, …] to run, as one tensor, or a dictionary, list or tuple of tensors.
        head: the name of the submodule that is the head; None: the smallest that holds a Linear and whose output is the
            model's output.
        capture: None: the weights and biases of the Linears in the head; `"all"`: every parameter; or patterns
            (`fnmatch`) for the names of the model's parameters.
        fixed: the names of the parameters that are not trained. None and `"all"` leave them out, unless nothing else is
            there; patterns take them.
    Raises:
        HeadError: there is no such head or parameter, head(features(x)) is not model(x), or the model computes in half
            precision or mixes the inputs of a batch.
    """
    refuse_unmade_parameters(model)
    traces: dict[Route, Trace] = {route: Trace(model, call, probe, route) for route in ROUTES}
    outputs = [t.output for t in traces.values()]
    routes = 1 if torch.equal(*outputs) else 2
    width = outputs[0].shape[1]
    refuse_half_precision(model, outputs[0])
    refuse_batch_dependence(model, call, probe, outputs[1])
    names = None if capture is None else _matching_parameters(model, capture, fixed)
    refuse_scripted_parameters(model, names or ())
    if names is not None and capture == "all":
        return WholeModel(model, call, names, routes, width)
    try:
        name = _smallest_head(model, traces["adversarial"]) if head is None else existing_head(model, head)
        arguments: dict[Route, HeadArguments] = {route: trace.head_arguments(name) for route, trace in traces.items()}
    except HeadError:
        if names is None and (found := _under_call(model, call, probe, traces, head, routes, width, fixed)) is not None:
            return found
        if names is None or head is not None:
            raise
        return WholeModel(model, call, names, routes, width)
    inside = [f"{name}.{n}" if name else n for n, _ in model.get_submodule(name).named_parameters()]
    if names is not None and not set(names) <= set(inside):
        return WholeModel(model, call, names, routes, width)
    out = HeadSplit(model, call, name, arguments, names or _linear_parameters(model, name, fixed), routes, width)
    if not out.captured:
        raise HeadError(f"the head {name!r} holds no Linear to capture: name parameters with capture=.")
    refuse_scripted_parameters(model, out.captured)
    refuse_tied_parameters(model, name, out.captured)
    try:
        refuse_wrong_split(out, probe, traces)
    except HeadError:
        if names is None and (found := _under_call(model, call, probe, traces, head, routes, width, fixed)) is not None:
            return found
        raise
    return out


def _under_call(
    model: nn.Module,
    call: Call,
    probe: Any,
    traces: dict[Route, Trace],
    head: str | None,
    routes: int,
    width: int,
    fixed: Collection[str],
) -> HeadSplit | None:
    """Return the split at the head of the model's own output, of which `call` makes another; None if that is not exact."""
    found = find_called_head(model, traces, head)
    if found is None:
        return None
    out = CalledHead(model, call, found[0], found[1], _linear_parameters(model, found[0], fixed), routes, width)
    try:
        refuse_tied_parameters(model, out.name, out.captured)
        refuse_wrong_split(out, probe, traces)
    except (
        Exception
    ):  # the user's call may do anything with a head that is not the model; the caller names the head's fault
        return None
    return out


def _smallest_head(model: nn.Module, trace: Trace) -> str:
    """Return the name of the smallest submodule that holds a Linear and whose output is the model's output."""
    fits = [
        (sum(p.numel() for p in m.parameters()), -n.count("."), n)
        for n, m in model.named_modules()
        if trace.made_output(n)
        and any(isinstance(s, nn.Linear) for s in m.modules())
        and (n or isinstance(m, nn.Linear))
    ]
    if not fits:
        if scripted(model):
            raise HeadError(
                f"the model's output comes out of TorchScript ({scripted(model)[0] or 'the whole model'}), whose inside cannot be "
                "seen: select with the Python module that was scripted."
            )
        raise HeadError(
            "no submodule that holds a Linear produces the model's output: name the head with head=, "
            "or say with call= how its output is computed."
        )
    return min(fits)[2]


def existing_head(model: nn.Module, head: str) -> str:
    """Return the name of the head that the caller gave.

    Raises:
        HeadError: the model has no such submodule.
    """
    try:
        model.get_submodule(head)  # unlike `named_modules`, it looks through the wrappers of FSDP1 inside the model
    except AttributeError:
        children = [n for n, _ in model.named_children()]
        raise HeadError(
            f"the model has no submodule {head!r} to be the head; its children are {', '.join(children) or 'none'}."
        ) from None
    return head


def _linear_parameters(model: nn.Module, head: str, fixed: Collection[str]) -> list[str]:
    """Return the names of the parameters of the head's Linears that are trained, those of parametrizations included."""
    held = {id(p) for m in model.get_submodule(head).modules() if isinstance(m, nn.Linear) for p in m.parameters()}
    return _trained([n for n, p in model.named_parameters() if id(p) in held], fixed)


def _trained(names: list[str], fixed: Collection[str]) -> list[str]:
    """Return the names that are not fixed, or all where every one is: a model that is only evaluated trains nothing."""
    return [n for n in names if n not in fixed] or names


def _matching_parameters(model: nn.Module, capture: Sequence[str] | str, fixed: Collection[str]) -> list[str]:
    """Return the names of the floating-point parameters that match the patterns, in the model's order."""
    names = [n for n, p in model.named_parameters() if p.is_floating_point()]
    if capture == "all":
        return _trained(names, fixed)
    patterns = [capture] if isinstance(capture, str) else list(capture)
    for pattern in patterns:
        if not any(fnmatchcase(n, pattern) for n in names):
            raise HeadError(f"capture={pattern!r} matches no parameter; there are {first_few(names, 6)}.")
    return [n for n in names if any(fnmatchcase(n, p) for p in patterns)]
