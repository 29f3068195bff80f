"""Certify a greedy selection: from rows, an objective and the picks to a `Certificate` (the statements are in `bounds`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from coreselect.certificates.bounds import Quadratic, instance, paper, ratio, submodularity_ratio
from coreselect.errors import RequirementError
from coreselect.gradients.curvature import curvature
from coreselect.gradients.factored import FactoredRows
from coreselect.gradients.rows import DenseRows, Rows
from coreselect.network.layout import Layout
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.support.seeding import generator as seeded
from coreselect.types import Certificate, Int64

Method = Literal["instance", "paper", "sampled"]
METHODS: tuple[Method, ...] = ("instance", "paper", "sampled")


@dataclass(frozen=True)
class Made:
    """What a greedy selection was made from: rows, objective, θ [P], η, k examples, and the seed of sampled certificates."""

    rows: Rows
    held: Any  # ValidationObjective, or a fixed query where there is no model
    layout: Layout
    theta: Tensor
    eta: float
    budget: int
    seed: int


def certificate(
    method: Method, made: Made, picks: Int64, order: tuple[int, ...], final: Tensor, *, sigma: float | None = None
) -> Certificate | None:
    """State what is known about picks [k] in groups `order`, which moved θ to `final`; None where `instance` does not apply.

    Raises:
        RequirementError: the method needs values of the objective, full rows or RD, and the task has none.
    """
    refuse(method, made.held, sketched=_sketched(made))
    if method == "instance":
        return _instance(made, picks, order, final)
    if method == "paper":
        return paper(made.held.value(final), size=made.held.size, picks=len(order), lipschitz_sigma=sigma)
    return _sampled(made, len(order))


def refuse(method: Method | None, held: Any, *, sketched: bool) -> None:
    """Refuse a certificate that cannot be given; asked before a sweep, so that none is paid for in vain.

    Raises:
        RequirementError: as `certificate` says.
    """
    if method in (None, "instance"):
        return
    if not isinstance(held, ValidationObjective):
        raise RequirementError(
            f"the {method!r} certificate needs values of the objective, and this task has no model: use 'instance'."
        )
    if method == "paper" and held.objective.name != "rd":
        raise RequirementError(f"Theorem 2 is about RD, not about {held.objective.name!r}: use another certificate.")
    if method == "sampled" and sketched:
        raise RequirementError(
            "the 'sampled' certificate needs every row in full, and these are sketched: use 'paper'."
        )


def _sketched(made: Made) -> bool:
    """Whether only a sketch of R is at hand."""
    return made.rows.project(made.theta) is not made.theta


def _instance(made: Made, picks: Int64, order: tuple[int, ...], final: Tensor) -> Certificate | None:
    if _sketched(made):
        return None
    live = isinstance(made.held, ValidationObjective)
    bend = curvature(made.held, made.layout, made.theta) if live else None
    if live and bend is None:
        return None
    units = _units(made, picks, order)
    query = made.held.query(made.theta)
    f = Quadratic(
        (made.eta * units.scale * units.rows.scores(query)).double(),
        None
        if bend is None
        else lambda w: made.eta**2 * units.scale * units.rows.scores(bend(combine(units.rows, units.scale * w))),
    )
    rounding = 4 * len(made.theta) ** 0.5 * torch.finfo(made.theta.dtype).eps
    value, upper = instance(f, units.chosen, units.count, rounding=rounding)
    assumptions = [units.words]
    details: dict[str, float] = {}
    if live:
        before = made.held.value(made.theta)
        true = before - made.held.value(final)
        details = {"true_decrease_held": true, "excess_of_model": value - true, "objective_before": before}
        if true > upper:
            assumptions.append(f"the true decrease, {true:.4g}, lies above the bound: f is a poor model here")
        assumptions += [
            "bounds the quadratic model f at θ, attacked inputs held; f's excess over the true decrease is measured, not bounded",
            f"whatever the set, the objective cannot decrease by more than its value at θ, {before:.4g}",
        ]
    else:
        assumptions.append("no curvature is known without a model: f is linear and the bound is exact for it")
    return Certificate("instance", value, upper, ratio(value, upper), tuple(assumptions), details)


@dataclass(frozen=True)
class _Units:
    """The candidates that w weighs, one scaled row each."""

    rows: Rows
    scale: Tensor  # [n]
    chosen: Tensor  # [n] in {0, 1}
    count: int
    words: str


def _units(made: Made, picks: Int64, order: tuple[int, ...]) -> _Units:
    """Weigh whole groups where all are of one size and none was trimmed, else examples where their rows are at hand."""
    rows, k = made.rows, len(picks)
    sizes = {len(g) for g in rows.groups}
    held = sum(len(rows.groups[m]) for m in order)
    examples = rows if isinstance(rows, FactoredRows) else rows.examples if isinstance(rows, DenseRows) else None
    if isinstance(examples, FactoredRows) and (len(sizes) > 1 or held > k):
        scale = torch.empty(examples.count, dtype=made.theta.dtype, device=made.theta.device)
        for group in rows.groups:
            scale[torch.as_tensor(group, device=scale.device)] = 1 / len(group)
        words = f"over every set of {k} examples, each stepped with 1/(its group's size)"
        return _Units(examples, scale, _indicator(examples.count, picks, made.theta), k, words)
    words = f"over every set of {len(order)} whole groups"
    if len(sizes) > 1:
        words += f" (their sizes differ: {min(sizes)} to {max(sizes)})"
    if held > k:
        words += f"; the last pick, trimmed by {held - k} examples, is counted whole"
    ones = torch.ones(rows.count, dtype=made.theta.dtype, device=made.theta.device)
    return _Units(rows, ones, _indicator(rows.count, order, made.theta), len(order), words)


def _indicator(n: int, chosen: Sequence[int] | Int64, like: Tensor) -> Tensor:
    """1 at the chosen, 0 elsewhere: float64 [n]."""
    out = torch.zeros(n, dtype=torch.float64, device=like.device)
    out[torch.as_tensor(np.asarray(chosen), device=like.device)] = 1
    return out


def combine(rows: Rows, w: Tensor) -> Tensor:
    """Rᵀ w [P]."""
    if isinstance(rows, FactoredRows):
        return rows.combine(w)
    assert isinstance(rows, DenseRows)
    return torch.stack([w[at : at + len(b)].to(b) @ b for at, b in rows.blocks()]).sum(0)


def _sampled(made: Made, picks: int, samples: int = 20, sigma: float = 1.0) -> Certificate:
    before = made.held.value(made.theta)

    def decrease(members: list[int]) -> float:
        step = sum((made.rows.full(m).to(made.theta) for m in members), torch.zeros_like(made.theta))
        return before - made.held.value(made.theta - made.eta * step)

    g, counted = submodularity_ratio(
        decrease,
        made.rows.count,
        size=picks,
        samples=samples,
        sigma=sigma,
        generator=seeded(made.seed, "sampled certificate"),
    )
    return Certificate(
        method="sampled",
        value=g,
        upper_bound=None,
        ratio=None,
        assumptions=(
            f"value is the smallest submodularity ratio of Ĝ = G + {sigma:g}·|S| in {counted} sampled pairs of sets",
            "it is an estimate, not a bound",
            "G is evaluated truly, attacked inputs held",
        ),
        details={"samples": float(counted), "sigma": sigma},
    )
