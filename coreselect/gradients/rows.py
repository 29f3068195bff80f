"""Rows R [M, P], and the operations on them that greedy and search need.

A float32 inner product, summed in any order, has an error of at most γ_P·‖r‖·‖q‖, γ_P = P·u / (1 − P·u), u = 2⁻²⁴ (Higham,
*Accuracy and stability of numerical algorithms*, 2002, section 3.1). `slack` holds this bound. A search proposes rows by
their float32 scores; float64 then decides between the few rows whose scores are closer than the bound.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import NonFiniteError, first_few
from coreselect.gradients.products import times
from coreselect.types import Float64

Groups = Sequence[NDArray[np.int64]]
BLOCK_BYTES = 64 << 20  # how many bytes of rows one step works on


def single_examples(n: int) -> Groups:
    """Return n groups of one example each, in order, as an array [n, 1]: it iterates as groups without n small arrays."""
    return cast(Groups, np.arange(n, dtype=np.int64)[:, None])


def are_single_examples(groups: Groups, n: int) -> bool:
    """Return whether the groups are the n examples, one in each group, in order."""
    return len(groups) == n and all(len(g) == 1 and g[0] == i for i, g in enumerate(groups))


class SomeRows(Protocol):
    """Some rows, gathered in memory."""

    def scores(self, query: Tensor) -> Tensor:
        """Compute every ⟨row, query⟩, [n], as precisely as `Rows.scores` does."""
        ...

    def take(self, ids: Tensor) -> "SomeRows":
        """Gather some of them: int64 [m] in 0…n−1, in the order given."""
        ...


class Rows(Protocol):
    """The gradients of M groups at θ. P is the length of a full row, W ≤ P the length of a sketched row."""

    groups: Groups  # the members of each group, as positions in the task's pool
    slack: Tensor  # [M]: the float32 score of row m has an error of at most slack[m]·‖query‖

    @property
    def count(self) -> int:
        """M."""
        ...

    def project(self, query: Tensor) -> Tensor:
        """Return the query [P] in the form that `scores` and `exact` take: itself, or its sketch [W]."""
        ...

    def scores(self, query: Tensor) -> Tensor:
        """Compute every ⟨row, query⟩, [M], in the precision of the rows."""
        ...

    def exact(self, ids: NDArray[np.int64], query: Tensor) -> Float64:
        """Compute ⟨row, query⟩ of some rows in float64, each summed in one fixed order."""
        ...

    def full(self, m: int, kept: NDArray[np.int64] | None = None) -> Tensor:
        """Return row m [P], or the row of only the kept members of group m."""
        ...

    def mean(self) -> Tensor:
        """Return the mean row of the pool, in the form of `project`; each group counts with its size."""
        ...

    def gram(self, a: Tensor, b: Tensor) -> Tensor:
        """Compute the inner products of two lists of rows, int64 [A], [B] → [A, B], in the precision of the rows."""
        ...

    def norms(self) -> Tensor:
        """Return every ‖row‖₂, [M], in float64."""
        ...

    def longest(self) -> Tensor:
        """Return a number ≥ ‖row‖₂ for every row, rounding included, [M], in float64."""
        ...

    def take(self, ids: Tensor) -> SomeRows:
        """Gather some rows, int64 [n] in 0…M−1, so that they can be scored alone."""
        ...


SAFE = 1 + 1e-9  # a norm computed in float64, times this, is no smaller than the true one
VANISHED = 2e-154  # the largest number whose square float64 may lose


@dataclass(frozen=True)
class Block:
    """Some rows of a matrix, [n, W]."""

    matrix: Tensor

    def scores(self, query: Tensor) -> Tensor:
        return times(self.matrix, query.to(self.matrix))

    def take(self, ids: Tensor) -> "Block":
        return Block(self.matrix.index_select(0, ids))


Full = Callable[[int, NDArray[np.int64] | None], Tensor]


class DenseRows:
    """Rows as one matrix [M, W], in memory or memory-mapped, on any device.

    The matrix may lie elsewhere than the model, because it is too large for the model's device: what is asked with a tensor is
    answered on the device of that tensor. Rows themselves, and their mean, come on the device of the matrix.

    Args:
        matrix: [M, W] float32 or float64.
        groups: M arrays with the positions of each group's members.
        full: (m, kept members or None) → row [P]; None: use the row of the matrix, so that groups cannot be trimmed.
        project: query [P] → [W]; None: the query itself.
        names: int64, the number that a message gives for each member (its pool position); None: the member's own number.
        examples: the rows of the single examples whose means these rows are, if they are available.
        where: the dataset that a message names.
    Raises:
        NonFiniteError: a row holds NaN or infinity; the message names the members of its group.
    """

    def __init__(
        self,
        matrix: Tensor,
        groups: Groups,
        *,
        full: Full | None = None,
        project: Callable[[Tensor], Tensor] | None = None,
        names: NDArray[np.int64] | None = None,
        examples: "Rows | None" = None,
        where: str = "",
    ) -> None:
        self.matrix, self.groups, self._full, self._project = matrix, groups, full, project
        self.examples = examples
        # [M], in float64: the squares of large float32 numbers overflow float32
        none = matrix.new_empty(0, dtype=torch.float64)
        norms = torch.cat([none, *(block.double().norm(dim=1) for _, block in self.blocks())])
        if not bool(torch.isfinite(norms).all()):
            bad = (~torch.isfinite(norms)).nonzero().flatten().tolist()
            members = np.concatenate([np.asarray(groups[m]) for m in bad])
            refuse_non_finite_rows((members if names is None else names[members]).tolist(), where)
        self.slack, self._norms = gamma(matrix.shape[1], matrix.dtype) * norms, norms

    @property
    def count(self) -> int:
        return len(self.matrix)

    def norms(self) -> Tensor:
        return self._norms

    def longest(self) -> Tensor:
        return self._norms * SAFE + math.sqrt(self.matrix.shape[1]) * VANISHED

    def take(self, ids: Tensor) -> Block:
        return Block(self.matrix.index_select(0, ids))

    def gram(self, a: Tensor, b: Tensor) -> Tensor:
        here = self.matrix.device
        left, right = (self.matrix.index_select(0, ids.to(here)) for ids in (a, b))
        return (left @ right.T).to(a.device)

    def blocks(self) -> Sequence[tuple[int, Tensor]]:
        """Cut the rows into views of at most BLOCK_BYTES: pairs (number of the first row, block [b, W])."""
        step = rows_of_a_block(self.matrix.shape[1] * self.matrix.element_size())
        return [(at, self.matrix[at : at + step]) for at in range(0, len(self.matrix), step)]

    def project(self, query: Tensor) -> Tensor:
        return query if self._project is None else self._project(query)

    def scores(self, query: Tensor) -> Tensor:
        q = query.to(self.matrix)  # a matrix too large for a device stays on the CPU: the query goes there
        return torch.cat([times(block, q) for _, block in self.blocks()]).to(query.device)

    def exact(self, ids: NDArray[np.int64], query: Tensor) -> Float64:
        q = query.detach().double().cpu().numpy()
        step = max(1, BLOCK_BYTES // (8 * len(q)))
        index = torch.from_numpy(ids).to(self.matrix.device)
        return np.concatenate(
            [row_products(self.matrix.index_select(0, part).double().cpu().numpy(), q) for part in index.split(step)]
        )

    def full(self, m: int, kept: NDArray[np.int64] | None = None) -> Tensor:
        if self._full is None or (kept is None and self._project is None):
            return self.matrix[m]
        return self._full(m, kept)

    def mean(self) -> Tensor:
        sizes = torch.tensor([len(g) for g in self.groups], dtype=torch.float64)  # [M]
        return self.combine((sizes / sizes.sum()).to(self.matrix))

    def combine(self, weights: Tensor) -> Tensor:
        """Compute Rᵀw [W] for weights [M]."""
        return self.partial_sums(weights).sum(0)

    def partial_sums(self, weights: Tensor) -> Tensor:
        """Compute Rᵀw for each of `blocks` alone, [blocks, W]."""
        return torch.stack([weights[at : at + len(block)].to(block) @ block for at, block in self.blocks()])


def rows_of_a_block(row: int) -> int:
    """Return how many rows of so many bytes one block of `DenseRows` holds."""
    return max(1, BLOCK_BYTES // max(1, row))


def row_products(rows: NDArray[np.float64], q: NDArray[np.float64]) -> Float64:
    """Compute rows @ q [M] in float64; each row is summed in numpy's pairwise order, which depends only on its length."""
    return np.add.reduce(np.ascontiguousarray(rows * q), axis=1)


def gamma(length: int, dtype: torch.dtype) -> float:
    """Bound the relative rounding error of a dot product of that length, with both vectors rounded to `dtype` first."""
    u = torch.finfo(dtype).eps / 2
    return math.expm1(min((length + 4) * u, 500.0))  # (1 + u)ⁿ − 1 ≤ e^{nu} − 1 ≤ γ_n; this also holds for nu ≥ 1


def refuse_non_finite_rows(positions: Sequence[int], where: str = "") -> None:
    """Raise NonFiniteError for the examples at these positions, of a dataset with a name in messages."""
    raise NonFiniteError(
        f"gradients of {len(positions)} {where and where + ' '}examples are not finite (positions {first_few(sorted(positions))}): "
        "remove or correct these examples, or check whether the model has diverged.",
        sorted(positions),
    )


def argmax(rows: Rows, proposed: Tensor, query: Tensor) -> tuple[int, float]:
    """Return the best of the proposed rows and its ⟨row, query⟩ in float64; equal values go to the lowest index."""
    ids = np.sort(proposed.cpu().numpy())
    values = rows.exact(ids, query)
    best = int(np.argmax(values))  # argmax returns the first of equal values, and ids are sorted
    return int(ids[best]), float(values[best])
