"""Rows R [M, P] and what greedy and search ask of them.

A float32 inner product computed in any order errs by at most γ_P·‖r‖·‖q‖, γ_P = P·u / (1 − P·u), u = 2⁻²⁴ (Higham,
*Accuracy and stability of numerical algorithms*, 2002, section 3.1). `slack` carries that bound, so that a search may
propose by float32 scores and float64 decides among the few rows that rounding cannot tell apart.
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import NonFiniteError, name_some
from coreselect.types import Float64

Groups = Sequence[NDArray[np.int64]]
BLOCK_BYTES = 64 << 20  # how much of the rows is looked at at once


def alone(n: int) -> Groups:
    """Return n groups of one, in order; an array [n, 1] iterates as groups, without n small arrays."""
    return cast(Groups, np.arange(n, dtype=np.int64)[:, None])


def are_alone(groups: Groups, n: int) -> bool:
    """Whether these are the n examples, one a group, in order."""
    return len(groups) == n and all(len(g) == 1 and g[0] == i for i, g in enumerate(groups))


class Rows(Protocol):
    """Gradients of M groups at θ. P is the length of a full row, W ≤ P that of a sketched one."""

    groups: Groups  # members of each group, positions in the task's pool
    slack: Tensor  # [M]: the float32 score of row m errs by at most slack[m]·‖query‖

    @property
    def count(self) -> int:
        """M."""
        ...

    def project(self, query: Tensor) -> Tensor:
        """query [P] → what `scores` and `exact` take (itself, or its sketch [W])."""
        ...

    def scores(self, query: Tensor) -> Tensor:
        """All ⟨row, query⟩ [M], in working precision."""
        ...

    def exact(self, ids: NDArray[np.int64], query: Tensor) -> Float64:
        """⟨row, query⟩ of some rows in float64, each summed in one fixed order."""
        ...

    def full(self, m: int, kept: NDArray[np.int64] | None = None) -> Tensor:
        """Row m [P], or the row of the kept members alone."""
        ...

    def mean(self) -> Tensor:
        """The pool's mean row (in the space of `project`), groups weighted by size."""
        ...

    def gram(self, a: Tensor, b: Tensor) -> Tensor:
        """Inner products of some rows with others, int64 [A], [B] → [A, B], in working precision."""
        ...

    def norms(self) -> Tensor:
        """All ‖row‖₂ [M], in float64."""
        ...


Full = Callable[[int, NDArray[np.int64] | None], Tensor]


class DenseRows:
    """Rows as a matrix [M, W], in memory or memory-mapped, on any device.

    Args:
        matrix: [M, W] float32 or float64.
        groups: M arrays of member positions.
        full: (m, kept members or None) → row [P]; None: the matrix's own row, groups then cannot be trimmed.
        project: query [P] → [W]; None: itself.
        names: what to call members in a refusal (pool positions); None: their own numbers.
        examples: the rows of single examples that these are means of, where they are at hand.
    Raises:
        NonFiniteError: a row holds NaN or infinity; the message names its members.
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
    ) -> None:
        self.matrix, self.groups, self._full, self._project = matrix, groups, full, project
        self.examples = examples
        norms = torch.cat(
            [block.double().norm(dim=1) for _, block in self.blocks()]
        )  # [M]; squares of float32 leave its range
        if not bool(torch.isfinite(norms).all()):
            bad = (~torch.isfinite(norms)).nonzero().flatten().tolist()
            members = np.concatenate([np.asarray(groups[m]) for m in bad])
            refuse_rows((members if names is None else names[members]).tolist())
        self.slack, self._norms = gamma(matrix.shape[1], matrix.dtype) * norms, norms

    @property
    def count(self) -> int:
        return len(self.matrix)

    def norms(self) -> Tensor:
        return self._norms

    def gram(self, a: Tensor, b: Tensor) -> Tensor:
        return self.matrix[a] @ self.matrix[b].T

    def blocks(self) -> Sequence[tuple[int, Tensor]]:
        """Cut the rows into (first row, block [b, W]) views of bounded size."""
        step = max(1, BLOCK_BYTES // max(1, self.matrix.shape[1] * self.matrix.element_size()))
        return [(at, self.matrix[at : at + step]) for at in range(0, len(self.matrix), step)]

    def project(self, query: Tensor) -> Tensor:
        return query if self._project is None else self._project(query)

    def scores(self, query: Tensor) -> Tensor:
        q = query.to(self.matrix.dtype)
        return torch.cat([block @ q for _, block in self.blocks()])

    def exact(self, ids: NDArray[np.int64], query: Tensor) -> Float64:
        q = query.detach().double().cpu().numpy()
        step = max(1, BLOCK_BYTES // (8 * len(q)))
        index = torch.from_numpy(ids).to(self.matrix.device)
        return np.concatenate([dots(self.matrix[part].double().cpu().numpy(), q) for part in index.split(step)])

    def full(self, m: int, kept: NDArray[np.int64] | None = None) -> Tensor:
        if self._full is None or (kept is None and self._project is None):
            return self.matrix[m]
        return self._full(m, kept)

    def mean(self) -> Tensor:
        sizes = torch.tensor([len(g) for g in self.groups], dtype=torch.float64)  # [M]
        share = (sizes / sizes.sum()).to(self.matrix)
        return torch.stack([share[at : at + len(block)] @ block for at, block in self.blocks()]).sum(0)


def dots(rows: NDArray[np.float64], q: NDArray[np.float64]) -> Float64:
    """Sum each row's products in numpy's pairwise order, which depends on the length alone."""
    return np.add.reduce(np.ascontiguousarray(rows * q), axis=1)


def gamma(length: int, dtype: torch.dtype) -> float:
    """Bound the relative rounding of a dot product of that length, the rounding of its factors to `dtype` included."""
    u = torch.finfo(dtype).eps / 2
    return math.expm1(min((length + 4) * u, 500.0))  # (1 + u)ⁿ − 1 ≤ e^{nu} − 1 ≤ γ_n, and it holds for nu ≥ 1 too


def refuse_rows(positions: Sequence[int]) -> None:
    """Raise the refusal that names the examples whose gradients are not finite."""
    raise NonFiniteError(
        f"gradients of {len(positions)} examples are not finite (positions {name_some(sorted(positions))}): "
        "remove or mend them, or look whether the model has diverged.",
        sorted(positions),
    )


def argmax(rows: Rows, proposed: Tensor, query: Tensor) -> tuple[int, float]:
    """Decide in float64 among proposed rows: the largest ⟨row, query⟩, ties to the lowest index."""
    ids = np.sort(proposed.cpu().numpy())
    values = rows.exact(ids, query)
    best = int(np.argmax(values))  # the first of equals, and ids ascend
    return int(ids[best]), float(values[best])
