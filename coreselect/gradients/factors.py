"""The factors of a head's Linear layers: their inputs, and the gradients of a loss at their outputs.

For a Linear with input a_i [D] and loss gradient δ_i [C] at its output, summed over the streams s (the forward passes)
that the loss reads, the row of example i is

    ∇_W ℓ_i = Σ_s δ_is a_isᵀ     ∇_b ℓ_i = Σ_s δ_is

Source: Goodfellow, *Efficient per-example gradient computations*, 2015.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from coreselect.gradients.loss_value import LossFailure, checked_loss_value
from coreselect.network.hooks import hooked
from coreselect.network.network import HeadSplit
from coreselect.protocols import Loss, Stream
from coreselect.support.structure import taken


@dataclass(frozen=True)
class Factor:
    """One Linear in one stream: `delta` [N, C] and `inputs` [N, D].

    `weight` and `bias` are the names of its parameters in the model, or None for a parameter that is not captured.
    """

    weight: str | None
    bias: str | None
    delta: Tensor
    inputs: Tensor


def factors(
    net: HeadSplit, loss: Loss, prepared: Mapping[Stream, Tensor], labels: Any, batch: int = 8192
) -> tuple[list[Factor], Tensor]:
    """Compute the factors of every captured Linear for a per-example loss, and the losses [N].

    The losses are summed before the backward pass. This keeps the examples apart, because the head is in evaluation
    mode and treats each example by itself.

    Args:
        prepared: the features of each stream, [N, …].
        labels: targets as the loss reads them, [N, …], or None.
        batch: how many examples one pass takes (memory only).
    Raises:
        LossFailure: the loss raised.
    """
    n = len(next(iter(prepared.values())))
    parts: list[tuple[list[Factor], Tensor]] = []
    for at in range(0, n, batch):
        piece = {s: f[at : at + batch] for s, f in prepared.items()}
        try:
            parts.append(_factors(net, loss, piece, taken(labels, slice(at, at + batch))))
        except LossFailure as failure:
            raise LossFailure(failure.name, at + failure.places, failure.said) from failure.__cause__
    if len(parts) == 1:
        return parts[0]
    joined = [
        Factor(same[0].weight, same[0].bias, torch.cat([f.delta for f in same]), torch.cat([f.inputs for f in same]))
        for same in zip(*(p[0] for p in parts), strict=True)
    ]
    return joined, torch.cat([p[1] for p in parts])


def _factors(net: HeadSplit, loss: Loss, prepared: Mapping[Stream, Tensor], labels: Any) -> tuple[list[Factor], Tensor]:
    run = run_recorded(net, prepared)
    with torch.enable_grad():
        losses = checked_loss_value(loss, run.outputs, labels)  # [B]
        deltas = torch.autograd.grad(losses.sum(), [c.output for c in run.calls], materialize_grads=True)
    return as_factors(net, run.calls, deltas), losses.detach()


@dataclass(frozen=True)
class LinearCall:
    """One call of a Linear: its name in the model, its input and its output."""

    name: str
    input: Tensor
    output: Tensor


@dataclass(frozen=True)
class RecordedRun:
    """One pass of the head over every stream, with the calls of its Linears.

    `theta` holds copies of the captured parameters that ask for gradients, `outputs` the outputs [B, C] of each stream.
    """

    theta: dict[str, Tensor]
    calls: list[LinearCall]
    outputs: dict[Stream, Tensor]


def run_recorded(net: HeadSplit, prepared: Mapping[Stream, Tensor]) -> RecordedRun:
    """Run the head on every stream and record the calls of its Linears; `net.linears()` must not be None."""
    linears = net.linears()
    assert linears is not None  # the caller has checked
    calls: list[LinearCall] = []
    hooks = [partial(m.register_forward_hook, _recorder(calls, n)) for n, m in linears.items()]
    theta = {n: p.clone().requires_grad_() for n, p in net.captured.items()}
    with hooked(hooks), torch.enable_grad():
        outputs = {s: net.apply(theta, f, s[0]) for s, f in prepared.items()}
    return RecordedRun(theta, calls, outputs)


def _recorder(calls: list[LinearCall], name: str) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
    """Make a hook that records a call and returns a copy of the output, because the next layer may work in place."""

    def record(_module: Any, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        calls.append(LinearCall(name, inputs[0], out))
        return out.clone()

    return record


def as_factors(net: HeadSplit, calls: Sequence[LinearCall], deltas: Sequence[Tensor]) -> list[Factor]:
    """Combine each call with the gradient at its output."""

    def captured_name(layer: str, leaf: str) -> str | None:
        full = f"{layer}.{leaf}" if layer else leaf
        return full if full in net.captured else None

    return [
        Factor(captured_name(c.name, "weight"), captured_name(c.name, "bias"), delta.detach(), c.input.detach())
        for c, delta in zip(calls, deltas, strict=True)
    ]
