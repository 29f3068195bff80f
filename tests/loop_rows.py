"""Rows by a plain autograd loop, with attacks and losses written out, for comparison with the rows of a task."""

from collections.abc import Sequence
from typing import Any

import cases
import numpy as np
import oracles
import torch
from torch import Tensor

from coreselect.gradients.sketch import Sketch

TOL = {"rtol": 0, "atol": 1e-10}


def opened(task: Any, groups: Sequence[Any], sketch: Sketch | None = None) -> tuple[Any, Tensor, Any]:
    """Return the rows, the losses and the parameter names of a task at seed 0, round 0."""
    with task.snapshot(0, 0) as shot:
        rows, losses = shot.rows([np.asarray(g) for g in groups], sketch)
        return rows, losses, shot.layout().names


def full(rows: Any) -> Tensor:
    """Return every row, [M, P]."""
    return torch.stack([rows.full(m) for m in range(rows.count)])


def attacked(task: Any, streams: Sequence[int] = (0,)) -> list[Tensor]:
    """Compute the attacked inputs of SAT by the transcription, one example and one generator at a time."""
    out = []
    for i in range(len(task.pool)):
        x, y = task.pool[i]
        noise = oracles.noise_one_by_one((1, 6, 6), x.dtype, 0, "attack", 0, 0, indices=[i])
        a = task.attack
        out.append(
            oracles.pgd_linf(
                lambda at, y=y: oracles.cross_entropy(task.model(at), torch.tensor([y])).sum(),
                x[None],
                noise,
                a.radius,
                a.step,
                a.steps,
            )[0]
        )
    return out


def sat_rows(task: Any, names: Sequence[str], groups: Sequence[Any]) -> Tensor:
    """Compute the rows of SAT by the loop."""
    seen = attacked(task)

    def scalar(members: Sequence[int]) -> Tensor:
        outputs = task.model(torch.stack([seen[i] for i in members]))
        return oracles.cross_entropy(outputs, torch.tensor([task.pool[i][1] for i in members])).mean()

    return oracles.loop_rows(scalar, cases.parts(task.model, names), groups)


def acl_rows(task: Any, names: Sequence[str], groups: Sequence[Any], temperature: float = 0.5) -> Tensor:
    """Compute the rows of ACL by the loop: views, joint attack and NT-Xent written out, on both routes."""
    model = task.model

    def scalar(members: Sequence[int]) -> Tensor:
        views = []
        for i in members:
            own = torch.Generator().manual_seed(oracles.seed_of(0, "views", 0, index=i))
            views.append(cases.two_views(task.pool[i][None], own))
        pair = [torch.cat([v[side] for v in views]) for side in (0, 1)]
        noise = [
            oracles.noise_one_by_one((1, 6, 6), pair[0].dtype, 0, "attack", 0, side, indices=members) for side in (0, 1)
        ]
        b = len(members)

        def joint(at: Tensor) -> Tensor:
            return oracles.nt_xent(model(at[:b], "adversarial"), model(at[b:], "adversarial"), temperature)

        a = task.attack
        hit = oracles.pgd_linf(joint, torch.cat(pair), torch.cat(noise), a.radius, a.step, a.steps)
        natural = oracles.nt_xent(model(pair[0], "natural"), model(pair[1], "natural"), temperature)
        adversarial = oracles.nt_xent(model(hit[:b], "adversarial"), model(hit[b:], "adversarial"), temperature)
        return 0.5 * (adversarial + natural)

    return oracles.loop_rows(scalar, cases.parts(model, names), groups)
