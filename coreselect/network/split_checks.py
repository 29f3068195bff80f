"""Checks that a model and its head can be split: precision, independence of inputs, tied weights, equal outputs."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from coreselect.errors import HeadError, first_few
from coreselect.network.network import ROUTES, HeadSplit
from coreselect.network.trace import Trace
from coreselect.protocols import Call, Route
from coreselect.support.structure import mapped, size, taken


def unmade_parameters(model: nn.Module) -> list[str]:
    """Return the names of parameters and buffers of lazy modules that have not seen an input yet."""
    return [n for n, p in (*model.named_parameters(), *model.named_buffers()) if nn.parameter.is_lazy(p)]


def refuse_unmade_parameters(model: nn.Module) -> None:
    """Refuse a model whose lazy modules have not seen an input yet."""
    unmade = unmade_parameters(model)
    if unmade:
        raise HeadError(
            f"the model's parameters {first_few(unmade, 6)} are not made yet (lazy modules): run one batch through it "
            "before selecting."
        )


def refuse_scripted_parameters(model: nn.Module, captured: Iterable[str]) -> None:
    """Refuse captured parameters inside TorchScript, which keeps its own and ignores those that it is given."""
    inside = [n for n in captured if any(n.startswith(f"{s}.") or not s for s in scripted(model))]
    if inside:
        raise HeadError(
            f"the captured parameters {first_few(inside, 6)} lie in TorchScript, where no gradient of single examples can be "
            "computed: select with the Python module that was scripted, or name other parameters with head= or capture=."
        )


def scripted(model: nn.Module) -> list[str]:
    """Return the names of the submodules that are TorchScript."""
    return [n for n, m in model.named_modules() if isinstance(m, torch.jit.ScriptModule)]


def refuse_half_precision(model: nn.Module, output: Tensor) -> None:
    """Refuse a model in half precision: the steps η·r would be lost in rounding, and the query would never change."""
    kinds = {t.dtype for t in (output, *model.parameters())} & {torch.float16, torch.bfloat16}
    if kinds:
        raise HeadError(
            f"the model computes in {kinds.pop()}, in which scratch steps are lost: keep its parameters in float32 and train "
            'under torch.autocast (precision "bf16-mixed" in Lightning), or select with a float32 copy of it.'
        )


def refuse_batch_dependence(model: nn.Module, call: Call, probe: Any, together: Tensor) -> None:
    """Refuse a model whose output for an input depends on the rest of its batch, so that batch_size would matter.

    Args:
        probe: inputs [B, …].
        together: their outputs [B, C] on the adversarial route, computed in one batch.
    """
    if size(probe) < 3 or not bool(torch.isfinite(together).all()):
        return
    with torch.no_grad():
        apart = call(model, taken(probe, slice(1, None)), "adversarial")
    tolerance = 8 * torch.finfo(together.dtype).eps ** 0.5 * float(together.abs().max())
    off = float((apart - together[1:]).abs().max())
    if off > tolerance:
        raise HeadError(
            f"the model's output for an input changes by up to {off:.2g} with the batch that it is in (BatchNorm without running "
            "statistics, or noise, in evaluation mode?): give a model that treats inputs one by one."
        )


def refuse_tied_parameters(model: nn.Module, head: str, captured: Mapping[str, Tensor]) -> None:
    """Refuse captured parameters of the head that are also used outside it: the features would change with them."""
    inside = {id(m) for m in model.get_submodule(head).modules()}
    outside = {id(p) for m in model.modules() if id(m) not in inside for p in m.parameters(recurse=False)}
    known = dict(model.named_parameters())
    tied = [n for n in captured if id(known[n]) in outside]
    if tied:
        raise HeadError(
            f"the head's parameters {first_few(tied, 6)} are used outside it too, so features move with them: use capture='all'."
        )


def _other_values(t: Tensor) -> Tensor:
    """Return other inputs of the same kind: integers stay among those that were there."""
    return 0.7 * t.roll(1, 0) + 0.1 if t.is_floating_point() else t.roll(1, 0)


def refuse_wrong_split(net: HeadSplit, probe: Any, traces: Mapping[Route, Trace]) -> None:
    """Refuse a split where head(features(x)) is not model(x), on one of the routes.

    Both routes are prepared first, and then other inputs pass through the model. So the head cannot rely on what the last
    forward pass left in the model (a route, a skip connection). If the head overwrites its input, this sets `net.overwrites`.
    """
    with torch.no_grad():
        prepared = {route: net.prepare(probe, route) for route in ROUTES}
        for route in ROUTES:
            net.prepare(mapped(_other_values, probe), route)
        for route in ROUTES:
            want, z = traces[route].output, prepared[route]
            bad = [i for i, o in enumerate(want) if not bool(torch.isfinite(o).all())]
            if bad:
                raise HeadError(
                    f"the model's output is not finite for probed inputs {first_few(bad)}: the model has diverged."
                )
            fresh = z._version
            got = net.apply(net.captured, z, route)
            net.overwrites |= z._version != fresh  # from now on the head gets a copy
            if got.shape != want.shape or not torch.allclose(
                got, want, rtol=1e-4, atol=1e-5 * float(want.abs().max() + 1e-30)
            ):
                off = "its shape" if got.shape != want.shape else f"up to {float((got - want).abs().max()):.2g}"
                raise HeadError(
                    f"head(features(x)) differs from model(x) by {off} on the {route} route: the head {net.name!r} depends on more "
                    "than its input; name another with head=."
                )
