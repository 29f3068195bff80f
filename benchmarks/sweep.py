"""The gradient sweep over a pool, compared with the least work it could do.

The sweep is everything that `shot.rows(groups)` does on a SAT task that captures the head, including opening the snapshot:
reading and converting items, seeds and starts of each example, the attack, features, factored rows, and rows of groups.

The floor is the same attack steps and one forward pass, batch by batch, with gradients of inputs only; inputs and starts are
already tensors in memory. The two alternate batch by batch; on a GPU one runs after the other, because turns need waits.
"""

from collections.abc import Generator
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import problem
from benchmarks.case_types import SweepCase
from benchmarks.meter import Interleaved, Meter, clock_of
from coreselect import Task, holdout
from coreselect.attacks import PGD
from coreselect.network.arithmetic import exact_arithmetic
from coreselect.network.precision import HalfPrecision
from coreselect.support import seeding
from coreselect.task.groups import deal


def run(case: SweepCase, *, data: str, device: torch.device = problem.CPU) -> dict[str, Any]:
    """Measure one case: `ratio` is sweep / floor."""
    dataset = problem.images(data, case.pool + case.validation)
    pool, validation = holdout(dataset, size=case.validation, seed=case.seed)
    model = problem.network(arch=case.arch, device=device)
    attack = HalfPrecision(case.attack) if case.half else case.attack
    task = Task.from_model(
        model, pool, validation, loss="sat", attack=attack, batch_size=case.batch_size, num_workers=case.num_workers,
        fold=False,  # both sides run the layers as they are; `folding.py` compares the other form
    )  # fmt: skip
    task.fingerprint()
    groups = deal(case.pool, case.group_size, seeding.generator(case.seed, "groups", 0))
    x, y, starts = (t.to(device) for t in _in_memory(pool, case.seed))
    least = partial(floor, model, attack=case.attack, batch_size=case.batch_size, half=case.half)
    model.requires_grad_(False)
    for _ in least(x[: case.batch_size], y, starts):
        pass  # the first pass chooses kernels and fills caches
    by_part: dict[str, float] = {}
    difference = 0.0
    with exact_arithmetic(device), Meter(clock=clock_of(device)) as meter:
        for _ in range(case.rounds):
            rival = Interleaved(least(x, y, starts), meter, "floor")
            riding = task
            if device.type == "cpu":
                riding = task.reporting(lambda part, done, total, rival=rival: rival.until(done / total))
            else:  # turns would end the work ahead of the host, which is what a device is fast by
                rival.finish()
            with meter("sweep"), riding.snapshot(case.seed, 0) as shot:
                _, losses = shot.rows(groups)
                by_part = {k: by_part.get(k, 0.0) + v for k, v in shot.clock.seconds.items()}
            bare = rival.finish()  # [N]
            assert losses is not None  # a model's rows come with losses
            of_groups = torch.stack([bare[torch.from_numpy(g).to(device)].mean() for g in groups])  # [M]
            difference = max(difference, float((losses - of_groups).abs().max()))
    return {
        "ratio": meter.seconds["sweep"] / meter.seconds["floor"],
        "cpu_ratio": meter.cpu_seconds["sweep"] / meter.cpu_seconds["floor"],
        **meter.record(),
        "sweep_by_part": {k: round(v, 4) for k, v in by_part.items()},
        "images_per_second": {k: round(case.rounds * case.pool / v, 2) for k, v in meter.seconds.items()},
        "largest_difference_of_losses": difference,
    }


def floor(
    model: nn.Module, x: Tensor, y: Tensor, starts: Tensor, attack: PGD, batch_size: int, half: bool = False
) -> Generator[float, None, Tensor]:
    """Only attack and run forward passes; yield the share done and return the losses [N].

    Args:
        model: in evaluation mode, with `requires_grad` off for all parameters.
        x: [N, C, H, W]; y: [N]; starts: [N, C, H, W] in [−1, 1).
    """
    losses = []
    for at in range(0, len(x), batch_size):
        part = slice(at, at + batch_size)
        centre, label = x[part], y[part]
        low, high = centre - attack.radius, centre + attack.radius
        moved = torch.clamp(centre + attack.radius * starts[part], low, high).clamp(0, 1)
        for _ in range(attack.steps):
            moved.requires_grad_()
            with torch.enable_grad():
                with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
                    out = model(moved)
                slope = torch.autograd.grad(F.cross_entropy(out.float(), label, reduction="sum"), moved)[0]
            moved = torch.clamp(moved.detach() + attack.step * slope.sign(), low, high).clamp(0, 1)
        with torch.no_grad():
            losses.append(F.cross_entropy(model(moved), label, reduction="none"))
        yield min(1.0, (at + batch_size) / len(x))
    return torch.cat(losses)


def _in_memory(pool: Any, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Read the pool into tensors, with the starts that a selection with this seed draws."""
    items = [pool[i] for i in range(len(pool))]
    x = torch.stack([image for image, _ in items])
    own = seeding.seeds(seed, "attack", 0, 0, indices=np.arange(len(pool)))
    return x, torch.tensor([label for _, label in items]), seeding.noise(x, own)
