"""Claims about plans: the passes of the model are those that the selection then makes, for every method of the catalogue."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cases
import numpy as np
import pytest
import torch
from torch import nn

from coreselect import plan, select
from coreselect.attacks import PGD
from coreselect.errors import BudgetError, RequirementError
from coreselect.gradients.rows import DenseRows
from coreselect.selectors import CCS, CRAIG, D2, RCS, Entropy, KCenter, Mixture, PerClass, Windowed, get_selector
from coreselect.selectors.catalogue import CATALOGUE
from coreselect.types import Selection

N, U, K = 40, 12, 8
PROBES = 4  # the model is probed with at most so many images; here every batch of a pass is larger


@contextmanager
def counted(model: nn.Module) -> Iterator[list[int]]:
    """Count the images that go through the first convolution, in batches that are no probes."""
    seen: list[int] = []
    first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    hook = first.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])) if len(x[0]) > PROBES else None)
    try:
        yield seen
    finally:
        hook.remove()


def passes_made(task: Any, selector: Any, k: int = K) -> int:
    """Select, and return how many images went through the model."""
    with counted(task.model) as seen:
        select(task, selector, k, seed=1)
    return sum(seen)


def task(**settings: Any) -> Any:
    """Make a supervised task with a history."""
    return cases.sat_task(N, u=U, batch_size=16, history=cases.history(N), **settings)


@pytest.mark.parametrize("name", [e.name for e in CATALOGUE if not e.combines])
def test_every_method_makes_the_passes_of_its_plan(name: str) -> None:
    """The forward passes of a selection are exactly those planned, or at most those where the plan says `at most`."""
    made, selector = task(), get_selector(name)
    told = plan(made, selector, K, timed=False)
    count = passes_made(made, selector)
    assert count <= told.forward_passes if told.at_most else count == told.forward_passes
    assert told.at_most == (name == "deepfool")


@pytest.mark.parametrize(
    "selector",
    [
        cases.rcs(group_size=4, recraft="every"),
        cases.rcs(group_size=4, recraft="halfway"),
        cases.rcs(group_size=4, recraft=2, stratify="clusters", clusters=2),
        cases.rcs(group_size=8, objective="ce_plus_rd"),
        cases.rcs(group_size=8, certify=None, refresh=2, recraft="every"),
        Mixture((KCenter(), Entropy(), cases.rcs(group_size=3)), (1, 1, 6)),
        PerClass(CRAIG()),
        Windowed(cases.rcs(group_size=4), window=24),
        Windowed(Entropy(), window=16),
    ],
    ids=lambda s: f"{s.name}-{getattr(s, 'recraft', '')}",
)
def test_settings_and_combinations_are_planned_too(selector: Any) -> None:
    """Attacking validation again, other objectives, and selectors in parts of the pool make the passes of their plan."""
    made = task()
    assert passes_made(made, selector) == plan(made, selector, K, timed=False).forward_passes


@pytest.mark.parametrize("budget", [8, 24])
def test_a_whole_captured_network_is_planned(budget: int) -> None:
    """With capture="all", queries and rows are passes of the whole model, and each pick's row is computed in full again."""
    made = task(capture="all")
    selector = cases.rcs(group_size=8)
    assert passes_made(made, selector, budget) == plan(made, selector, budget, timed=False).forward_passes


@pytest.mark.parametrize("refresh", [1, 3])
def test_queries_of_glister_are_planned(refresh: int, monkeypatch: Any) -> None:
    """Where more than a head is captured, a query every `refresh` picks is two passes over validation; on a head it is none.

    Rows of single examples go through the model one by one inside a batch, so they are counted as rows.
    """
    selector, again, plain = get_selector("glister", refresh=refresh), [0], DenseRows.full

    def full(self: Any, *given: Any) -> Any:
        again[0] += 1
        return plain(self, *given)

    assert passes_made(task(), selector) == plan(task(), selector, K, timed=False).forward_passes
    monkeypatch.setattr(DenseRows, "full", full)
    made = task(capture="all")
    told = {p.part: p for p in plan(made, selector, K, timed=False).passes}
    assert passes_made(made, selector) == told["validation"].forward == 2 * U * -(-K // refresh)
    assert again[0] == told["rows again"].forward == K


@pytest.mark.parametrize("name", ["deepfool", "aign", "el2n_adv", "cal", "aum"])
@pytest.mark.parametrize("outer", [D2, CCS])
def test_a_method_on_a_score_makes_the_passes_of_the_score(outer: Any, name: str) -> None:
    """What ranks by the score of another method plans the passes of that method."""
    made, selector = task(), outer(score=get_selector(name))
    told = plan(made, selector, K, timed=False)
    assert passes_made(made, selector) <= told.forward_passes
    assert told.at_most == (name == "deepfool")


def test_contrastive_losses_and_two_routes_are_planned() -> None:
    """Two views, three streams a pass and two routes of validation are counted."""
    made = cases.acl_task(N, u=U, batch_size=20)
    selector = cases.rcs(group_size=10, stratify=None)
    told = plan(made, selector, 20, timed=False)
    with counted(made.model) as seen:
        select(made, selector, 20, seed=1)
    assert sum(seen) == told.forward_passes
    assert not told.at_most


def test_groups_of_two_sizes_give_an_upper_bound() -> None:
    """Where groups differ in size, how many are picked is not known before, and the plan is an upper bound that says so."""
    made = task(capture="all")
    selector = cases.rcs(group_size=7)
    told = plan(made, selector, K, timed=False)
    assert told.at_most
    assert passes_made(made, selector) <= told.forward_passes


@pytest.mark.parametrize(("name", "capture"), [("rcs", None), ("rcs_sampled", None), ("rcs", "all"), ("craig", "all")])
def test_the_bytes_of_rows_are_those_kept(name: str, capture: str | None, monkeypatch: Any) -> None:
    """The bytes of rows and factors are within a factor of 1.25 of the tensors that the selection holds."""
    from coreselect.task.model_rows import ModelRows

    made, selector = task(capture=capture), get_selector(name)
    held: list[int] = []
    plain = ModelRows.of

    def kept(self: Any, *given: Any) -> Any:
        rows, losses = plain(self, *given)
        tensors = [rows.matrix] if isinstance(rows, DenseRows) else []
        if self.factored is not None:
            tensors += [t for part in self.factored[0].parts for t in (part.delta, part.inputs)]
        held.append(sum(t.nbytes for t in tensors))
        return rows, losses

    monkeypatch.setattr(ModelRows, "of", kept)
    select(made, selector, K)
    told = plan(made, selector, K, timed=False).bytes
    assert told.get("rows", 0) + told.get("factors", 0) == pytest.approx(held[0], rel=0.25)


@dataclass(frozen=True)
class Third:
    """A selector of another package, which says only what every selector says."""

    requires: frozenset[str]
    name = "third"
    renew = "round"

    def select(self, task: Any, budget: Any, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            if "features" in self.requires:
                snapshot.features()
            if "inputs" in self.requires:
                list(snapshot.inputs())
            return snapshot.selection(self, np.arange(budget))


def test_a_selector_that_says_no_costs_is_planned_by_what_it_requires() -> None:
    """Features are one pass; passes of a selector that reads inputs itself are not known, and the plan says so."""
    made, selector = task(), Third(frozenset({"features"}))
    assert passes_made(made, selector) == plan(made, selector, K, timed=False).forward_passes == N
    assert "does not say how many passes" in plan(made, Third(frozenset({"inputs"})), K, timed=False).notes[0]


def test_an_attack_that_does_not_say_its_steps_is_named() -> None:
    """The steps of an attack of the user's own are counted as 0, with a note."""

    class Own:
        random_start = True

        def __call__(self, ascend: Any, inputs: Any, noise: Any) -> Any:
            return PGD(0.1, 0.1, 1)(ascend, inputs, noise)

    told = plan(task(attack=Own()), RCS(group_size=4), K, timed=False)
    assert "does not say how many steps" in told.notes[0]


def test_a_timed_plan_reads_one_batch_and_gives_seconds() -> None:
    """Seconds come from at most one batch for each kind of pass; nothing else of the pool is read, and a plan leaves no trace."""
    made = task()
    read: set[int] = set()
    plain = type(made.pool).__getitem__

    class Watched(cases.Items):
        def __getitem__(self, index: int) -> Any:
            read.add(index)
            return plain(self, index)

    made = cases.sat_task(N, u=U, batch_size=16, pool=Watched(made.pool.x, made.pool.y), ids=range(N))
    read.clear()
    told = plan(made, cases.rcs(group_size=4), K)
    assert read == set(range(16))
    assert told.timed == 16
    assert told.seconds is not None
    assert set(told.seconds) == {"validation", "sweep", "greedy"}
    assert all(s > 0 for s in told.seconds.values())
    assert told.total_seconds == sum(told.seconds.values())


def test_a_plan_refuses_what_a_selection_refuses() -> None:
    """A budget out of range and a missing requirement are refused as `select` refuses them."""
    with pytest.raises(BudgetError):
        plan(task(), RCS(), N + 1)
    with pytest.raises(RequirementError, match="needs features"):
        plan(cases.array_task(features=None), KCenter(), 3)


def test_arrays_pass_through_no_model() -> None:
    """A task of arrays has no passes and no seconds of a batch."""
    told = plan(cases.array_task(), cases.rcs(), 6)
    assert told.passes == ()
    assert told.forward_passes == 0
