"""The contrastive sweep with views of a batch at once, compared with views made one image at a time.

Both sides are the same call, `shot.rows(groups)` on an ACL task; the function of the other side hides its batched form. The
network is a small one, whose attack leaves the views the largest share. Rows and losses are equal, bit for bit:

    largest_difference_of_losses = 0
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from benchmarks import problem
from benchmarks.case_types import ViewsCase
from benchmarks.meter import Meter, clock_of
from coreselect import Task
from coreselect.support import seeding
from coreselect.task.groups import deal
from coreselect_integrations.networks import build, route_call
from coreselect_integrations.systems.views import two_views


def one_at_a_time(x: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    """The same views, without a form for batches."""
    return two_views(x, generator)


def run(case: ViewsCase, device: torch.device = problem.CPU) -> dict[str, Any]:
    """Measure one case: `ratio` is the sweep one at a time / at once, `views_ratio` the same of the views alone."""
    draw = seeding.generator(case.seed, "images")
    pool = TensorDataset(torch.rand(case.pool, 3, 32, 32, generator=draw))
    model = build("small", "acl", channels=3, size=32, seed=case.seed).eval().to(device)
    groups = deal(case.pool, case.group_size, seeding.generator(case.seed, "groups", 0))
    sides = {"one_at_a_time": one_at_a_time, "at_once": two_views}
    of_views, losses = dict.fromkeys(sides, 0.0), {}
    with Meter(clock=clock_of(device)) as meter:
        for _ in range(case.rounds):
            for name, views in sides.items():
                task = Task.from_model(
                    model,
                    pool,
                    loss="acl",
                    attack=case.attack,
                    call=route_call,
                    views=views,
                    batch_size=case.batch_size,
                )
                with meter(name), task.snapshot(case.seed, 0) as shot:
                    losses[name] = shot.rows(groups)[1]
                    of_views[name] += shot.clock.seconds["views"]
    one, both = losses["one_at_a_time"], losses["at_once"]
    assert one is not None
    assert both is not None
    return {
        "ratio": meter.seconds["one_at_a_time"] / meter.seconds["at_once"],
        "cpu_ratio": meter.cpu_seconds["one_at_a_time"] / meter.cpu_seconds["at_once"],
        "views_ratio": of_views["one_at_a_time"] / of_views["at_once"],
        **meter.record(),
        "views_share": {k: round(of_views[k] / meter.seconds[k], 4) for k in sides},
        "images_per_second": {k: round(case.rounds * case.pool / v, 1) for k, v in meter.seconds.items()},
        "largest_difference_of_losses": float((one - both).abs().max()),
    }
