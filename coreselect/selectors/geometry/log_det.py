"""Log-determinant: the picks span as much volume as possible; greedy MAP inference of a determinantal point process.

    f(S) = log det(K_S + ε I),    gain(x | S) = log d_x²,    d_x² = K_xx + ε − ‖c_x‖²

c_x is x's row of the Cholesky factor of K_{S∪x} + ε I. After a pick j every row grows by e_x = (K_jx − ⟨c_j, c_x⟩) / d_j, and
d_x² falls by e_x².

Kulesza, Taskar, "Determinantal point processes for machine learning", Foundations and Trends in Machine Learning 2012; the
increment: Chen, Zhang, Zhou, "Fast greedy MAP inference for determinantal point process to improve recommendation diversity",
NeurIPS 2018.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import RequirementError, ShapeError
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.search.similarity import LARGEST, check_similarity, similarity
from coreselect.selectors.checks import finite_features
from coreselect.solvers.largest import pick_largest
from coreselect.support.limits import Needs
from coreselect.types import Selection

SPANNED = 10  # a pick whose volume is below this many times the jitter adds almost nothing but the jitter


@dataclass(frozen=True)
class LogDet:
    """Choose examples whose similarity matrix has the largest determinant: examples that differ from each other.

    Time O(N·k·(D + k)), memory 8·N·k bytes; a note gives the number.

    Args:
        similarity: K: `rbf` has full rank; `cosine` (1 + cos)/2 has rank at most D + 1, and picks beyond the rank are decided
            by the jitter.
        bandwidth: σ > 0 of `rbf`; None: 2σ² is the mean squared distance.
        jitter: ε in [1e-10, 1], added to K's diagonal (which is 1); the gains include it.
        most_bytes: limit for the Cholesky rows; a selection that needs more raises an error.
    """

    similarity: Literal["rbf", "cosine"] = "rbf"
    bandwidth: float | None = None
    jitter: float = 1e-6
    most_bytes: int = 8 << 30
    name = "log_det"
    requires = frozenset({"features"})
    renew = "round"

    def __post_init__(self) -> None:
        check_similarity(self.similarity, self.bandwidth)
        if self.similarity == "euclidean" or not 1e-10 <= self.jitter <= 1:
            raise ShapeError(
                "log_det needs similarity 'rbf' or 'cosine', whose matrices are positive semi-definite, and a jitter in "
                f"[1e-10, 1], got {self.similarity!r} and {self.jitter}."
            )

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method reads: features of width D and the Cholesky rows so far, at every pick."""
        n, k = sizes.n, sizes.k
        return OwnWork("features", lambda d: Needs(read=n * k * (8 * d + 4 * k), memory=8 * n * k + 4 * n * d))

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, n = resolve(budget, snapshot.n), snapshot.n
            if 8 * n * k > self.most_bytes:
                raise RequirementError(
                    f"log_det needs {8 * n * k:,} bytes of Cholesky rows for {k} of {n} examples, and most_bytes is "
                    f"{self.most_bytes:,}: choose class by class (PerClass), in windows (Windowed), or raise most_bytes."
                )
            with snapshot.clock("similarity"):
                K = similarity(
                    finite_features(snapshot, limit=LARGEST, name=self.name, needs=self.work(Sizes(n, k)).of),
                    self.similarity,
                    self.bandwidth,
                )
            with snapshot.clock("greedy"):
                device = K.points.device
                C = torch.empty(k, n, dtype=torch.float64, device=device)  # c_x are its columns
                d2 = torch.full((n,), 1 + self.jitter, dtype=torch.float64, device=device)  # [N]; K_xx = 1
                count = 0  # t, picks so far

                def add(j: int) -> None:
                    nonlocal count
                    volume, t = float(d2[j]), count
                    e = K.column(j)  # [N]
                    if t:
                        e -= C[:t, j] @ C[:t]
                    C[t] = e.div_(volume**0.5)
                    d2.sub_(e.square()).clamp_(min=self.jitter)  # no Schur complement of K + ε I is below ε
                    count += 1

                picks, volumes = pick_largest(
                    lambda: d2, add, k, slack=1e-3 * self.jitter, tick=partial(snapshot.progress, "greedy")
                )
            spanned = sum(v <= SPANNED * self.jitter for v in volumes)
            notes = [f"the Cholesky rows took {8 * n * k:,} bytes; jitter {self.jitter:g}"]
            if spanned:
                notes.append(
                    f"{spanned} picks lie in the span of the picks before them, to within {SPANNED} times the jitter"
                )
            return snapshot.selection(self, np.array(picks), gains=np.log(volumes), nested=True, notes=tuple(notes))
