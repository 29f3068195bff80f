"""The starts of attacks, drawn with the items."""

from typing import Any

import cases
import numpy as np
import pytest
import torch
from torch import Tensor

from coreselect.gradients.starts import Starts, starts
from coreselect.network.attack_at import Point


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_starts_drawn_with_items_are_those_of_the_sweep(dtype: torch.dtype) -> None:
    """They depend on positions and views alone, whatever the precision of the items; integers have none."""
    x, positions = cases.images(5, dtype=dtype), [4, 0, 9, 2, 7]
    got = Starts(seed=3, round=2, views=(0, 1))(positions, (x, cases.classes(5)))
    assert got is not None
    for view, one in enumerate(got):
        assert torch.equal(one, starts(x.float(), 3, 2, view, np.array(positions)))
        assert torch.equal(one[2:3], starts(x[:1].float(), 3, 2, view, [9]))
    assert Starts(3, 2, (0,))([0], torch.ones(1, 3, dtype=torch.long)) is None


def small(x: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    return x[..., 1:, 1:], x[..., :-1, :-1]


@pytest.mark.parametrize("kind", ["sat", "acl", "views of another size"])
def test_a_sweep_with_workers_takes_their_draws_and_has_the_same_bits(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prepared inputs are equal with workers and without; where views have another size, the sweep draws."""
    own: dict[str, Any] = {} if kind == "acl" else {"views": small}
    here: list[int] = []
    real = Point.noise
    monkeypatch.setattr(Point, "noise", lambda point, seeds: here.append(1) or real(point, seeds))
    found = []
    for workers in (0, 1):
        make = cases.sat_task if kind == "sat" else cases.acl_task
        task = make(10, batch_size=4, num_workers=workers, **({} if kind == "sat" else own))
        here.clear()
        with task.snapshot(0, 0) as shot:
            swept = list(shot.opened.sweeper.sweep([[np.arange(4)], [np.arange(4, 10)]]))
        found.append([dict(batch.prepared) for batch in swept])
        assert bool(here) == (not workers or kind == "views of another size")
    for one, other in zip(*found, strict=True):
        assert all(torch.equal(one[s], other[s]) for s in one)
