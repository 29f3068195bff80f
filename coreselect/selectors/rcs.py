"""Robustness-aware coreset selection: Xu, Zhang, Liu, Sugiyama, Kankanhalli, NeurIPS 2023, Algorithm 1.

    S* = argmin_{|S| = k} L_RD(U; θ − η Σ_{m ∈ S} ∇_θ L(B_m; θ)),   L_RD(U; θ) = mean over U of d(h_θ(x̃), h_θ(x))

greedily, by the first-order gain η⟨∇_θ L(B_m; θ), ∇ L_RD(U; θ′)⟩: rows are computed once at θ, and the query again after each
step θ′ ← θ′ − η r_m of a scratch vector. It is always the full inner product. This file puts the parts together.
"""

import math
import warnings
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from coreselect.budget import Budget, resolve
from coreselect.certificates.diagnostics import diagnose
from coreselect.certificates.instance import METHODS, GreedyProblem, Method, certificate, check_method
from coreselect.certificates.lipschitz import Lipschitz
from coreselect.certificates.replay import check_same_task, replay
from coreselect.errors import ShapeError, SingleExamplesWarning
from coreselect.gradients.rows import Groups, Rows, single_examples
from coreselect.gradients.sketch import Sketch
from coreselect.objectives import Objective
from coreselect.objectives import objective as find_objective
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.planning.needs import Need, Sizes
from coreselect.protocols import TaskLike
from coreselect.search import GreeDi, SearchKind, search_kind, spread_by
from coreselect.selectors.checks import nonzero_query, zero_note
from coreselect.selectors.rcs_costs import costs_of_rcs
from coreselect.selectors.rcs_greedi import check_settings, two_rounds
from coreselect.selectors.rcs_rounds import one_round
from coreselect.solvers.greedy import Recraft
from coreselect.support.seeding import generator as seeded
from coreselect.task.attack_steps import with_recorded_steps
from coreselect.task.groups import deal, default_size
from coreselect.task.recorded import use_recorded
from coreselect.task.snapshot import Snapshot
from coreselect.task.stratification import CLUSTERS, Stratify, strata_of
from coreselect.types import Certificate, Float64, Selection

FIXED_QUERY = "the query is the given validation gradient at every pick: no objective was evaluated"


@dataclass(frozen=True)
class RCS:
    """Choose groups whose training gradient lowers an objective on validation most; without labels by default.

    Args:
        objective: `"rd"` (published), `"adversarial_ce"`, `"ce_plus_rd"`, an object, or a callable (`objectives.Custom`).
        eta: η > 0, the step of the scratch vector per pick; published 0.01.
        groups: `"batch"` (published), or `"example"`, which warns: picking single examples by gain alone ruined every model
            it was tested on. The unbiased form is `rcs_sampled`.
        group_size: examples per group, ≥ 1; None: min(64, budget // 8), at least 2 (16 for batch losses).
        stratify: how groups are balanced: `"labels"`, `"clusters"`, None (published), or `"auto"`: by labels if the training
            loss reads them.
        clusters: how many clusters, for `stratify="clusters"`.
        recraft: when validation is attacked again: `"once"` (only at the start), `"halfway"` (once more, when half of the
            budget is held), `"every"` refresh (the letter of Algorithm 1), or after so many picks, ≥ 1.
        refresh: how many picks between two queries, ≥ 1.
        search: `"auto"`, `"exact"` or `"faiss"`, which give the same picks, as does `"sharded"`: ranks that share the selection
            keep their rows, as they do anyway where these are too many for one; or an approximation, whose loss is measured and
            noted: `search.Candidates` (in words `"candidates=4096x64"`), `search.Blocks` (`"blocks=64"`), `search.GreeDi`
            (`"greedi=8"`), which picks in parts first and states its guarantee as the certificate.
        sketch: a `Sketch` of the rows, an approximation; None: full rows, except that gradients of parameters beyond the head,
            and rows that would take more than 8 GiB, are sketched to 4096 numbers; a note says the size and the limit.
        rows: `"fresh"`: a sweep over the pool, as published; `"recorded"`, an approximation for losses of one forward pass: from
            the head's inputs that training has seen last (`History(n, features=True)`), under today's head, without a sweep.
        certify: the certificate: `"instance"`, `"paper"`, `"sampled"` or None.
        sigma: σ ≥ 1 of Theorem 2 for `"paper"`, or the Lipschitz constants that give it; None: 1, the best case.
    """

    objective: Objective | str = "rd"
    eta: float = 0.01
    groups: Literal["batch", "example"] = "batch"
    group_size: int | None = None
    stratify: Stratify = "auto"
    clusters: int = field(default=CLUSTERS, kw_only=True)
    recraft: Recraft = "once"
    refresh: int = 1
    search: SearchKind = "auto"
    sketch: Sketch | None = field(default=None, kw_only=True)
    rows: Literal["fresh", "recorded"] = field(default="fresh", kw_only=True)
    certify: Method | None = "instance"
    sigma: float | Lipschitz | None = field(default=None, kw_only=True)
    name = "rcs"
    renew = "round"
    attacks = frozenset({"pool", "validation"})

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", find_objective(self.objective))
        if not 0 < self.eta <= 1e6:
            raise ShapeError(f"eta must lie in (0, 10⁶], got {self.eta}.")
        if self.groups not in ("batch", "example"):
            raise ShapeError(f"groups must be 'batch' or 'example', got {self.groups!r}.")
        if self.group_size is not None and (type(self.group_size) is not int or self.group_size < 1):
            raise ShapeError(f"group_size must be a whole number of at least 1, got {self.group_size}.")
        if self.refresh < 1 or (isinstance(self.recraft, int) and self.recraft < 1):
            raise ShapeError(f"refresh and recraft must be at least 1 pick, got {self.refresh} and {self.recraft}.")
        if isinstance(self.recraft, str) and self.recraft not in ("once", "halfway", "every"):
            raise ShapeError(f"recraft must be 'once', 'halfway', 'every' or a number of picks, got {self.recraft!r}.")
        if self.stratify not in ("auto", "labels", "clusters", None) or self.clusters < 1:
            raise ShapeError(
                f"stratify must be 'auto', 'labels', 'clusters' or None and clusters at least 1, got {self.stratify!r} and "
                f"{self.clusters}."
            )
        object.__setattr__(self, "search", search_kind(self.search))
        if self.rows not in ("fresh", "recorded"):
            raise ShapeError(f"rows must be 'fresh' or 'recorded', got {self.rows!r}.")
        if self.certify is not None and self.certify not in METHODS:
            raise ShapeError(f"certify must be one of {', '.join(METHODS)} or None, got {self.certify!r}.")
        if isinstance(self.search, GreeDi):
            check_settings(self)
        if self.sigma is not None and not isinstance(self.sigma, Lipschitz) and not 1 <= self.sigma < math.inf:
            raise ShapeError(f"sigma must be at least 1 and finite, or Lipschitz constants, got {self.sigma!r}.")

    @property
    def requires(self) -> frozenset[str]:
        assert isinstance(self.objective, Objective)
        needs = {"gradients", "validation"}
        needs |= {"logits", "validation_labels"} if self.objective.needs_labels else set()  # the labels number classes
        needs |= {"labels"} if self.stratify == "labels" else set()
        needs |= {"recorded_features"} if self.rows == "recorded" else set()
        return frozenset(needs | ({"features"} if self.stratify == "clusters" else set()))

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what a selection needs; how many groups are picked is exact where their sizes divide the budget."""
        return costs_of_rcs(self, sizes)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)
            if isinstance(self.search, GreeDi):
                problem, query, groups, sketch = self._without_rows(snapshot, k)
                found, losses = two_rounds(self, snapshot, problem, query, groups, sketch)
            else:
                problem, query, losses = self._problem(snapshot, k, spread=spread_by(self.search))
                found = one_round(self, snapshot, problem, query)
            rows, trace, theta = found.rows, found.trace, problem.theta
            members = [rows.groups[m][:kept] for m, kept in zip(trace.order, trace.kept, strict=True)]
            picks = np.concatenate(members)
            sizes = np.array([len(m) for m in members])
            if isinstance(problem.objective, ValidationObjective):
                problem.objective.return_to_start()
            with snapshot.clock("diagnostics"):
                diagnostics = diagnose(
                    snapshot,
                    rows,
                    problem.objective,
                    losses,
                    query=query,
                    theta=theta,
                    final=found.final,
                    eta=self.eta,
                    picks=picks,
                )
            with snapshot.clock("certificate"):
                certified = found.certify(problem, picks)
            return snapshot.selection(
                self,
                picks,
                groups=np.repeat(trace.order, sizes),
                gains=np.repeat(np.array(trace.gains) / sizes, sizes),
                scores=_first_gains(rows, self.eta, query),
                nested=True,
                certificate=certified,
                diagnostics=diagnostics,
                notes=(*found.notes, *_fixed_query_notes(problem, query)),
                settings={
                    "group_size": max(len(g) for g in rows.groups),
                    "candidate_groups": len(rows.groups),
                    "search_passes": found.passes,
                },
            )

    def certificate(
        self, task: TaskLike, selection: Selection, method: Method, *, sigma: float | None = None
    ) -> Certificate | None:
        """Certify a selection that this selector made of this task; everything is computed again.

        Raises:
            RequirementError: the selection was made from another task, or the method does not apply.
        """
        made = selection.provenance
        task = with_recorded_steps(task, made.task.get("attack"))
        with task.snapshot(made.seed, made.round) as snapshot:
            check_same_task(made, snapshot.context.fingerprint, snapshot.record(of_rows=True))
            problem, _, _ = self._problem(snapshot, len(selection))
            order, theta = replay(problem, selection)
            sigma = self.sigma_of(len(order)) if sigma is None else sigma
            return snapshot.context.qualified(
                certificate(method, problem, selection.indices, order, theta, sigma=sigma)
            )

    def sigma_of(self, picks: int) -> float | None:
        """Return σ of Theorem 2 for so many picked groups."""
        return self.sigma.sigma(self.eta, picks) if isinstance(self.sigma, Lipschitz) else self.sigma

    def _without_rows(self, snapshot: Snapshot, k: int) -> tuple[GreedyProblem, Tensor, Groups, Sketch | None]:
        """Return what greedy works on but for its rows, the query q(θ) [P], and the groups and the sketch of the rows."""
        if self.rows == "recorded":
            snapshot.context.note(use_recorded(snapshot))
        groups = self._groups(snapshot, k)
        sketch, note = (self.sketch, None) if self.sketch else snapshot.sketch_for(groups)
        if note:
            snapshot.context.note(note)
        assert isinstance(self.objective, Objective)
        objective = snapshot.objective(self.objective)
        check_method(self.certify, objective, sketched=sketch is not None)
        theta = snapshot.theta()
        query = nonzero_query(
            objective.query(theta), snapshot, self.name
        )  # before the sweep, which is most of the work
        nothing: Any = None
        problem = GreedyProblem(nothing, objective, snapshot.layout(), theta, self.eta, k, snapshot.seed)
        return problem, query, groups, sketch

    def _problem(
        self, snapshot: Snapshot, k: int, *, spread: bool | None = False
    ) -> tuple[GreedyProblem, Tensor, Tensor | None]:
        """Return what greedy works on, the query q(θ) [P], and the groups' training losses [M] if they are known."""
        problem, query, groups, sketch = self._without_rows(snapshot, k)
        rows, losses = snapshot.rows(groups, sketch, spread=spread)
        return replace(problem, rows=rows), query, losses

    def _groups(self, snapshot: Snapshot, k: int) -> Groups:
        """Return the candidate groups."""
        if snapshot.fixed_groups is not None:
            return snapshot.fixed_groups
        if self.groups == "example":
            warnings.warn(
                "picking single examples by gain ruined every model it was tested on: use groups='batch', or rcs_sampled.",
                SingleExamplesWarning,
                stacklevel=4,
            )
            return single_examples(snapshot.n)
        size = min(snapshot.n, self.group_size or default_size(k, batch_loss=snapshot.batch_loss))
        strata = strata_of(snapshot, self.stratify, self.clusters)
        return deal(snapshot.n, size, seeded(snapshot.draw_seed, "groups", snapshot.round), strata)


def _fixed_query_notes(problem: GreedyProblem, query: Tensor) -> tuple[str, ...]:
    """Say that the query never changed, if it came as an array."""
    return () if isinstance(problem.objective, ValidationObjective) else (FIXED_QUERY, *zero_note(query))


def _first_gains(rows: Rows, eta: float, query: Tensor) -> Float64:
    """Return every example's gain at θ, [N]: the gain of its group divided by the group's size."""
    per_group = eta * rows.scores(rows.project(query)).double().cpu().numpy()
    out = np.empty(sum(len(g) for g in rows.groups))
    for m, group in enumerate(rows.groups):
        out[group] = per_group[m] / len(group)
    return out
