"""Rows of Linear layers from their activations and output gradients, never formed at size N×P.

For a Linear with input a_i [D] and loss gradient at its output δ_i [C], summed over the forwards ("streams") s that
the loss reads, the row of example i is

    ∇_W ℓ_i = Σ_s δ_is a_isᵀ     ∇_b ℓ_i = Σ_s δ_is        ⟨∇ℓ_i, Q⟩ = Σ_s δ_isᵀ (Q_W a_is + Q_b)

exactly, at 2·(C + D) multiplications instead of C·D storage. A group's row is the mean of its members', so any
grouping can be judged from the same factors. (The identity: Goodfellow, *Efficient per-example gradient computations*, 2015.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.gradients.rows import BLOCK_BYTES, Groups, alone, dots, gamma, refuse_rows
from coreselect.network.layout import Layout
from coreselect.network.network import HeadSplit
from coreselect.protocols import Loss, Stream
from coreselect.support.seeding import noise, seeds
from coreselect.types import Float64


@dataclass(frozen=True)
class Factor:
    """One Linear in one stream: `delta` [N, C], `inputs` [N, D]; names of its captured weight and bias, None if not captured."""

    weight: str | None
    bias: str | None
    delta: Tensor
    inputs: Tensor


def factors(
    net: HeadSplit, loss: Loss, prepared: Mapping[Stream, Tensor], labels: Tensor | None, batch: int = 8192
) -> tuple[list[Factor], Tensor]:
    """Compute every captured Linear's factors of a per-example loss, and the losses [N].

    Args:
        prepared: features per stream, each [N, …].
        labels: int64 [N] or None.
    Source: the identity above; losses are summed, which keeps examples apart because the head is in evaluation mode.
    """
    n = len(next(iter(prepared.values())))
    parts: list[tuple[list[Factor], Tensor]] = []
    for at in range(0, n, batch):
        piece = {s: f[at : at + batch] for s, f in prepared.items()}
        parts.append(_factors(net, loss, piece, None if labels is None else labels[at : at + batch]))
    if len(parts) == 1:
        return parts[0]
    joined = [
        Factor(same[0].weight, same[0].bias, torch.cat([f.delta for f in same]), torch.cat([f.inputs for f in same]))
        for same in zip(*(p[0] for p in parts), strict=True)
    ]
    return joined, torch.cat([p[1] for p in parts])


def _factors(
    net: HeadSplit, loss: Loss, prepared: Mapping[Stream, Tensor], labels: Tensor | None
) -> tuple[list[Factor], Tensor]:
    _, seen, outputs = _watched(net, prepared)
    with torch.enable_grad():
        losses = loss(views_of(outputs, "adversarial"), views_of(outputs, "natural"), labels)  # [B]
        deltas = torch.autograd.grad(losses.sum(), [out for _, _, out in seen], materialize_grads=True)
    return _named(net, seen, deltas), losses.detach()


def holds(net: HeadSplit, prepared: Mapping[Stream, Tensor]) -> bool:
    """Whether the identity holds for this head: θ acts through calls of its Linears on [B, D] alone.

    A Linear may also be read without being called (a cosine head, attention), be normalised, share its weight, or see its
    input reshaped. So the factors of one random functional of the outputs are added up and held against autograd's gradient.

    Args:
        prepared: features of a few probed inputs, per stream, each [b, …].
    """
    if net.linears() is None or any(z.dim() != 2 for z in prepared.values()):
        return False
    theta, seen, outputs = _watched(net, prepared)
    if any(t.dim() != 2 or len(t) != len(z) for _, *both in seen for t in both for z in prepared.values()):
        return False
    with torch.enable_grad():
        weighed = [o * noise(o, seeds(0, "factors", indices=np.arange(len(o)))) for o in outputs.values()]
        total = torch.cat(weighed).sum()
        wanted = [*theta.values(), *(out for _, _, out in seen)]
        slopes = torch.autograd.grad(total, wanted, materialize_grads=True)
    layout = Layout.of(theta)
    truth = layout.flatten(dict(zip(theta, slopes, strict=False)))  # [P]
    own = torch.zeros_like(truth)
    if seen:
        own = FactoredRows(_named(net, seen, slopes[len(theta) :]), layout).combine(truth.new_ones(len(seen[0][1])))
    tolerance = 8 * torch.finfo(truth.dtype).eps ** 0.5
    return bool((own - truth).abs().max() <= tolerance * truth.abs().max())


Seen = list[tuple[str, Tensor, Tensor]]  # (name of the Linear, its input, its output), one entry a call


def _watched(net: HeadSplit, prepared: Mapping[Stream, Tensor]) -> tuple[dict[str, Tensor], Seen, dict[Stream, Tensor]]:
    """Run the head on every stream and write down what its Linears see: (θ asking for gradients, calls, outputs)."""
    linears = net.linears()
    assert linears is not None  # the caller asked
    seen: Seen = []
    hooks = [m.register_forward_hook(_noting(seen, n)) for n, m in linears.items()]
    theta = {n: p.clone().requires_grad_() for n, p in net.captured.items()}
    try:
        with torch.enable_grad():
            outputs = {s: net.apply(theta, f, s[0]) for s, f in prepared.items()}
    finally:
        for h in hooks:
            h.remove()
    return theta, seen, outputs


def _noting(seen: Seen, name: str) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
    """Make a hook that writes down a Linear's input and output, and hands on a copy: what follows may work in place."""

    def note(_module: Any, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        seen.append((name, inputs[0], out))
        return out.clone()

    return note


def _named(net: HeadSplit, seen: Seen, deltas: Sequence[Tensor]) -> list[Factor]:
    """Put calls and their output gradients together as factors."""

    def name(layer: str, leaf: str) -> str | None:
        full = f"{layer}.{leaf}" if layer else leaf
        return full if full in net.captured else None

    return [
        Factor(name(layer, "weight"), name(layer, "bias"), d.detach(), a.detach())
        for (layer, a, _), d in zip(seen, deltas, strict=True)
    ]


def views_of(outputs: Mapping[Stream, Tensor], route: str) -> tuple[Tensor, ...]:
    """Collect one route's outputs, in view order."""
    return tuple(outputs[s] for s in sorted(outputs) if s[0] == route)


class FactoredRows:
    """Per-example rows held as factors; candidates are single examples (`groups` of one).

    Everything of `Rows`, in O(N·(C + D)) memory.
    """

    def __init__(self, parts: list[Factor], layout: Layout) -> None:
        self.parts, self.layout = parts, layout
        n = len(parts[0].delta)
        self.groups: Groups = alone(n)
        length = sum(f.delta.shape[1] + f.inputs.shape[1] + 1 for f in parts)
        norms = sum(f.delta.double().norm(dim=1) * (f.inputs.double().norm(dim=1) ** 2 + 1).sqrt() for f in parts)
        assert isinstance(norms, Tensor)
        self.slack = gamma(length, parts[0].delta.dtype) * norms

    def refuse(self, names: NDArray[np.int64]) -> None:
        """Refuse rows that are not finite, calling example i `names[i]`.

        Raises:
            NonFiniteError: `indices` are those names.
        """
        bad = ~torch.isfinite(self.slack)
        if bool(bad.any()):
            refuse_rows(names[bad.cpu().numpy()].tolist())

    @property
    def count(self) -> int:
        return len(self.parts[0].delta)

    def project(self, query: Tensor) -> Tensor:
        return query

    def scores(self, query: Tensor) -> Tensor:
        named = self.layout.unflatten(query.to(self.parts[0].delta))
        total = torch.zeros_like(self.parts[0].delta[:, 0])  # [N]
        for f in self.parts:
            if f.weight is not None:
                total += ((f.inputs @ named[f.weight].T) * f.delta).sum(1)
            if f.bias is not None:
                total += f.delta @ named[f.bias]
        return total

    def exact(self, ids: NDArray[np.int64], query: Tensor) -> Float64:
        q = query.detach().double().cpu().numpy()
        step = max(1, BLOCK_BYTES // (8 * len(q)))
        index = torch.from_numpy(ids).to(self.parts[0].delta.device)
        return np.concatenate([dots(self.dense(part).double().cpu().numpy(), q) for part in index.split(step)])

    def dense(self, ids: Tensor) -> Tensor:
        """Form some rows [len(ids), P]."""
        out = self._zeros(len(ids))
        for f in self.parts:
            d, a = f.delta[ids], f.inputs[ids]
            if f.weight is not None:
                out[f.weight] += d[:, :, None] * a[:, None, :]
            if f.bias is not None:
                out[f.bias] += d
        return self.layout.flatten(out, batch=1)

    def gram(self, a: Tensor, b: Tensor) -> Tensor:
        """⟨Σ_f δ_f a_fᵀ, Σ_g δ_g a_gᵀ⟩ = Σ_{f, g of one parameter} (δ_f·δ_g)(a_f·a_g): [A], [B] → [A, B]."""
        total = self.parts[0].delta.new_zeros(len(a), len(b))
        for f in self.parts:
            for g in self.parts:
                shared = (f.weight is not None and f.weight == g.weight, f.bias is not None and f.bias == g.bias)
                if any(shared):
                    weights, biases = shared
                    total += (f.delta[a] @ g.delta[b].T) * (weights * (f.inputs[a] @ g.inputs[b].T) + biases)
        return total

    def norms(self) -> Tensor:
        squares = self.parts[0].delta.new_zeros(self.count, dtype=torch.float64)  # [N]
        for f in self.parts:
            for g in self.parts:
                d = (f.delta.double() * g.delta.double()).sum(1)
                if f.weight is not None and f.weight == g.weight:
                    squares += d * (f.inputs.double() * g.inputs.double()).sum(1)
                if f.bias is not None and f.bias == g.bias:
                    squares += d
        return squares.clamp(min=0).sqrt()

    def mean_of(self, members: NDArray[np.int64]) -> Tensor:
        """Form the mean row [P] of some examples."""
        ids = torch.from_numpy(np.asarray(members)).to(self.parts[0].delta.device)
        out = self._zeros()
        for f in self.parts:
            d, a = f.delta[ids], f.inputs[ids]
            if f.weight is not None:
                out[f.weight] += d.T @ a
            if f.bias is not None:
                out[f.bias] += d.sum(0)
        return self.layout.flatten(out) / len(ids)

    def full(self, m: int, kept: NDArray[np.int64] | None = None) -> Tensor:
        return self.mean_of(np.array([m]))

    def mean(self) -> Tensor:
        return self.mean_of(np.arange(self.count))

    def combine(self, weights: Tensor) -> Tensor:
        """Compute Rᵀw [P] for weights [N]."""
        out = self._zeros()
        for f in self.parts:
            d = f.delta * weights[:, None].to(f.delta)
            if f.weight is not None:
                out[f.weight] += d.T @ f.inputs
            if f.bias is not None:
                out[f.bias] += d.sum(0)
        return self.layout.flatten(out)

    def _zeros(self, *batch: int) -> dict[str, Tensor]:
        like = self.parts[0].delta
        return {n: like.new_zeros(*batch, *s) for n, s in zip(self.layout.names, self.layout.shapes, strict=True)}
