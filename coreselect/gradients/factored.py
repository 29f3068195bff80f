"""Rows of Linear layers kept as factors: activations and output gradients, never a matrix of size N×P.

With the factors of `coreselect.gradients.factors`, and Q_W, Q_b the parts of a query Q for the weight and the bias,

    ⟨∇ℓ_i, Q⟩ = Σ_s δ_isᵀ (Q_W a_is + Q_b)

exactly, with C + D stored numbers for an example instead of C·D. The row of a group is the mean of its members' rows, so
the same factors give the row of any group. Source: Goodfellow, *Efficient per-example gradient computations*, 2015.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.gradients.factors import Factor
from coreselect.gradients.rows import (
    BLOCK_BYTES,
    SAFE,
    Groups,
    gamma,
    refuse_non_finite_rows,
    row_products,
    single_examples,
)
from coreselect.network.layout import Layout
from coreselect.types import Float64


class FactoredRows:
    """The rows of N single examples as factors: all of `Rows`, in O(N·(C + D)) memory.

    Args:
        parts: the factors, one for each call of a captured Linear.
        layout: the order of the captured parameters in a row.
    """

    def __init__(self, parts: list[Factor], layout: Layout) -> None:
        self.parts, self.layout = parts, layout
        n = len(parts[0].delta)
        self.groups: Groups = single_examples(n)
        length = sum(f.delta.shape[1] + f.inputs.shape[1] + 1 for f in parts)
        norms = sum(f.delta.double().norm(dim=1) * (f.inputs.double().norm(dim=1) ** 2 + 1).sqrt() for f in parts)
        assert isinstance(norms, Tensor)
        self.slack, self._ceiling = gamma(length, parts[0].delta.dtype) * norms, norms

    def refuse(self, names: NDArray[np.int64], where: str = "") -> None:
        """Refuse rows that are not finite.

        Args:
            names: int64 [N], the number that a message gives for each example (its pool position).
            where: the dataset that a message names.
        Raises:
            NonFiniteError: a row holds NaN or infinity; `indices` are the names of those examples.
        """
        bad = ~torch.isfinite(self.slack)
        if bool(bad.any()):
            refuse_non_finite_rows(names[bad.cpu().numpy()].tolist(), where)

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
        return np.concatenate([row_products(self.dense(part).double().cpu().numpy(), q) for part in index.split(step)])

    def dense(self, ids: Tensor) -> Tensor:
        """Compute some rows in full, [len(ids), P]."""
        out = self._zeros(len(ids))
        for f in self.parts:
            d, a = f.delta[ids], f.inputs[ids]
            if f.weight is not None:
                out[f.weight] += d[:, :, None] * a[:, None, :]
            if f.bias is not None:
                out[f.bias] += d
        return self.layout.flatten(out, batch=1)

    def gram(self, a: Tensor, b: Tensor) -> Tensor:
        """Compute inner products of rows: int64 [A], [B] → [A, B].

        ⟨Σ_f δ_f a_fᵀ, Σ_g δ_g a_gᵀ⟩ = Σ_{f, g of one parameter} (δ_f·δ_g)(a_f·a_g)
        """
        total = self.parts[0].delta.new_zeros(len(a), len(b))
        for f, g, weights, biases in self._pairs():
            d = f.delta[a] @ g.delta[b].T
            total += d * (f.inputs[a] @ g.inputs[b].T + biases) if weights else d
        return total

    def norms(self) -> Tensor:
        squares = self.parts[0].delta.new_zeros(self.count, dtype=torch.float64)  # [N]
        for f, g, weights, biases in self._pairs():
            d = (f.delta.double() * g.delta.double()).sum(1)
            squares += d * ((f.inputs.double() * g.inputs.double()).sum(1) + biases) if weights else d
        return squares.clamp(min=0).sqrt()

    def longest(self) -> Tensor:
        # the squares cancel where streams do, with an error that is small beside the triangle inequality's ceiling
        return (self.norms().square() + (1e-5 * self._ceiling).square()).sqrt() * SAFE

    def take(self, ids: Tensor) -> "FactoredRows":
        return FactoredRows([replace(f, delta=f.delta[ids], inputs=f.inputs[ids]) for f in self.parts], self.layout)

    def mean_of(self, members: NDArray[np.int64]) -> Tensor:
        """Compute the mean row [P] of some examples."""
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

    def _pairs(self) -> Iterator[tuple[Factor, Factor, bool, bool]]:
        """Yield the pairs of calls whose gradients meet, and whether they share a weight, and a bias.

        Calls of different parameters never meet, so their widths may differ.
        """
        for f in self.parts:
            for g in self.parts:
                weights = f.weight is not None and f.weight == g.weight
                biases = f.bias is not None and f.bias == g.bias
                if weights or biases:
                    yield f, g, weights, biases

    def _zeros(self, *batch: int) -> dict[str, Tensor]:
        like = self.parts[0].delta
        return {n: like.new_zeros(*batch, *s) for n, s in zip(self.layout.names, self.layout.shapes, strict=True)}
