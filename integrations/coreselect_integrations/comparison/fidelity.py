"""How far the approximations of RCS can be trusted at a checkpoint θ (RCS: Xu et al., NeurIPS 2023, Algorithm 1).

    predicted(m) = η⟨r_m, q⟩,  q = ∇RD(U; θ)              true(m) = RD(U; θ) − RD(U; θ − η r_m)
    G(S) = −RD(U; θ − η Σ_{m ∈ S} r_m),  attacked anew     sds(S) = (G(S) − mean G(random)) / sd G(random)
    kept(a) = (G(S_a) − mean G(random)) / (G(S) − mean G(random)),  S_a: what RCS picks under the approximation a

Rows are of the task's own attack, whichever a set was chosen under; `worth` says how a set is stepped and judged.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from coreselect import Selection, Selector, Task, select
from coreselect.attacks import PGD
from coreselect.budget import resolve
from coreselect.certificates.diagnostics import rank_correlation
from coreselect.choosing import require
from coreselect.errors import BudgetError, RequirementError
from coreselect.gradients.sketch import Sketch
from coreselect.network.precision import HalfPrecision
from coreselect.objectives import Objective
from coreselect.selectors import RCS, Mixture
from coreselect.support.seeding import generator
from coreselect.task.groups import deal, default_size
from coreselect.task.task import ModelTask
from coreselect.types import Int64
from coreselect_integrations.comparison.set_value import SetValue, after, opened

WIDTHS = (64, 512, 4096)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Of some groups [M], float64: first-order gains, exact and of sketched rows, and true decreases of L under one step."""

    gains: Tensor
    sketched: Tensor
    held: Tensor
    recrafted: Tensor


@dataclass(frozen=True, slots=True)
class Agreement:
    """Spearman of `gains` with true decreases under a step on `step` (head or whole); None where a side is constant."""

    gains: str
    step: str
    held: float | None
    recrafted: float | None


@dataclass(frozen=True, slots=True)
class Worth:
    """A set's G, in random sds above the random mean (None: the sd is 0), and the seconds that choosing it took."""

    name: str
    g: float
    sds: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Cost:
    """An approximation of RCS: `kept` of the gain over random (None: there is none to keep), seconds, picks in common."""

    name: str
    g: float
    sds: float | None
    kept: float | None
    seconds: float
    shared: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """The report; `costs[0]` is RCS as it was set, `rd` is RD(U; θ), `parameters` P of the capture that G moves."""

    pool: int
    validation: int
    budget: int
    group_size: int
    eta: float
    parameters: int
    rd: float
    groups: int
    sketch: int
    agreements: tuple[Agreement, ...]
    sets: int
    random_mean: float
    random_sd: float
    methods: tuple[Worth, ...]
    costs: tuple[Cost, ...]


def fidelity(
    task: Task,
    methods: Mapping[str, Selector],
    budget: float,
    *,
    rcs: RCS,
    groups: int = 32,
    sets: int = 20,
    widths: Sequence[int] | None = None,
    seed: int = 0,
) -> Fidelity:
    """Measure at the task's model as it stands.

    Args:
        task: a model's, with validation; G moves what it captures. Its attack is what fewer steps are held against.
        methods: chosen with and held against random sets; those called `rcs` are `rcs` itself.
        budget: as `coreselect.select` takes it; below the whole pool.
        rcs: objective, η, group size and everything else that approximations change one by one. Other forms of RCS are given
            its group size where they have none. Seconds leave certificates out.
        groups: random groups that gains and true decreases are compared on, 3 or more; all there are, if they are fewer.
        sets: random sets, 2 or more.
        widths: of sketches; None: those of 64, 512 and 4096 that shorten a row.
        seed: of every draw.
    Raises:
        RequirementError: there is no model or validation, a method lacks something, or a number is too small.
        BudgetError: the budget is out of range, or the whole pool.
        NonFiniteError: a set's step is so long that outputs are not finite.
    """
    if not isinstance(task, ModelTask):
        why = "a report of fidelity steps a model, and this task has none: make it with Task.from_model."
        raise RequirementError(why)
    for what, number, least in (("groups", groups, 3), ("sets", sets, 2)):
        if number < least:
            why = f"a report of fidelity needs {least} or more random {what}, got {number}."
            raise RequirementError(why)
    methods = {name: rcs if name == "rcs" else alike(method, rcs) for name, method in methods.items()}
    for method in (rcs, *methods.values()):
        require(method, task.provides)
    k = resolve(budget, task.n)
    if k == task.n:
        raise BudgetError(f"a budget of all {k} examples leaves one set, and nothing to compare: ask for fewer.")
    g = min(k, rcs.group_size or default_size(k, batch_loss=not task.loss.per_example))
    if g < 2 and not task.loss.per_example:
        why = f"the loss {task.loss.name!r} is of a batch and groups are of 1: ask for a larger budget or group size."
        raise RequirementError(why)
    rcs = replace(rcs, group_size=g, certify=None)
    goal = rcs.objective
    assert isinstance(goal, Objective)  # RCS resolves names
    dealt = deal(task.n, g, generator(seed, "fidelity groups"))[:groups]
    if len(dealt) < 3:
        why = f"{task.n} examples make {len(dealt)} groups of {g}, and 3 are needed to rank: give a smaller group size."
        raise RequirementError(why)
    sketch = rcs.sketch or Sketch()
    agreements = agree(task, goal, dealt, rcs.eta, seed, sketch)
    with task.snapshot(seed, 0) as shot:
        judge = SetValue(shot, goal, rcs.eta, g)
        values = []
        for i in range(sets):
            order = torch.randperm(task.n, generator=generator(seed, "fidelity sets", i)).numpy()
            values.append(judge.value(order[:k]))
            task.progress("sets", i + 1, sets)
        mean, sd = statistics.fmean(values), statistics.stdev(values)
        size, rd = shot.layout().size, judge.held.value(shot.theta())

        def sds(value: float) -> float | None:
            return (value - mean) / sd if sd > 0 else None

        def measured(name: str, on: Task, method: Selector) -> tuple[Worth, Selection]:
            start = perf_counter()
            chosen = select(on, method, k, seed)
            seconds = perf_counter() - start
            value = judge.of(chosen)
            return Worth(name, value, sds(value), seconds), chosen

        best, picks = measured("rcs", task, rcs)
        others = {name: measured(name, task, m)[0] for name, m in methods.items() if name != "rcs"}
        wide = [w for w in WIDTHS if w < size] if widths is None else widths
        found = [(best, picks), *(measured(name, on, m) for name, on, m in approximations(task, rcs, wide))]
    won = best.g - mean
    return Fidelity(
        pool=task.n, validation=judge.held.size, budget=k, group_size=g, eta=rcs.eta, parameters=size, rd=rd,
        groups=len(dealt), sketch=sketch.width, agreements=agreements, sets=sets, random_mean=mean, random_sd=sd,
        methods=tuple(best if name == "rcs" else others[name] for name in methods),
        costs=tuple(
            Cost(
                w.name, w.g, w.sds, (w.g - mean) / won if won > 0 else None, w.seconds,
                len(np.intersect1d(s.indices, picks.indices)) / k,
            )
            for w, s in found
        ),
    )  # fmt: skip


def alike(method: Selector, rcs: RCS) -> Selector:
    """Return a method without certificates, forms of RCS in groups of the size of `rcs` where they name none."""
    if isinstance(method, RCS):
        return replace(method, certify=None, group_size=method.group_size or rcs.group_size)
    if isinstance(method, Mixture):  # its parts have smaller budgets, and so smaller groups
        parts = [replace(part, certify=None) if isinstance(part, RCS) else part for part in method.selectors]
        return replace(method, selectors=parts)
    return method


def agree(
    task: ModelTask, objective: Objective, groups: Sequence[Int64], eta: float, seed: int, sketch: Sketch
) -> tuple[Agreement, ...]:
    """Compare gains of the head's rows and of the whole model's, exact and sketched, with what a step on either does."""
    head = predict(replace(task, capture=None), objective, groups, eta, seed, sketch)
    whole = predict(replace(task, capture="all"), objective, groups, eta, seed, sketch)
    pairs = (
        ("head", head.gains, "head", head), ("head", head.gains, "whole", whole),
        ("whole", whole.gains, "whole", whole), ("whole, sketched", whole.sketched, "whole", whole),
    )  # fmt: skip
    return tuple(
        Agreement(name, step, rank_correlation(gains, true.held), rank_correlation(gains, true.recrafted))
        for name, gains, step, true in pairs
    )


def predict(
    task: ModelTask,
    objective: Objective,
    groups: Sequence[Int64],
    eta: float,
    seed: int = 0,
    sketch: Sketch | None = None,
) -> Prediction:
    """Hold first-order gains of some groups against what one step θ − η r_m does, attacked inputs held and re-crafted.

    Args:
        groups: M arrays of pool positions; one full row [P] is in memory at a time.
        sketch: of the rows that `sketched` gains are from.
    """
    sketch = sketch or Sketch()
    found: list[tuple[float, float, float, float]] = []
    with task.snapshot(seed, 0) as shot:
        held, theta = opened(shot, objective), shot.theta()  # [P]
        q, before = held.query(theta), held.value(theta)
        short = sketch(q)  # [W]
        for m, group in enumerate(groups):
            r = shot.rows([group])[0].full(0).to(theta)  # [P]
            there = theta - eta * r
            gain, rough = (float(a.double() @ b.double()) for a, b in ((r, q), (sketch(r), short)))
            anew = before - after(held, there, eta)
            found.append((eta * gain, eta * rough, before - held.value(there), anew))
            shot.progress("groups", m + 1, len(groups))
    return Prediction(*torch.tensor(found, dtype=torch.float64).T)


def approximations(task: ModelTask, rcs: RCS, widths: Sequence[int]) -> list[tuple[str, ModelTask, RCS]]:
    """List what differs from RCS as set in one thing: (name, task, selector)."""
    out: list[tuple[str, ModelTask, RCS]] = []
    attack = task.attack
    if isinstance(attack, PGD) and attack.steps > 1:
        one = replace(attack, steps=1, step=1.25 * attack.radius or 1.0)
        out.append((f"1 attack step, not {attack.steps}", replace(task, attack=one), rcs))
    if isinstance(attack, PGD):
        out.append(("attack in bfloat16", replace(task, attack=HalfPrecision(attack)), rcs))
    out += [(f"recraft {r}", task, replace(rcs, recraft=r)) for r in ("once", "every") if r != rcs.recraft]
    out += [(f"refresh every {n}", task, replace(rcs, refresh=n)) for n in (1, 4) if n != rcs.refresh]
    return out + [(f"sketch of width {w}", task, replace(rcs, sketch=Sketch(w))) for w in widths]
