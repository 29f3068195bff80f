"""Robustness-aware coreset selection: Xu, Zhang, Liu, Sugiyama, Kankanhalli, NeurIPS 2023, Algorithm 1.

    S* = argmin_{|S| = k} L_RD(U; θ − η Σ_{m ∈ S} ∇_θ L(B_m; θ)),   L_RD(U; θ) = mean over U of d(h_θ(x̃), h_θ(x))

greedily, by the first-order gain η⟨∇_θ L(B_m; θ), ∇ L_RD(U; θ′)⟩: rows once at θ, the query anew after each step
θ′ ← θ′ − η r_m in a scratch vector. The full inner product, always. This file is assembly.
"""

import warnings
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from coreselect.budget import Budget, resolve
from coreselect.certificates.diagnostics import diagnose
from coreselect.certificates.instance import METHODS, Made, Method, certificate, refuse
from coreselect.errors import CoreselectWarning, RequirementError, ShapeError, UnknownNameError
from coreselect.gradients.rows import Groups, single_examples
from coreselect.gradients.sketch import Sketch
from coreselect.objectives import Objective
from coreselect.objectives import objective as find_objective
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.protocols import TaskLike
from coreselect.search import SEARCHES, search
from coreselect.solvers.greedy import Recraft, greedy
from coreselect.support.seeding import generator as seeded
from coreselect.task.groups import deal, default_size
from coreselect.task.snapshot import Snapshot
from coreselect.task.strata import CLUSTERS, Stratify, strata
from coreselect.types import Certificate, Selection

GIVEN = "the query is the validation gradient given, at every pick: no objective was evaluated"


class SingleExamplesWarning(CoreselectWarning):
    """Single examples are about to be picked by raw gain."""


@dataclass(frozen=True)
class RCS:
    """Choose groups whose training gradient best lowers an objective on validation, without labels by default.

    Args:
        objective: `"rd"` (published), `"adversarial_ce"`, `"ce_plus_rd"`, an object, or a callable (`objectives.Custom`).
        eta: η > 0, the scratch step per pick; published 0.01.
        groups: `"batch"` (published), or `"example"`, which warns: picking single examples by raw gain destroyed every model
            it was tried on; the unbiased form is `rcs_sampled`.
        group_size: examples a group, ≥ 1; None: min(64, budget // 8), at least 2 (16 for batch losses).
        stratify: `"labels"`, `"clusters"`, None (published), or `"auto"`: labels where the training loss reads them.
        clusters: how many, for `stratify="clusters"`.
        recraft: `"once"`, `"every"` (the letter of Algorithm 1), or every so many picks ≥ 1.
        refresh: renew the query every so many picks, ≥ 1.
        search: `"auto"`, `"exact"` or `"faiss"`; the same picks from each.
        sketch: a `Sketch` of the rows, a named approximation; None: full rows, except that parameters beyond the head are
            sketched to 4096.
        certify: `"instance"`, `"paper"`, `"sampled"` or None.
    """

    objective: Objective | str = "rd"
    eta: float = 0.01
    groups: Literal["batch", "example"] = "batch"
    group_size: int | None = None
    stratify: Stratify = "auto"
    clusters: int = field(default=CLUSTERS, kw_only=True)
    recraft: Recraft = "once"
    refresh: int = 1
    search: str = "auto"
    sketch: Sketch | None = field(default=None, kw_only=True)
    certify: Method | None = "instance"
    name = "rcs"
    renew = "round"

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", find_objective(self.objective))
        if not 0 < self.eta <= 1e6:
            raise ShapeError(f"eta must lie in (0, 10⁶], got {self.eta}.")
        if self.groups not in ("batch", "example"):
            raise ShapeError(f"groups must be 'batch' or 'example', got {self.groups!r}.")
        if self.group_size is not None and (type(self.group_size) is not int or self.group_size < 1):
            raise ShapeError(f"group_size must be a whole number of at least 1, got {self.group_size}.")
        if self.refresh < 1 or (isinstance(self.recraft, int) and self.recraft < 1):
            raise ShapeError(f"refresh and recraft count picks from 1, got {self.refresh} and {self.recraft}.")
        if isinstance(self.recraft, str) and self.recraft not in ("once", "every"):
            raise ShapeError(f"recraft must be 'once', 'every' or a number of picks, got {self.recraft!r}.")
        if self.stratify not in ("auto", "labels", "clusters", None) or self.clusters < 1:
            raise ShapeError(
                f"stratify must be 'auto', 'labels', 'clusters' or None and clusters at least 1, got {self.stratify!r} and "
                f"{self.clusters}."
            )
        if self.search not in SEARCHES:
            raise UnknownNameError(f"no search is called {self.search!r}; there are {', '.join(SEARCHES)}.")
        if self.certify is not None and self.certify not in METHODS:
            raise ShapeError(f"certify must be one of {', '.join(METHODS)} or None, got {self.certify!r}.")

    @property
    def requires(self) -> frozenset[str]:
        assert isinstance(self.objective, Objective)
        needs = {"gradients", "validation"}
        needs |= {"logits", "validation_labels"} if self.objective.needs_labels else set()  # labels are of classes
        needs |= {"labels"} if self.stratify == "labels" else set()
        return frozenset(needs | ({"features"} if self.stratify == "clusters" else set()))

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            made, first, losses = self._open(shot, resolve(budget, shot.n))
            with shot.clock("greedy"):
                trace, final = greedy(
                    made.rows,
                    made.held,
                    search(self.search, made.rows),
                    theta=made.theta,
                    eta=self.eta,
                    budget=made.budget,
                    refresh=self.refresh,
                    recraft=self.recraft,
                    first=first,
                    tick=lambda done, total: shot.shared.progress("greedy", done, total),
                )
            groups = made.rows.groups
            members = [groups[m][:kept] for m, kept in zip(trace.order, trace.kept, strict=True)]
            picks = np.concatenate(members)
            sizes = np.array([len(m) for m in members])
            if self.recraft != "once":
                shot.shared.cache.pop(("objective", self.objective), None)  # its held inputs moved on with θ′
                made = replace(made, held=shot.objective(self.objective))  # type: ignore[arg-type]
            with shot.clock("diagnostics"):
                diagnostics = diagnose(
                    shot,
                    made.rows,
                    made.held,
                    losses,
                    query=first,
                    theta=made.theta,
                    final=final,
                    eta=self.eta,
                    picks=picks,
                )
            with shot.clock("certificate"):
                sealed = None if self.certify is None else certificate(self.certify, made, picks, trace.order, final)
            return shot.selection(
                self,
                picks,
                groups=np.repeat(trace.order, sizes),
                gains=np.repeat(np.array(trace.gains) / sizes, sizes),
                scores=self._scores(made, first),
                nested=True,
                certificate=sealed,
                diagnostics=diagnostics,
                notes=() if isinstance(made.held, ValidationObjective) else (GIVEN,),
                settings={"group_size": max(len(g) for g in groups), "candidate_groups": len(groups)},
            )

    def certificate(
        self, task: TaskLike, selection: Selection, method: Method, *, sigma: float | None = None
    ) -> Certificate | None:
        """State what is known about a selection that this selector made of this task; it is computed anew, not trusted."""
        p = selection.provenance
        with task.snapshot(p.seed, p.round) as shot:
            here = {"pool": shot.shared.fingerprint, **shot.record()}
            made_with = {"pool": p.fingerprint, **p.task}
            other = sorted(k for k in made_with if made_with[k] != here.get(k))
            if other:
                raise RequirementError(
                    f"the selection was made with another {' and another '.join(other)} than this task's: "
                    "certify with the model, pool and settings it was made with."
                )
            made, _, _ = self._open(shot, len(selection))
            order = tuple(int(g) for g in dict.fromkeys(selection.groups.tolist()))
            theta = made.theta
            for m in order:
                mine = selection.indices[selection.groups == m]
                group = made.rows.groups[m]
                if not np.array_equal(mine, group[: len(mine)]):
                    raise RequirementError(
                        "the selection's groups are not those this task deals for its seed and round: "
                        "certify with the pool, labels and settings it was made with."
                    )
                whole = len(mine) == len(group)
                theta = theta - self.eta * len(mine) / len(group) * made.rows.full(m, None if whole else mine).to(theta)
            return certificate(method, made, selection.indices, order, theta, sigma=sigma)

    def _open(self, shot: Snapshot, k: int) -> tuple[Made, Tensor, Tensor | None]:
        groups = self._deal(shot, k)
        sketch = self.sketch or (Sketch() if shot.needs_sketch else None)
        assert isinstance(self.objective, Objective)
        held = shot.objective(self.objective)
        refuse(self.certify, held, sketched=sketch is not None)
        rows, losses = shot.rows(groups, sketch)
        theta = shot.theta()
        made = Made(rows, held, shot.layout(), theta, self.eta, k, shot.seed)
        return made, held.query(theta), losses

    def _deal(self, shot: Snapshot, k: int) -> Groups:
        if shot.fixed_groups is not None:
            return shot.fixed_groups
        if self.groups == "example":
            warnings.warn(
                "picking single examples by raw gain destroyed every model it was tried on: use groups='batch', or rcs_sampled.",
                SingleExamplesWarning,
                stacklevel=4,
            )
            return single_examples(shot.n)
        size = min(shot.n, self.group_size or default_size(k, batch_loss=shot.batch_loss))
        return deal(shot.n, size, seeded(shot.draws, "groups", shot.round), strata(shot, self.stratify, self.clusters))

    def _scores(self, made: Made, query: Tensor) -> np.ndarray:
        """Every example's first gain at θ: its group's / the group's size."""
        per_group = self.eta * made.rows.scores(made.rows.project(query)).double().cpu().numpy()
        out = np.empty(sum(len(g) for g in made.rows.groups))
        for m, group in enumerate(made.rows.groups):
            out[group] = per_group[m] / len(group)
        return out
