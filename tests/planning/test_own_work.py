"""Claims about plans: what a method computes by itself is what the plan says, at most, and nothing is left out."""

import re
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from coreselect import Task, get_selector, limits, plan, select
from coreselect.cli.show_plan import show_plans
from coreselect.errors import RequirementError
from coreselect.gradients.rows import DenseRows
from coreselect.planning.record import OWN
from coreselect.search.distances import Distances
from coreselect.search.neighbours import neighbours
from coreselect.selectors import PerClass, Windowed
from coreselect.selectors.score import nearest

N, D, K = 900, 32, 60


class Products(TorchDispatchMode):
    """Count multiply-adds of products of matrices and vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        given = [a for a in args if isinstance(a, Tensor)]
        if name in ("mm", "mv", "bmm", "addmm", "addmv", "baddbmm"):
            a, b = given[-2:]
            self.counted += a.numel() * (b.shape[-1] if name not in ("mv", "addmv") else 1)
        return func(*args, **(kwargs or {}))


def _task(n: int = N) -> Any:
    own = np.random.default_rng(0)
    x = (own.normal(size=(20, D))[own.integers(20, size=n)] + own.normal(size=(n, D))).astype(np.float32)
    labels, logits = own.integers(3, size=n), own.normal(size=(n, 3)).astype(np.float32)
    return Task.from_arrays(
        features=x, labels=labels, logits=logits, gradients=x, validation_gradient=np.ones(D, np.float32)
    )


COUNTED: tuple[tuple[str, dict[str, Any], float], ...] = (  # with the share of the plan that is made at least
    ("k_center", {}, 0.3),
    ("facility_location", {"search": "torch"}, 0.3),
    ("facility_location", {"search": "torch", "dense_up_to": 10}, 0.3),
    ("graph_cut", {}, 0.01),  # few passes: a bound, as where no pick lowers the others
    ("graph_cut", {"similarity": "rbf"}, 0.1),
    ("craig", {}, 1.0),
    ("craig", {"dense_up_to": 10}, 0.3),
    ("d2", {}, 0.3),
    ("cal", {}, 0.3),
)


@pytest.mark.parametrize(("name", "settings", "least"), COUNTED, ids=[f"{n}-{len(s)}" for n, s, _ in COUNTED])
def test_products_are_those_of_the_plan(name: str, settings: dict[str, Any], least: float, monkeypatch: Any) -> None:
    """The multiply-adds of a selection are at most those planned, and not a small part of them."""
    monkeypatch.setattr(nearest, "neighbours", partial(neighbours, by="torch"))
    task, selector = _task(), get_selector(name, **settings)
    told = plan(task, selector, K, timed=False)
    with Products() as seen:
        select(task, selector, K)
    assert least * told.products <= seen.counted <= told.products + 2 * N * D  # a mean, and the first distances
    assert told.seconds is None


@pytest.mark.parametrize("name", ["herding", "gradmatch"])
def test_passes_are_those_of_the_plan(name: str, monkeypatch: Any) -> None:
    """The bytes that are read are one pass over all features, or rows, for each pick, and few more."""
    seen = [0]
    for where, method in ((Distances, "products"), (DenseRows, "scores")):
        plain = getattr(where, method)

        def counting(self: Any, *given: Any, plain: Any = plain) -> Any:
            seen[0] += 4 * N * D
            return plain(self, *given)

        monkeypatch.setattr(where, method, counting)
    task = _task()
    told = plan(task, get_selector(name), K, timed=False)
    select(task, get_selector(name), K)
    once = 4 * N * D
    assert seen[0] <= told.read + 2 * once
    assert seen[0] >= 0.5 * K * once


@pytest.mark.parametrize(
    ("name", "exactly"), [("gradmatch", True), ("craig", True), ("facility_location", False), ("log_det", False)]
)
def test_bytes_are_those_that_the_selection_notes(name: str, exactly: bool) -> None:
    """What a selection notes to have stored is the planned memory, or a part of it where copies of features count too."""
    task, selector = _task(), get_selector(name)
    told = plan(task, selector, K, timed=False).bytes[OWN]
    noted = [
        int(b.replace(",", ""))
        for n in select(task, selector, K).provenance.notes
        for b in re.findall(r"([\d,]+) bytes", n)
    ]
    largest = max(noted)
    assert told == largest if exactly else largest <= told <= 4 * largest


def test_parts_are_added_up() -> None:
    """Windows and classes compute in their parts: the products are the sum, the memory that of the largest part."""
    task, inner = _task(), get_selector("facility_location")
    whole = plan(task, inner, K, timed=False)
    windows = plan(task, Windowed(inner, window=N // 3), K, timed=False)
    assert windows.products == pytest.approx(whole.products / 3)
    assert windows.bytes[OWN] < whole.bytes[OWN]
    assert plan(task, PerClass(inner), K, timed=False).products < whole.products


def test_what_is_refused_is_what_the_plan_says() -> None:
    """A method refuses by the numbers of its plan: with a limit just above them it goes, with one below it does not."""
    task, selector = _task(200), get_selector("facility_location")
    needed = plan(task, selector, 10, timed=False).bytes[OWN] / 2**30
    with limits(gib=needed * 1.01):
        assert len(select(task, selector, 10)) == 10
    with limits(gib=needed * 0.99), pytest.raises(RequirementError, match="needs about"):
        select(task, selector, 10)


def test_a_timed_plan_prices_one_block_and_is_shown(capsys: Any) -> None:
    """Seconds grow with the work, by prices that were measured; the work, its time and its memory are printed."""
    small, large = (plan(_task(n), get_selector("craig"), K) for n in (300, 900))
    assert small.seconds is not None
    assert large.seconds is not None
    assert set(large.seconds) == {OWN}
    assert large.seconds[OWN] > small.seconds[OWN] > 0
    show_plans([large, plan(_task(), get_selector("herding"), K)], warm_up=None, store=None, json=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "the method's own work: at most" in said
    assert "multiply-adds" in said
    assert "read" in said


def test_a_timed_plan_of_arrays_leaves_no_trace() -> None:
    """A plan moves no random state."""
    before = torch.random.get_rng_state()
    plan(_task(), get_selector("k_center"), K)
    assert torch.equal(before, torch.random.get_rng_state())
