"""Batch normalisation folded into the convolution before it, while a selection runs a model in evaluation mode.

    BN(W ∗ x + b) = (s·W) ∗ x + s·(b − μ) + β,   s = γ / √(σ² + ε)

μ, σ² are running statistics, γ, β the scale and shift. A normalisation reads and writes a whole activation, forward and
backward, and the folded one costs nothing. Values are the same to rounding. The model keeps its parameters: during one call the
folded layers have another `forward`.

Which normalisations follow which convolutions is seen in one pass for each route. A model is folded only if its outputs and
their gradient to the inputs are then the same to rounding on a few inputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from coreselect.network.hooks import hooked
from coreselect.network.network import ROUTES
from coreselect.protocols import Call, Route
from coreselect.support.interruptions import whole

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_ROUNDING = {torch.float32: (1e-4, 1e-2), torch.float64: (1e-10, 1e-6)}  # of outputs, of gradients: relative


@dataclass(frozen=True)
class Fold:
    """A convolution with the normalisation after it, and the convolution's weight and bias that do the work of both."""

    convolution: nn.Module
    norm: nn.Module
    weight: Tensor
    bias: Tensor


class FoldedCall:
    """A `Call` that runs a model with its normalisations folded; `count` is how many, on the route with most."""

    def __init__(self, call: Call, folds: Mapping[Route, Sequence[Fold]]) -> None:
        self.call, self.folds = call, folds
        self.count = max(len(of_route) for of_route in folds.values())

    def __call__(self, model: nn.Module, x: Any, route: Route) -> Tensor:
        """Compute the outputs [B, C] of x [B, …] on a route."""
        with _replaced(self.folds[route]):
            return self.call(model, x, route)


def folded(model: nn.Module, call: Call, x: Any, without: str = "") -> FoldedCall | None:
    """Return a call that folds, or None where there is nothing to fold or folding changes more than rounding.

    Args:
        model: in evaluation mode, its parameters fixed.
        call: (model, x, route) → outputs [B, C].
        x: a few inputs [b, …]; the first two are used.
        without: the name of a submodule whose layers are left alone: the head.
    """
    first = next((p for p in model.parameters() if p.is_floating_point()), None)
    if first is None or first.dtype not in _ROUNDING or not isinstance(x, Tensor) or not x.is_floating_point():
        return None
    layers = [m for name, m in model.named_modules() if not without or not f"{name}.".startswith(f"{without}.")]
    if not any(type(m) in _CONVOLUTIONS for m in layers) or not any(type(m) in _NORMS for m in layers):
        return None
    x = x[:2]
    # on both routes: two that give equal outputs may still have normalisations of their own
    made = FoldedCall(call, {route: _found(model, call, x, route, layers) for route in ROUTES})
    same = made.count > 0 and all(_same(model, made, x, route, *_ROUNDING[first.dtype]) for route in ROUTES)
    return made if same else None


def _found(model: nn.Module, call: Call, x: Tensor, route: Route, layers: Sequence[nn.Module]) -> list[Fold]:
    """Find each normalisation that reads what a convolution has just given, where both are called once."""
    given: dict[
        int, tuple[nn.Module, Tensor, int]
    ] = {}  # id of an output -> convolution, output, version of its memory
    calls: dict[nn.Module, int] = {}
    pairs: list[tuple[nn.Module, nn.Module]] = []

    def convolved(m: nn.Module, args: Any, out: Tensor) -> None:
        calls[m] = calls.get(m, 0) + 1
        given[id(out)] = m, out, out._version

    def normalises(m: nn.Module, args: Any) -> None:
        calls[m] = calls.get(m, 0) + 1
        before = given.get(id(args[0])) if len(args) == 1 else None
        if before is not None and args[0]._version == before[2]:
            pairs.append((before[0], m))

    convolutions = [m for m in layers if type(m) in _CONVOLUTIONS and not m._forward_hooks and _is_plain(m)]
    norms = [m for m in layers if type(m) in _NORMS and not m._forward_pre_hooks and _is_plain(m) and _is_fixed(m)]
    hooks = [partial(m.register_forward_hook, convolved) for m in convolutions]
    hooks += [partial(m.register_forward_pre_hook, normalises) for m in norms]
    with hooked(hooks), torch.no_grad():
        call(model, x, route)
    return [_fold(*pair) for pair in pairs if calls[pair[0]] == 1 and calls[pair[1]] == 1]


def _is_plain(m: nn.Module) -> bool:
    """Return whether a layer computes what its class says, and nobody reads its gradients."""
    return not (m._backward_hooks or m._backward_pre_hooks or "forward" in vars(m))


def _is_fixed(m: Any) -> bool:
    """Return whether a normalisation uses its running statistics."""
    return not m.training and m.running_mean is not None and m.running_var is not None


def _fold(convolution: Any, norm: Any) -> Fold:
    """Compute the weight and the bias, in double precision."""
    weight, mean, variance = (_exact(t) for t in (convolution.weight, norm.running_mean, norm.running_var))
    scale = (variance + norm.eps).rsqrt()  # s [O]
    scale = scale if norm.weight is None else scale * _exact(norm.weight)
    shift = scale * (-mean if convolution.bias is None else _exact(convolution.bias) - mean)  # [O]
    shift = shift if norm.bias is None else shift + _exact(norm.bias)
    weight = scale.view(-1, *[1] * (weight.dim() - 1)) * weight  # [O, …]
    return Fold(convolution, norm, weight.to(convolution.weight), shift.to(convolution.weight))


def _exact(t: Tensor) -> Tensor:
    """Return a tensor in double precision, on the CPU: not every device has it."""
    return t.detach().cpu().double()


@contextmanager
@whole
def _replaced(folds: Sequence[Fold]) -> Iterator[None]:
    """Give the layers their other `forward`, and their own afterwards."""
    try:
        for fold in folds:
            compute = cast(Any, fold.convolution)._conv_forward
            fold.convolution.forward = partial(compute, weight=fold.weight, bias=fold.bias)
            fold.norm.forward = _as_it_is
        yield
    finally:
        for fold in folds:
            for m in (fold.convolution, fold.norm):
                vars(m).pop("forward", None)


def _as_it_is(x: Tensor) -> Tensor:
    """Return x: its convolution has normalised it."""
    return x


def _same(model: nn.Module, made: FoldedCall, x: Tensor, route: Route, near: float, near_gradient: float) -> bool:
    """Return whether outputs, and their gradient to the inputs, differ by no more than rounding."""
    try:
        (out, slope), (want, want_slope) = (_at(c, model, x, route) for c in (made, made.call))
    except (RuntimeError, TypeError, ValueError):  # such as layers that run again in the backward pass
        return False
    return _near(out, want, near) and _near(slope, want_slope, near_gradient)


def _at(call: Call, model: nn.Module, x: Tensor, route: Route) -> tuple[Tensor, Tensor]:
    """Return outputs [b, C], and the gradient [b, …] of a fixed sum of them."""
    here = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        out = call(model, here, route)
        parts = torch.arange(1, out.numel() + 1, dtype=out.dtype, device=out.device).cos().view(out.shape)
        return out.detach(), torch.autograd.grad((out * parts).sum(), here)[0]


def _near(got: Tensor, want: Tensor, tolerance: float) -> bool:
    """Return whether two tensors differ by no more than a part of the second one's length."""
    return bool((got - want).norm() <= tolerance * want.norm())
