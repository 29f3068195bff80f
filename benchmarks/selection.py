"""A whole `select` compared with a plain program of the paper's procedure, in time and in quality of the selection.

Ours is the call of a user, `select(task, RCS(...))` with its defaults: the sweep, a new query at every pick with fixed attacked
inputs (`recraft="once"`), diagnostics and certificate. The other side is `benchmarks.plain`. Groups, attack steps and random
starts are the same. The plain procedure takes its turns during our sweep, batch by batch; on a GPU it runs before.

    quality = (G(ours) − G_random) / (G(plain) − G_random),    G(S) = −RD(U; θ − η Σ_{m ∈ S} r_m)

For each set S, validation is attacked again at its own θ(S). All sets use the same attack and the same starts, which no
selection has used. G_random is the mean over `random_sets` random sets of groups with the same budget.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import problem
from benchmarks.case_types import SelectionCase
from benchmarks.meter import Interleaved, Meter, clock_of
from benchmarks.plain import Int64, Picked, Plain, Steps, kl
from coreselect import Selection, Task, holdout, select
from coreselect.attacks import PGD
from coreselect.network.arithmetic import exact_arithmetic
from coreselect.network.precision import HalfPrecision
from coreselect.objectives import RD
from coreselect.selectors import RCS
from coreselect.support import seeding
from coreselect.task.groups import deal

HEAD = "head"


def run(case: SelectionCase, *, data: str, work: Path, device: torch.device = problem.CPU) -> dict[str, Any]:
    """Measure one case: `ratio` is plain / ours, `quality` as above."""
    model = problem.warmed_up(case.warm, data, work, case.arch, device)
    dataset = problem.images(data, case.pool + case.validation)
    pool, validation = holdout(dataset, size=case.validation, seed=case.seed)
    plain = plainly(case, model, pool, validation, HEAD)
    attack = HalfPrecision(case.attack) if case.half else case.attack
    task = Task.from_model(
        model, pool, validation, loss="sat", attack=attack, batch_size=case.batch_size, num_workers=case.num_workers
    )
    task.fingerprint()
    with torch.no_grad():
        model(torch.stack([pool[i][0] for i in range(case.group_size)]).to(device))  # the first pass chooses kernels
    with exact_arithmetic(device), Meter(clock=clock_of(device)) as meter:
        rival = Interleaved(plain.choose(), meter, "plain")
        riding = task
        if device.type == "cpu":
            riding = task.reporting(lambda part, done, total: rival.until(done / total) if part == "sweep" else None)
        else:  # turns would end the work ahead of the host
            rival.finish()
        with meter("ours"):
            selection = select(riding, selector(case), case.budget, case.seed)
        picked = rival.finish()
    set_value = SetValue(plain, case, picked.rows)
    return {
        "ratio": meter.seconds["plain"] / meter.seconds["ours"],
        "cpu_ratio": meter.cpu_seconds["plain"] / meter.cpu_seconds["ours"],
        **meter.record(),
        "ours_by_part": {k: round(v, 4) for k, v in selection.provenance.seconds.items()},
        **set_value.compare(ours(selection), (picked.order, picked.kept)),
    }


def selector(case: SelectionCase, **changed: Any) -> RCS:
    """Return RCS with published, label-free groups, so that both sides have the same groups."""
    settings: dict[str, Any] = {
        "objective": RD("kl", attack=case.validation_attack),
        "eta": case.eta,
        "group_size": case.group_size,
        "stratify": None,
    }
    return RCS(**{**settings, **changed})


def plainly(case: SelectionCase, model: nn.Module, pool: Any, validation: Any, head: str) -> Plain:
    """Return the plain procedure on the same groups, attack steps and starts that `select` uses."""

    def validation_start(x: Tensor, positions: Int64, crafting: int) -> Tensor:
        return seeding.noise(x, seeding.seeds(case.seed, "validation attack", 0, crafting, indices=positions))

    return Plain(
        model=model,
        head=head,
        pool=pool,
        validation=validation,
        groups=deal(case.pool, case.group_size, seeding.generator(case.seed, "groups", 0)),
        budget=case.budget,
        eta=case.eta,
        train=_steps(case.attack),
        rd=_steps(case.validation_attack),
        train_start=lambda x, positions: seeding.noise(x, seeding.seeds(case.seed, "attack", 0, 0, indices=positions)),
        validation_start=validation_start,
        batch_size=case.batch_size,
        device=next(model.parameters()).device,
    )


def _steps(attack: PGD) -> Steps:
    return Steps(attack.radius, attack.step, attack.steps)


Set = tuple[Sequence[int], Sequence[int]]  # groups, and the number of examples of each


def ours(selection: Selection) -> Set:
    """Return the groups of a selection in pick order, and the number of examples that it took of each."""
    groups = list(dict.fromkeys(selection.groups.tolist()))
    return groups, [int((selection.groups == g).sum()) for g in groups]


class SetValue:
    """Evaluate sets of groups by RD of the one-step model.

    Args:
        rows: every group's row [M, P] at θ.
    """

    def __init__(self, plain: Plain, case: SelectionCase, rows: Tensor) -> None:
        self._plain, self._case, self._rows = plain, case, rows
        self._model = copy.deepcopy(plain.model).eval().requires_grad_(False)
        self._head = list(self._model.get_submodule(plain.head).parameters())
        self._theta = [p.clone() for p in self._head]
        u = plain.validation
        self._u = torch.stack([u[i][0] for i in range(len(u))]).to(plain.device)
        positions = np.arange(len(u), dtype=np.int64)
        self._start = seeding.noise(self._u, seeding.seeds(case.seed, "evaluation attack", indices=positions))

    def compare(self, ours: Set, plain: Set) -> dict[str, Any]:
        """Return quality and its parts; `quality` is NaN if the plain picks are no better than random ones."""
        draw = seeding.generator(self._case.seed, "random sets")
        values = [self.rd(self._random(draw)) for _ in range(self._case.random_sets)]
        at_random = float(np.mean(values))
        of_ours, of_plain = self.rd(ours), self.rd(plain)
        gain = at_random - of_plain
        return {
            "quality": (at_random - of_ours) / gain if gain > 0 else float("nan"),
            "rd": {
                "before": self.rd(([], [])),
                "ours": of_ours,
                "plain": of_plain,
                "random_mean": at_random,
                "random_sd": float(np.std(values, ddof=1)),
            },
            "picks": len(plain[0]),
            "picks_in_common": len(set(ours[0]) & set(plain[0])),
            "same_order": list(ours[0]) == list(plain[0]),
        }

    def rd(self, chosen: Set) -> float:
        """Return the mean RD of validation at θ(S), with a new attack there."""
        step = torch.zeros_like(self._rows[0])
        for m, kept in zip(*chosen, strict=True):
            group = self._plain.groups[m]
            row = self._rows[m] if kept == len(group) else self._cut_row(m, kept)
            step += kept / len(group) * row
        at = 0
        for p, was in zip(self._head, self._theta, strict=True):
            p.copy_(was - self._case.eta * step[at : at + p.numel()].view_as(p))
            at += p.numel()
        total = 0.0
        for x, start in zip(
            self._u.split(self._case.batch_size), self._start.split(self._case.batch_size), strict=True
        ):
            with torch.no_grad():
                natural = self._model(x)
            (moved,) = self._case.validation_attack(
                lambda views, natural=natural: kl(self._model(views[0]), natural), (x,), (start,)
            )
            with torch.no_grad():
                total += float(kl(self._model(moved), natural))
        return total / len(self._u)

    def _cut_row(self, m: int, kept: int) -> Tensor:
        whole = copy.deepcopy(self._plain.model).eval().requires_grad_(True)
        return self._plain.row(whole, self._plain.groups[m][:kept])

    def _random(self, draw: torch.Generator) -> Set:
        groups, kept = [], []
        for m in torch.randperm(len(self._plain.groups), generator=draw).tolist():
            take = min(len(self._plain.groups[m]), self._case.budget - sum(kept))
            if take == 0:
                break
            groups.append(m)
            kept.append(take)
        return groups, kept


__all__ = ["Picked", "SetValue", "ours", "plainly", "run", "selector"]
