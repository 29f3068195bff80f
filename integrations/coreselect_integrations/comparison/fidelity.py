"""Measure how far the approximations of RCS can be trusted at a checkpoint θ.

    predicted(m) = η⟨r_m, q⟩,  q = ∇RD(U; θ)              true(m) = RD(U; θ) − RD(U; θ − η r_m)
    G(S) = −RD(U; θ − η Σ_{m ∈ S} r_m),  attacked again    sds(S) = (G(S) − mean G(random)) / sd G(random)
    kept(a) = (G(S_a) − mean G(random)) / (G(S) − mean G(random)),  S_a: what RCS picks under the approximation a

Rows always use the attack of the task, also for sets that were chosen with another attack. `set_value.py` says how a set
moves the model and how it is valued, `predictions.py` how gains are compared.

Source of RCS: Xu et al., NeurIPS 2023, Algorithm 1.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
import torch

from coreselect import Selection, Selector, Task, select
from coreselect.attacks import PGD
from coreselect.budget import resolve
from coreselect.choosing import check_selector
from coreselect.errors import BudgetError, RequirementError
from coreselect.gradients.sketch import Sketch
from coreselect.network.precision import HalfPrecision
from coreselect.objectives import Objective
from coreselect.selectors import RCS, Mixture
from coreselect.support.seeding import generator
from coreselect.task.groups import deal, default_size
from coreselect.task.task import ModelTask
from coreselect_integrations.comparison.fidelity_report import ApproximationCost, Fidelity, MethodValue
from coreselect_integrations.comparison.predictions import agree
from coreselect_integrations.comparison.set_value import SetValue

WIDTHS = (64, 512, 4096)


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
    """Measure the fidelity at the current parameters of the task's model.

    Args:
        task: of a model, with validation; G moves the parameters that it captures. Fewer attack steps are compared with its
            attack.
        methods: their sets are compared with random sets; methods called `rcs` are `rcs` itself.
        budget: see `coreselect.select`; below the whole pool.
        rcs: objective, η, group size and everything else that the approximations change one by one. Other forms of RCS get
            its group size if they have none. Seconds do not include certificates.
        groups: number of random groups for which gains and true decreases are compared, 3 or more; at most all groups.
        sets: number of random sets, 2 or more.
        widths: of sketches; None means those of 64, 512 and 4096 that are shorter than a row.
        seed: of every draw.
    Raises:
        RequirementError: the task has no model or no validation, it lacks something that a method needs, or a number is too small.
        BudgetError: the budget is out of range, or the whole pool.
        NonFiniteError: outputs are not finite after the step of a set, because the step is too long.
    """
    if not isinstance(task, ModelTask):
        why = "a fidelity report needs a model, but this task has none: make the task with Task.from_model."
        raise RequirementError(why)
    for what, number, least in (("groups", groups, 3), ("sets", sets, 2)):
        if number < least:
            why = f"a fidelity report needs {least} or more random {what}, got {number}."
            raise RequirementError(why)
    methods = {name: rcs if name == "rcs" else comparable(method, rcs) for name, method in methods.items()}
    for method in (rcs, *methods.values()):
        check_selector(method, task)
    k = resolve(budget, task.n)
    if k == task.n:
        raise BudgetError(
            f"with a budget of all {k} examples there is only one set and nothing to compare: use a smaller budget."
        )
    g = min(k, rcs.group_size or default_size(k, batch_loss=not task.loss.per_example))
    if g < 2 and not task.loss.per_example:
        why = f"the loss {task.loss.name!r} needs groups of 2 or more, but they have 1: use a larger budget or group size."
        raise RequirementError(why)
    rcs = replace(rcs, group_size=g, certify=None)
    objective = rcs.objective
    assert isinstance(objective, Objective)  # RCS replaces names by objectives
    dealt = deal(task.n, g, generator(seed, "fidelity groups"))[:groups]
    if len(dealt) < 3:
        why = f"{task.n} examples make {len(dealt)} groups of {g}, but a ranking needs 3: give a smaller group size."
        raise RequirementError(why)
    sketch = rcs.sketch or Sketch()
    agreements = agree(task, objective, dealt, rcs.eta, seed, sketch)
    with task.snapshot(seed, 0) as shot:
        set_value = SetValue(shot, objective, rcs.eta, g)
        values = []
        for i in range(sets):
            order = torch.randperm(task.n, generator=generator(seed, "fidelity sets", i)).numpy()
            values.append(set_value.value(order[:k]))
            task.progress("sets", i + 1, sets)
        mean, sd = statistics.fmean(values), statistics.stdev(values)
        size, rd = shot.layout().size, set_value.held.value(shot.theta())

        def sds(value: float) -> float | None:
            return (value - mean) / sd if sd > 0 else None

        def measured(name: str, on: Task, method: Selector) -> tuple[MethodValue, Selection]:
            start = perf_counter()
            chosen = select(on, method, k, seed)
            seconds = perf_counter() - start
            value = set_value.of(chosen)
            return MethodValue(name, value, sds(value), seconds), chosen

        best, picks = measured("rcs", task, rcs)
        others = {name: measured(name, task, m)[0] for name, m in methods.items() if name != "rcs"}
        wide = [w for w in WIDTHS if w < size] if widths is None else widths
        found = [(best, picks), *(measured(name, on, m) for name, on, m in approximations(task, rcs, wide))]
    gain = best.g - mean
    return Fidelity(
        pool=task.n, validation=set_value.held.size, budget=k, group_size=g, eta=rcs.eta, parameters=size, rd=rd,
        groups=len(dealt), sketch=sketch.width, agreements=agreements, sets=sets, random_mean=mean, random_sd=sd,
        methods=tuple(best if name == "rcs" else others[name] for name in methods),
        costs=tuple(
            ApproximationCost(
                w.name, w.g, w.sds, (w.g - mean) / gain if gain > 0 else None, w.seconds,
                len(np.intersect1d(s.indices, picks.indices)) / k,
            )
            for w, s in found
        ),
    )  # fmt: skip


def comparable(method: Selector, rcs: RCS) -> Selector:
    """Return a method without certificates; forms of RCS without a group size get that of `rcs`."""
    if isinstance(method, RCS):
        return replace(method, certify=None, group_size=method.group_size or rcs.group_size)
    if isinstance(method, Mixture):  # its parts have smaller budgets, and so smaller groups
        parts = [replace(part, certify=None) if isinstance(part, RCS) else part for part in method.selectors]
        return replace(method, selectors=parts)
    return method


def approximations(task: ModelTask, rcs: RCS, widths: Sequence[int]) -> list[tuple[str, ModelTask, RCS]]:
    """List the approximations, each different from the given RCS in one thing, as (name, task, selector)."""
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
