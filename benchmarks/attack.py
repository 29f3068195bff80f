"""Training with an attack that differentiates inputs only, compared with a loop that also computes weight gradients.

    for every batch:  x̃ ← PGD on CE at θ, evaluation mode,   θ ← θ − lr·∇_θ CE(h(x̃), y), training mode

Ours is `sat.train_epoch`. The other side is the loop of published programs: parameters stay trainable, every attack step is
`loss.backward()`, and the gradients of the weights are zeroed before the update. Two things make it faster than those
programs: gradients are dropped between attack steps and not added up, and no graph is retained. Batches, starts, attack and
optimiser are the same, so both sides end with the same weights:

    difference_of_weights = max over tensors of ‖θ_ours − θ_plain‖ / ‖θ_plain − θ₀‖    (running statistics included)

Images are noise, because the time of a dense network does not depend on the images.
"""

import copy
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import problem
from benchmarks.case_types import AttackCase
from benchmarks.meter import Interleaved, Meter, clock_of
from benchmarks.plain import Steps, attacked
from coreselect.support import seeding
from coreselect_integrations.systems import sat
from coreselect_integrations.training.attacks import random_start

Batch = tuple[Tensor, Tensor]  # x [B, C, H, W] in [0, 1], y [B]


def run(case: AttackCase, device: torch.device = problem.CPU) -> dict[str, Any]:
    """Measure one case: `ratio` is plain / ours."""
    model = problem.network(case.seed, case.arch, device)
    batches = [(x.to(device), y.to(device)) for x, y in noise(case)]
    compare(case, model, batches[:1])  # the first pass chooses kernels and fills caches
    return compare(case, model, batches)


def compare(case: AttackCase, model: nn.Module, batches: Sequence[Batch]) -> dict[str, Any]:
    """Train two copies of a network on the same batches, in turns of one batch; the network itself does not change."""
    ours, plain = copy.deepcopy(model), copy.deepcopy(model)
    pairs: list[float] = []
    with Meter(clock=clock_of(batches[0][0].device)) as meter:
        rival = Interleaved(train_plainly(case, plain, batches), meter, "plain")
        turns = batches[0][0].device.type == "cpu"
        if not turns:  # turns would end the work ahead of the host
            rival.finish()

        def riding() -> Iterator[Batch]:
            before = {"ours": 0.0, "plain": 0.0}
            for done, batch in enumerate(batches, 1):
                yield batch
                if not turns:
                    continue
                rival.until(done / len(batches))  # this update is done, so it is the other side's turn
                now = dict(meter.seconds)
                pairs.append((now["plain"] - before["plain"]) / (now["ours"] - before["ours"]))
                before = now

        with meter("ours"):
            sat.train_epoch(ours, riding(), optimiser(case, ours), case.attack, generator=draws(case))
        rival.finish()
    return {
        "ratio": meter.seconds["plain"] / meter.seconds["ours"],
        "cpu_ratio": meter.cpu_seconds["plain"] / meter.cpu_seconds["ours"],
        "ratio_by_pair": [round(p, 4) for p in pairs],
        **meter.record(),
        "images_per_second": {k: round(len(batches) * case.batch_size / v, 1) for k, v in meter.seconds.items()},
        "difference_of_weights": difference(ours.state_dict(), plain.state_dict(), model.state_dict()),
    }


def train_plainly(case: AttackCase, model: nn.Module, batches: Sequence[Batch]) -> Generator[float, None, None]:
    """Train on every batch with attacks by full backward passes; yield the share of batches done."""
    optimizer, draw = optimiser(case, model), draws(case)
    how = Steps(case.attack.radius, case.attack.step, case.attack.steps)
    for done, (x, y) in enumerate(batches, 1):
        model.eval()
        objective = _summed(y)
        adversarial = attacked(model, x, random_start(x, draw), how, objective)  # [B, C, H, W]
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(adversarial), y).backward()
        optimizer.step()
        yield done / len(batches)


def optimiser(case: AttackCase, model: nn.Module) -> torch.optim.SGD:
    """Return the optimiser that both sides use."""
    return torch.optim.SGD(model.parameters(), case.lr, momentum=case.momentum, weight_decay=case.weight_decay)


def draws(case: AttackCase) -> torch.Generator:
    """Return a generator of random starts; both sides get their own, in the same state."""
    return seeding.generator(case.seed, "starts")


def noise(case: AttackCase, size: int = 32) -> list[Batch]:
    """Return batches of uniform images [B, 3, size, size] in [0, 1] and labels [B] of 10 classes."""
    draw = seeding.generator(case.seed, "images")
    shape = (case.batch_size, 3, size, size)
    return [
        (torch.rand(shape, generator=draw), torch.randint(10, shape[:1], generator=draw)) for _ in range(case.batches)
    ]


def difference(ours: Mapping[str, Tensor], plain: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> float:
    """Return the largest ‖ours − plain‖ / ‖plain − start‖ over tensors; unchanged tensors count as 0.

    The result is infinite if only ours changed, and NaN if a weight is NaN.
    """
    worst = torch.zeros((), dtype=torch.float64)
    for name, theirs in plain.items():
        apart = (ours[name].double() - theirs.double()).norm().cpu()
        moved = (theirs.double() - start[name].double()).norm().cpu()
        if apart != 0:  # NaN included
            worst = torch.maximum(worst, apart / moved)
    return float(worst)


def _summed(y: Tensor) -> Any:
    return lambda out: F.cross_entropy(out, y, reduction="sum")
