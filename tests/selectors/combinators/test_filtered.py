"""A filter by loss around any selector."""

import cases
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coreselect import CoresetSampler, Task, select
from coreselect.errors import BudgetError, RequirementError, ShapeError
from coreselect.selectors import CRAIG, RS2, Filtered, Random, Redraw
from coreselect.selectors.combinators.filtered import lowest
from coreselect.support.records import settings_of

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 3, 60)
LOSSES = RNG.random(60)


def kept_by_hand(keep: float) -> set[int]:
    """Sort every class by loss and count."""
    out: set[int] = set()
    for c in range(3):
        own = sorted((float(LOSSES[i]), i) for i in range(60) if Y[i] == c)
        while own and len([i for i in out if Y[i] == c]) < keep * len([i for i in range(60) if Y[i] == c]) - 1e-9:
            out.add(own.pop(0)[1])
    return out


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.6, 1.0])
def test_the_lowest_losses_of_each_class_are_left(keep: float) -> None:
    """As many as the share rounded up, found by hand; whatever is selected is among them."""
    want = kept_by_hand(keep)
    assert set(np.flatnonzero(lowest(LOSSES, Y, keep)).tolist()) == want
    chosen = select(Task.from_arrays(labels=Y), Filtered(Redraw(), keep, losses=LOSSES), len(want), 2)
    assert set(chosen.indices.tolist()) == want


def test_the_selector_sees_the_rest_as_its_pool() -> None:
    """CRAIG inside the filter picks what it picks of a pool without the others."""
    g = RNG.normal(size=(60, 4))
    left = np.flatnonzero(lowest(LOSSES, Y, 0.5))
    inner = select(Task.from_arrays(gradients=g[left], labels=Y[left]), CRAIG(), 9)
    whole = select(Task.from_arrays(gradients=g, labels=Y), Filtered(CRAIG(), 0.5, losses=LOSSES), 9)
    assert whole.indices.tolist() == left[inner.indices].tolist()


def test_without_losses_the_models_own_cross_entropy_counts() -> None:
    """The filter equals one that is given the cross-entropy computed in plain torch."""
    task = cases.sat_task(30)
    x = torch.stack([task.pool[i][0] for i in range(30)])
    y = torch.tensor([int(task.pool[i][1]) for i in range(30)])
    with torch.no_grad():
        losses = F.cross_entropy(task.model.eval()(x), y, reduction="none").double().numpy()
    own, given = (
        select(task, s, 8, 1).indices for s in (Filtered(Redraw(), 0.5), Filtered(Redraw(), 0.5, losses=losses))
    )
    assert own.tolist() == given.tolist()


def test_in_a_sampler_it_is_renewed_every_round() -> None:
    """A method that renews every epoch keeps its filter for a round, although the model changes."""
    task = cases.sat_task(30)
    s = CoresetSampler(task, Filtered(RS2(), 0.4), 6, warmup=0, every=3)
    seen = []
    for epoch in range(6):
        s.set_epoch(epoch)
        seen.append(s.kept.arrays["filter of 0.4"].copy())
        assert set(s) <= set(np.flatnonzero(seen[-1]).tolist())
        with torch.no_grad():
            for p in task.model.parameters():
                nn.init.normal_(p, generator=torch.Generator().manual_seed(epoch))
    assert all((seen[i] == seen[0]).all() for i in (1, 2))
    assert all((seen[i] == seen[3]).all() for i in (4, 5))
    assert (seen[0] != seen[3]).any()


def test_what_cannot_be_is_refused() -> None:
    """A budget beyond what is left, losses of another length, not finite or no vector, a share of nothing, no labels."""
    task = Task.from_arrays(labels=Y)
    with pytest.raises(BudgetError, match="leaves 7 of 60 examples, and the budget is 9"):
        select(task, Filtered(Random(), 0.1, losses=LOSSES), 9)
    with pytest.raises(ShapeError, match="59 losses were given for a pool of 60"):
        select(task, Filtered(Random(), losses=LOSSES[:59]), 9)
    for bad in ([[1.0]], [float("nan")], ["a"]):
        with pytest.raises(ShapeError, match="losses are a vector of finite numbers"):
            Filtered(Random(), losses=bad)
    for keep in (0.0, 1.1, float("nan")):
        with pytest.raises(ShapeError, match="keep is a share"):
            Filtered(Random(), keep)
    with pytest.raises(RequirementError, match="labels"):
        select(Task.from_arrays(features=np.ones((4, 2))), Filtered(Random(), losses=np.ones(4)), 2)


def test_the_record_holds_a_digest_of_the_losses() -> None:
    """Two filters with other losses have other settings; the numbers themselves are not in it."""
    one, other = (settings_of(Filtered(Random(), losses=losses)) for losses in (LOSSES, LOSSES + 1))
    assert one["losses"].startswith("array float64 [60] ")
    assert one["losses"] != other["losses"]
