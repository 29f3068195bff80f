"""Claims about the sweep: which views are attacked, from which starts, and that a selection works with three views."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from coreselect import select
from coreselect.losses import nt_xent
from coreselect.protocols import Views

TOL = {"rtol": 0, "atol": 1e-10}
ONE_TWO = (("adversarial", 1), ("adversarial", 2))


@dataclass(frozen=True)
class Three:
    """A loss of an image, two natural views and both attacked views, with a different weight for each term."""

    attacked: tuple[tuple[str, int], ...] = ONE_TWO
    name = "three"
    views = 3
    per_example = False
    needs_labels = False
    default_attack = cases.WEAK

    @property
    def streams(self) -> tuple[tuple[str, int], ...]:
        return (("natural", 0), ("natural", 1), ("natural", 2), *self.attacked)

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return nt_xent(adversarial[0], adversarial[1])

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        apart = 1 - F.cosine_similarity(natural[0], natural[1]).mean()
        return nt_xent(adversarial[0], adversarial[1]) + 0.5 * nt_xent(natural[1], natural[2]) + 0.3 * apart


@dataclass
class Watching:
    """The weak attack, which records its inputs and its noise."""

    random_start: bool = True
    asked: list[tuple[Views, Views]] = field(default_factory=list)

    def __call__(self, ascend: Callable[[Views], Tensor], inputs: Views, noise: Views) -> Views:
        self.asked.append((inputs, noise))
        return cases.WEAK(ascend, inputs, noise)


def three_views(x: Tensor, generator: torch.Generator) -> Views:
    """Return the image and two views."""
    return (x, *cases.two_views(x, generator))


def three_task(n: int = 24, **settings: Any) -> Any:
    """Make a contrastive task with the loss of three views."""
    return cases.acl_task(n, **{"loss": Three(), "views": three_views, "attack": cases.WEAK, **settings})


def views_of(task: Any, members: Sequence[int]) -> list[Tensor]:
    """Compute every view [B, …] of some examples at seed 0, round 0, with one generator for each example."""
    made = [
        task.views(task.pool[i][None], torch.Generator().manual_seed(oracles.seed_of(0, "views", 0, index=i)))
        for i in members
    ]
    return [torch.cat(each) for each in zip(*made, strict=True)]


def attacked(task: Any, views: Sequence[Tensor], numbers: Sequence[int], members: Sequence[int]) -> list[Tensor]:
    """Attack these views together by the transcription, each from the start with its own number."""
    noise = [oracles.noise_one_by_one((1, 6, 6), views[v].dtype, 0, "attack", 0, v, indices=members) for v in numbers]

    def joint(at: Tensor) -> Tensor:
        first, second = task.model(at, "adversarial").chunk(2)
        return nt_xent(first, second)

    a = cases.WEAK
    hit = oracles.pgd_linf(joint, torch.cat([views[v] for v in numbers]), torch.cat(noise), a.radius, a.step, a.steps)
    return list(hit.chunk(2))


def crafted(task: Any, members: Sequence[int]) -> Any:
    """Return what the sweep makes of one group."""
    with task.snapshot(0, 0) as shot:
        return next(shot._opened.sweeper.sweep([[np.asarray(members)]])).prepared


def three_rows(task: Any, names: Sequence[str], groups: Sequence[Any]) -> Tensor:
    """Compute rows of the loss of three views by a plain loop: NT-Xent and the cosine written out, on both routes."""
    model = task.model

    def scalar(members: Sequence[int]) -> Tensor:
        views = views_of(task, members)
        hit = attacked(task, views, (1, 2), members)
        z = [model(v, "natural") for v in views]
        cosines = [(a @ b) / (a.norm() * b.norm()) for a, b in zip(z[0], z[1], strict=True)]
        adversarial = oracles.nt_xent(model(hit[0], "adversarial"), model(hit[1], "adversarial"), 0.5)
        return adversarial + 0.5 * oracles.nt_xent(z[1], z[2], 0.5) + 0.3 * (1 - torch.stack(cosines).mean())

    return oracles.loop_rows(scalar, cases.parts(model, names), groups)


@pytest.mark.parametrize("settings", [{}, {"capture": "all"}])
def test_rows_of_three_views_equal_an_autograd_loop(settings: Any) -> None:
    """A view without an attack is part of the row and not of the attack: rows, also of kept parts, equal the loop."""
    task = three_task(11, batch_size=5, **settings)
    groups = [[3, 1, 10, 0], [2, 9, 4, 8], [5, 6, 7]]
    with task.snapshot(0, 0) as shot:
        rows, losses = shot.rows([np.asarray(g) for g in groups])
        names = shot.layout().names
        full = torch.stack([rows.full(m) for m in range(rows.count)])
        kept = rows.full(0, np.asarray([3, 1, 10]))
    assert torch.allclose(full, three_rows(task, names, groups), **TOL)
    assert torch.allclose(kept, three_rows(task, names, [[3, 1, 10]])[0], **TOL)
    assert losses is not None
    assert len(losses) == 3


def test_the_attack_gets_only_the_attacked_views() -> None:
    """The attack gets views 1 and 2 with the noise of 1 and 2, and no adversarial forward pass has view 0."""
    sizes: list[tuple[str, int]] = []

    def counting(model: Any, x: Tensor, route: str) -> Tensor:
        sizes.append((route, len(x)))
        return model(x, route)

    watching, members = Watching(), [4, 0, 7]
    task = three_task(8, attack=watching, call=counting)
    with task.snapshot(0, 0) as shot:
        sweeper = shot._opened.sweeper
        sizes.clear()  # probing is over
        next(sweeper.sweep([[np.asarray(members)]]))
    views = views_of(task, members)
    ((inputs, noise),) = watching.asked
    assert len(inputs) == len(noise) == 2
    for number, x, u in zip((1, 2), inputs, noise, strict=True):
        assert torch.equal(x, views[number])
        assert torch.equal(u, oracles.noise_one_by_one((1, 6, 6), u.dtype, 0, "attack", 0, number, indices=members))
    assert [n for route, n in sizes if route == "adversarial"] == [
        6,
        6,
        3,
        3,
    ]  # two joint steps, then each view's features


@pytest.mark.parametrize("numbers", [(1, 2), (2, 1), (0, 2)])
def test_streams_are_attacked_in_their_order(numbers: tuple[int, int]) -> None:
    """For any two views that the adversarial streams name, each gets its own attacked input, bit for bit."""
    members = [2, 5, 1]
    task = three_task(8, loss=Three(tuple(("adversarial", v) for v in numbers)), capture="all")
    views = views_of(task, members)
    got = crafted(task, members)
    for number, want in zip(numbers, attacked(task, views, numbers, members), strict=True):
        assert torch.equal(got["adversarial", number], want)
    for number, view in enumerate(views):
        assert torch.equal(got["natural", number], view)


def test_both_views_of_acl_are_attacked_together() -> None:
    """The attacked views of ACL equal, bit for bit, those of one attack on all its views with the noise of 0 and 1."""
    members = [2, 5, 1]
    task = cases.acl_task(8, capture="all")
    got = crafted(task, members)
    for number, want in enumerate(attacked(task, views_of(task, members), (0, 1), members)):
        assert torch.equal(got["adversarial", number], want)


def test_a_selection_by_three_views() -> None:
    """RCS chooses by the loss of three views, repeats its choice, and certifies it."""
    task = three_task()
    chosen = select(task, cases.rcs(), 12, seed=3)
    assert len(set(chosen.indices.tolist())) == 12
    assert chosen.certificate is not None
    assert np.isfinite(chosen.gains).all()
    assert select(task, cases.rcs(), 12, seed=3).indices.tolist() == chosen.indices.tolist()
