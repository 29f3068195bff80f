"""Greedy search over rows in a memory-mapped file: its memory besides the rows, and whether its picks are correct.

Part "greedy" is the loop of Algorithm 1 over the rows. The query moves with θ′ (q = θ′ − t, a quadratic objective), so every
pick needs a new search. Part "select" uses the same file by public names: `select` of a `Task.from_arrays(gradients=...)` with
`RCS(groups="example")`, including the certificate. The picks of "greedy" are compared with those of a plain float64 product
of all rows, block by block.
"""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.case_types import PassesCase, SearchCase
from benchmarks.meter import Meter
from coreselect import Task, select
from coreselect.errors import SingleExamplesWarning
from coreselect.gradients.rows import DenseRows, single_examples
from coreselect.search import GreedySearch, search
from coreselect.selectors import RCS
from coreselect.solvers.greedy import greedy

BLOCK = 16_384  # rows made or multiplied at once, outside the measured parts


@dataclass(frozen=True)
class QuadraticObjective:
    """The objective ½‖θ − target‖², whose query changes at every step."""

    target: Tensor  # [P]

    def query(self, theta: Tensor) -> Tensor:
        """θ′ [P] → θ′ − target [P]."""
        return theta - self.target

    def recraft(self, theta: Tensor) -> None:
        """Do nothing, because there is no attack."""


def run(case: SearchCase, *, work: Path) -> dict[str, Any]:
    """Measure one case: `peak_mib` by part, `right_picks` is 1.0 if every pick is that of the plain product."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / f"rows-{case.rows}x{case.width}-{os.getpid()}.npy"
    try:
        write_rows(path, case)
        rows = np.load(path, mmap_mode="r")
        target = torch.randn(case.width, generator=torch.Generator().manual_seed(case.seed + 1))
        with Meter() as meter:
            with meter("greedy"):
                order = _greedy(rows, target, case)
            with meter("select"):
                selection = _select(rows, target, case)
        right = plain_greedy(rows, target, case)
        top = np.argsort(-_product(rows, -target.double().numpy()), kind="stable")[: case.picks]
    finally:
        path.unlink(missing_ok=True)
    return {
        "right_picks": float(np.mean([a == b for a, b in zip(order, right, strict=True)])),
        "right_selection": float(np.mean(selection == top)),
        "ms_per_pick": 1000 * meter.seconds["greedy"] / case.picks,
        "rows_mib": round(case.rows * case.width * 4 / (1 << 20), 1),
        **meter.record(),
    }


def write_rows(path: Path, case: SearchCase | PassesCase) -> None:
    """Write seeded normal rows float32 [rows, width], block by block."""
    rng = np.random.default_rng(case.seed)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(case.rows, case.width))
    for at in range(0, case.rows, BLOCK):
        block = out[at : at + BLOCK]
        block[:] = rng.standard_normal(block.shape, np.float32)
    out.flush()


def plain_greedy(rows: NDArray[np.float32], target: Tensor, case: SearchCase) -> list[int]:
    """Pick by a float64 product of all rows at every pick."""
    theta = torch.zeros_like(target)
    order: list[int] = []
    for _ in range(case.picks):
        gains = _product(rows, (theta - target).double().numpy())
        gains[order] = -np.inf
        order.append(int(np.argmax(gains)))
        theta = theta - case.eta * torch.from_numpy(rows[order[-1]].copy())
    return order


def _greedy(rows: NDArray[np.float32], target: Tensor, case: SearchCase) -> list[int]:
    return greedy_towards(target, rows, by=case.search, eta=case.eta, picks=case.picks)[0]


def greedy_towards(
    target: Tensor, rows: NDArray[np.float32], *, by: str, eta: float, picks: int
) -> tuple[list[int], GreedySearch]:
    """Pick rows [N, W] by Algorithm 1 for the objective ½‖θ − target‖², and return the search that proposed them too."""
    held = DenseRows(as_tensor(rows), single_examples(len(rows)))
    seek = search(by, held)
    trace, _ = greedy(held, QuadraticObjective(target), seek, theta=torch.zeros_like(target), eta=eta, budget=picks)
    return list(trace.order), seek


def as_tensor(rows: NDArray[np.float32]) -> Tensor:
    """Return rows as a tensor in the same memory, which may be a file that is only read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(rows)


def _select(rows: NDArray[np.float32], target: Tensor, case: SearchCase) -> NDArray[np.int64]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        warnings.simplefilter("ignore", SingleExamplesWarning)
        task = Task.from_arrays(gradients=rows, validation_gradient=-target.numpy())
        chosen = select(task, RCS(eta=case.eta, groups="example", search=case.search), case.picks, case.seed)
    return chosen.indices


def _product(rows: NDArray[np.float32], query: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([rows[at : at + BLOCK].astype(np.float64) @ query for at in range(0, len(rows), BLOCK)])
