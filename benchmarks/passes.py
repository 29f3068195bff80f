"""Greedy search with few passes over rows in a memory-mapped file, compared with a plain loop that makes one pass a pick.

The objective is ½‖θ − t‖², so the query θ′ − t moves at every pick. Rows are normal, and picks of one set keep a mean
projection of φ(z_f) / f on the query, f = picks / rows (the mean of the largest share f of normal numbers). The length of t is
chosen so that the steps go a share `way` of it:

    ‖t‖ = picks · η · (φ(z_f) / f) / way

With a way of 0.5 the query is half as long at the end. Beyond 1 it vanishes, and turns at every pick: then no bound can help, and
the case shows what trying costs. Only way matters, not η and ‖t‖ by themselves, so η = 0.001 on the problem of η = 0.01 goes a
tenth of the way.
"""

import os
import time
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.case_types import PassesCase
from benchmarks.meter import Meter
from benchmarks.search import BLOCK, as_tensor, greedy_towards, write_rows
from coreselect import Task, select
from coreselect.gradients.rows import DenseRows, single_examples
from coreselect.selectors import RCS

GROUP = 64  # rows in a group, for the part "groups"
# Of products. The first round of a turn is held up by threads of the form before, which wait in a busy loop.
TURNS, ROUNDS = 2, 5


def run(case: PassesCase, *, work: Path) -> dict[str, Any]:
    """Measure one case.

    `ratio` is our seconds a pick ÷ those of the plain loop; `product_ratio` our seconds of one product of all rows ÷ those of
    the fastest other; `right_picks` the share of checked picks that are the best by a float64 product of all rows.
    """
    work.mkdir(parents=True, exist_ok=True)
    path = work / f"passes-{case.rows}x{case.width}-{os.getpid()}.npy"
    try:
        write_rows(path, case)
        rows = np.load(path, mmap_mode="r")
        target = _target(case)
        with Meter() as meter:
            with meter("plain"):
                plain = plain_loop(rows, target, case, case.plain_picks)
            with meter("greedy"):
                order, passes, notes = _greedy(rows, target, case)
            with meter("groups"):
                grouped = _by_groups(rows, target, case)
        product = _products(rows, target)
        right = _right(rows, target, case, order)
    finally:
        path.unlink(missing_ok=True)
    a_pick = {part: meter.cpu_seconds[part] / picks for part, picks in (("greedy", case.picks), ("plain", len(plain)))}
    return {
        "ratio": a_pick["greedy"] / a_pick["plain"],
        "right_picks": right,
        "same_start": float(np.mean([a == b for a, b in zip(order, plain, strict=False)])),
        "passes": passes,
        "notes": list(notes),
        "product_ratio": product["ours"] / min(v for k, v in product.items() if k != "ours"),
        "product_seconds": product,
        "grouped_picks": grouped,
        "rows_mib": round(case.rows * case.width * 4 / (1 << 20), 1),
        **meter.record(),
    }


def plain_loop(rows: NDArray[np.float32], target: Tensor, case: PassesCase, picks: int) -> list[int]:
    """Pick as one writes it down at first: one product of all rows a pick, in the precision of the rows."""
    matrix = as_tensor(rows)
    theta, dead = torch.zeros_like(target), torch.zeros(len(matrix))
    order: list[int] = []
    for _ in range(picks):
        order.append(int((matrix @ (theta - target) + dead).argmax()))
        dead[order[-1]] = -torch.inf
        theta = theta - case.eta * matrix[order[-1]]
    return order


def _target(case: PassesCase) -> Tensor:
    """Return t [width]."""
    share = case.picks / case.rows
    projection = NormalDist().pdf(NormalDist().inv_cdf(1 - share)) / share
    t = torch.randn(case.width, generator=torch.Generator().manual_seed(case.seed + 1))
    return t * (case.picks * case.eta * projection / case.way / float(t.norm()))


def _greedy(rows: NDArray[np.float32], target: Tensor, case: PassesCase) -> tuple[list[int], int, tuple[str, ...]]:
    order, seek = greedy_towards(target, rows, by=case.search, eta=case.eta, picks=case.picks)
    return order, seek.passes, seek.notes()


def _by_groups(rows: NDArray[np.float32], target: Tensor, case: PassesCase) -> int:
    """Select as many rows in groups, by public names and with a fixed query; return how many."""
    task = Task.from_arrays(gradients=rows, validation_gradient=-target.numpy())
    return len(
        select(task, RCS(eta=case.eta, group_size=GROUP, search=case.search, certify=None), case.picks, case.seed)
    )


def _products(rows: NDArray[np.float32], target: Tensor) -> dict[str, float]:
    """Return the smallest seconds of one product of all rows, ours and others'; each form is repeated by itself."""
    matrix, q = as_tensor(rows), target.numpy()
    held = DenseRows(matrix, single_examples(len(rows)))
    forms = {"ours": lambda: held.scores(target), "torch": lambda: matrix @ target, "numpy": lambda: rows @ q}
    best = dict.fromkeys(forms, float("inf"))
    for name, form in TURNS * list(forms.items()):
        for _ in range(ROUNDS):
            start = time.perf_counter()
            form()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def _right(rows: NDArray[np.float32], target: Tensor, case: PassesCase, order: list[int]) -> float:
    """Return the share of some evenly spaced picks that a float64 product of all rows confirms."""
    at = set(np.linspace(0, case.picks - 1, case.checked).astype(int).tolist())
    theta = torch.zeros_like(target)
    right: list[bool] = []
    for t, m in enumerate(order):
        if t in at:
            q = (theta - target).double().numpy()
            gains = np.concatenate([rows[i : i + BLOCK].astype(np.float64) @ q for i in range(0, len(rows), BLOCK)])
            gains[order[:t]] = -np.inf
            right.append(bool(gains.argmax() == m))
        theta = theta - case.eta * torch.from_numpy(rows[m].copy())
    return float(np.mean(right))
