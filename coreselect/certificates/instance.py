"""Certify a greedy selection: from its rows, objective and picks to a `Certificate` (the mathematics is in `bounds`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from coreselect.certificates.bounds import Quadratic, bound_maximum, ratio, submodularity_ratio, theorem_2
from coreselect.errors import RequirementError
from coreselect.gradients.curvature import curvature
from coreselect.gradients.factored import FactoredRows
from coreselect.gradients.rows import DenseRows, Rows
from coreselect.gradients.spread import SpreadRows
from coreselect.network.layout import Layout
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.support.seeding import generator as seeded
from coreselect.types import Certificate, Int64

Method = Literal["instance", "paper", "sampled"]
METHODS: tuple[Method, ...] = ("instance", "paper", "sampled")


@dataclass(frozen=True)
class GreedyProblem:
    """What a greedy selection is made from.

    Attributes:
        rows: of M groups, at θ.
        objective: on validation: `ValidationObjective`, or a fixed query if there is no model.
        layout: how the captured parameters are flattened.
        theta: θ [P].
        eta: η, the step per pick.
        budget: k, how many examples.
        seed: of sampled certificates.
    """

    rows: Rows
    objective: Any
    layout: Layout
    theta: Tensor
    eta: float
    budget: int
    seed: int


def certificate(
    method: Method,
    problem: GreedyProblem,
    picks: Int64,
    order: tuple[int, ...],
    final: Tensor,
    *,
    sigma: float | None = None,
) -> Certificate | None:
    """Return what is known about a greedy selection.

    Args:
        picks: int64 [k], the examples.
        order: the groups that were picked, in pick order.
        final: θ′ [P] after the last pick.
        sigma: σ of Theorem 2, for `paper`; None: 1.
    Returns:
        The certificate; None if `instance` does not apply.
    Raises:
        RequirementError: the method needs values of the objective, full rows or RD, and the task does not have them.
    """
    check_method(method, problem.objective, sketched=_sketched(problem))
    if method == "instance":
        return _instance(problem, picks, order, final)
    if method == "paper":
        return theorem_2(
            problem.objective.value(final), size=problem.objective.size, picks=len(order), lipschitz_sigma=sigma
        )
    return _sampled(problem, len(order))


def check_method(method: Method | None, objective: Any, *, sketched: bool) -> None:
    """Raise an error if a certificate is not possible; called before the sweep, so that no time is lost.

    Raises:
        RequirementError: as `certificate` says.
    """
    if method in (None, "instance"):
        return
    if not isinstance(objective, ValidationObjective):
        raise RequirementError(
            f"the {method!r} certificate needs values of the objective, and this task has no model: use 'instance'."
        )
    if method == "paper" and objective.objective.name != "rd":
        raise RequirementError(
            f"Theorem 2 is about RD, not about {objective.objective.name!r}: use another certificate."
        )
    if method == "sampled" and sketched:
        raise RequirementError(
            "the 'sampled' certificate needs every row in full, and these are sketched: use 'paper'."
        )


def _sketched(problem: GreedyProblem) -> bool:
    """Return whether only a sketch of R is available."""
    return problem.rows.project(problem.theta) is not problem.theta


def _instance(problem: GreedyProblem, picks: Int64, order: tuple[int, ...], final: Tensor) -> Certificate | None:
    if _sketched(problem):
        return None
    has_values = isinstance(problem.objective, ValidationObjective)
    hessian = curvature(problem.objective, problem.layout, problem.theta) if has_values else None
    if has_values and hessian is None:
        return None
    units = _units(problem, picks, order)
    query = problem.objective.query(problem.theta)
    f = Quadratic(
        (problem.eta * units.scale * units.rows.scores(query)).double(),
        None
        if hessian is None
        else lambda w: problem.eta**2 * units.scale * units.rows.scores(hessian(combine(units.rows, units.scale * w))),
    )
    rounding = 4 * len(problem.theta) ** 0.5 * torch.finfo(problem.theta.dtype).eps
    value, upper = bound_maximum(f, units.chosen, units.count, rounding=rounding)
    assumptions = [units.description]
    details: dict[str, float] = {}
    if has_values:
        before = problem.objective.value(problem.theta)
        true = before - problem.objective.value(final)
        details = {"true_decrease_held": true, "excess_of_model": value - true, "objective_before": before}
        if true > upper:
            assumptions.append(f"the true decrease, {true:.4g}, is above the bound: f is a poor model here")
        assumptions += [
            "bounds the quadratic model f at θ, attacked inputs held; f's excess over the true decrease is measured, not bounded",
            f"for every set, the objective cannot decrease by more than its value at θ, {before:.4g}",
        ]
    else:
        assumptions.append("without a model no curvature is known: f is linear, and the bound is exact for it")
    return Certificate("instance", value, upper, ratio(value, upper), tuple(assumptions), details)


@dataclass(frozen=True)
class _Units:
    """The candidates that w weighs: n rows, each with a scale.

    Attributes:
        scale: [n], a factor of each row.
        chosen: [n], 1 for the candidates that were picked, else 0.
        count: how many were picked.
        description: which sets the bound is about.
    """

    rows: Rows
    scale: Tensor
    chosen: Tensor
    count: int
    description: str


def _units(problem: GreedyProblem, picks: Int64, order: tuple[int, ...]) -> _Units:
    """Weigh groups if all have one size and none was trimmed; else examples, if their rows are available."""
    rows, k = problem.rows, len(picks)
    sizes = {len(g) for g in rows.groups}
    in_groups = sum(len(rows.groups[m]) for m in order)
    examples = (
        rows if isinstance(rows, FactoredRows) else rows.examples if isinstance(rows, DenseRows | SpreadRows) else None
    )
    if isinstance(examples, FactoredRows) and (len(sizes) > 1 or in_groups > k):
        scale = torch.empty(examples.count, dtype=problem.theta.dtype, device=problem.theta.device)
        for group in rows.groups:
            scale[torch.as_tensor(group, device=scale.device)] = 1 / len(group)
        description = f"over every set of {k} examples, each with a step of 1/(its group's size)"
        return _Units(examples, scale, _indicator(examples.count, picks, problem.theta), k, description)
    description = f"over every set of {len(order)} whole groups"
    if len(sizes) > 1:
        description += f" (their sizes differ: {min(sizes)} to {max(sizes)})"
    if in_groups > k:
        description += f"; the last pick, trimmed by {in_groups - k} examples, counts as a whole group"
    ones = torch.ones(rows.count, dtype=problem.theta.dtype, device=problem.theta.device)
    return _Units(rows, ones, _indicator(rows.count, order, problem.theta), len(order), description)


def _indicator(n: int, chosen: Sequence[int] | Int64, like: Tensor) -> Tensor:
    """Return float64 [n]: 1 for the chosen, 0 elsewhere."""
    out = torch.zeros(n, dtype=torch.float64, device=like.device)
    out[torch.as_tensor(np.asarray(chosen), device=like.device)] = 1
    return out


def combine(rows: Rows, w: Tensor) -> Tensor:
    """Return Rᵀ w [P]."""
    assert isinstance(rows, FactoredRows | DenseRows | SpreadRows)
    return rows.combine(w).to(w.device)


def _sampled(problem: GreedyProblem, picks: int, samples: int = 20, sigma: float = 1.0) -> Certificate:
    before = problem.objective.value(problem.theta)

    def decrease(members: list[int]) -> float:
        step = sum((problem.rows.full(m).to(problem.theta) for m in members), torch.zeros_like(problem.theta))
        return before - problem.objective.value(problem.theta - problem.eta * step)

    g, counted = submodularity_ratio(
        decrease,
        problem.rows.count,
        size=picks,
        samples=samples,
        sigma=sigma,
        generator=seeded(problem.seed, "sampled certificate"),
    )
    return Certificate(
        method="sampled",
        value=g,
        upper_bound=None,
        ratio=None,
        assumptions=(
            f"value is the smallest submodularity ratio of Ĝ = G + {sigma:g}·|S| in {counted} sampled pairs of sets",
            "it is an estimate, not a bound",
            "G is evaluated exactly, with attacked inputs held",
        ),
        details={"samples": float(counted), "sigma": sigma},
    )
