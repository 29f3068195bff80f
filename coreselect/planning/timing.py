"""Seconds of a plan: the first batch is swept as the selection would, and its time for each example is multiplied.

Nothing of it is kept, and no random state moves.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from coreselect.gradients.rows import BLOCK_BYTES, Groups, single_examples
from coreselect.gradients.sketch import Sketch
from coreselect.planning.facts import Facts, steps_of
from coreselect.planning.needs import NaturalPass, Need, OnValidation, OwnPasses, Sizes, Sweep
from coreselect.planning.record import Pass
from coreselect.support.limits import Needs
from coreselect.task.model_snapshot import ModelSnapshot

TOGETHER = 256  # vectors that a block is multiplied with at once, for the price of a product
WARM = 8  # images that choose kernels and fill caches before the clock runs


@dataclass(frozen=True)
class Rates:
    """Seconds for one example: of one natural pass with reading, of one sweep with reading, of one pass, of one attack step.

    What the needs do not ask for is 0.
    """

    timed: int
    features: float = 0.0
    sweep: float = 0.0
    forward: float = 0.0
    step: float = 0.0


def rates(snapshot: ModelSnapshot, needs: Iterable[Need], sizes: Sizes, facts: Facts) -> Rates:
    """Time the first batch of a snapshot, for what the needs ask for."""
    needs = tuple(needs)
    sweep = next((need for need in needs if isinstance(need, Sweep)), None)
    batch = min(snapshot.n, snapshot.task.batch_size)
    groups: Groups = single_examples(batch)
    if sweep is not None and sweep.rows and sweep.rows < sweep.examples:
        size = -(-sweep.examples // sweep.rows)
        batch = min(snapshot.n, size * max(1, batch // size))
        groups = [np.arange(at, min(at + size, batch)) for at in range(0, batch, size)]
    out = Rates(batch)
    if not any(isinstance(need, NaturalPass | Sweep | OnValidation | OwnPasses) for need in needs):
        return replace(out, timed=0)
    snapshot.restrict(np.arange(min(WARM, batch))).features()
    first = snapshot.restrict(np.arange(batch))
    spent = seconds_spent(first, first.features)
    out = replace(out, features=sum(spent.values()) / batch, forward=sum(spent.values()) / batch)
    if sweep is not None:
        loss = facts.loss if sweep.loss == "own" else facts.natural
        inner = first if loss is facts.loss else first.with_loss(loss)
        spent = seconds_spent(inner, _work(inner, sweep, groups))
        attacked = sum(route == "adversarial" for route, _ in loss.streams)
        steps = attacked * (steps_of(inner.task.attack) or 0)
        out = replace(
            out, sweep=sum(spent.values()) / batch, step=spent.get("attack", 0.0) / (batch * steps) if steps else 0.0
        )
    if not out.step and any(isinstance(need, OnValidation | OwnPasses) for need in needs):
        out = replace(out, step=_step(first) / batch)
    return out


def _work(snapshot: ModelSnapshot, sweep: Sweep, groups: Groups) -> Callable[[], object]:
    if not sweep.rows:
        return snapshot.attacked_logits
    sketch = Sketch() if snapshot.needs_sketch else None
    return lambda: snapshot.rows(groups, sketch if sweep.width is None else Sketch(sweep.width))


def seconds_spent(snapshot: ModelSnapshot, work: Callable[[], object]) -> Mapping[str, float]:
    """Run the work; return the seconds of each part of the clock, with those of no part as `other`."""
    before = dict(snapshot.clock.seconds)
    with snapshot.clock("other"):
        work()
    return {part: seconds - before.get(part, 0.0) for part, seconds in snapshot.clock.seconds.items()}


def _step(snapshot: ModelSnapshot) -> float:
    """Time one pass forward and backward to the inputs of a batch."""
    _, x, _ = next(snapshot.opened.inputs(raw=True))
    if snapshot.task.attack_at is None and not (isinstance(x, torch.Tensor) and x.is_floating_point()):
        return 0.0
    point = snapshot.opened.point(x)

    def work() -> None:
        at = point.centre.detach().requires_grad_()
        with torch.enable_grad():
            torch.autograd.grad(snapshot.outputs(point.placed(at)).sum(), at)

    return sum(seconds_spent(snapshot, work).values())


def seconds_of(part: Pass, per: Rates) -> float:
    """Estimate the seconds of one part of a plan."""
    if part.part == "features":
        return part.examples * per.features
    if part.part in ("sweep", "rows again"):
        return part.examples * per.sweep
    return part.forward * per.forward + part.steps * per.step + part.backward * max(0.0, per.step - per.forward)


def seconds_of_a_row_pass(rows: int, width: int, like: torch.Tensor) -> float:
    """Time one product of rows with a query, on a block of zeros of the same width.

    Args:
        like: gives precision and device.
    """
    block = max(1, min(rows, BLOCK_BYTES // (width * like.element_size())))
    x, q = like.new_zeros(block, width), like.new_zeros(width)
    _ = x @ q  # the first product chooses a kernel
    began = time.perf_counter()
    (x @ q).cpu()
    return (time.perf_counter() - began) * rows / block


def seconds_of_work(work: Needs, width: int, like: torch.Tensor) -> float:
    """Price a method's own work by one block of its features or rows: a product with 256 others, and one pass that reads it.

    Args:
        width: of a row.
        like: gives precision and device.
    """
    block = max(1, BLOCK_BYTES // (max(1, width) * like.element_size()))
    x, y = like.new_ones(block, max(1, width)), like.new_ones(max(1, width), TOGETHER)
    few = x[: max(1, block // 8)]

    def seconds(other: torch.Tensor, rows: torch.Tensor) -> float:
        _ = rows @ other  # the first product chooses a kernel
        began = time.perf_counter()
        (rows @ other).cpu()
        return time.perf_counter() - began

    a_product = seconds(y, few) / (few.numel() * TOGETHER) if work.products else 0.0
    a_byte = seconds(y[:, 0].contiguous(), x) / (x.numel() * x.element_size()) if work.read else 0.0
    return work.products * a_product + work.read * a_byte
