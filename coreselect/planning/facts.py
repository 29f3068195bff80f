"""What a plan reads of an open task: sizes, widths and streams, found by probing the model with at most four images."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from coreselect.data.images import labels_of
from coreselect.losses.natural import natural_loss
from coreselect.network.network import HeadSplit
from coreselect.planning.needs import Sizes
from coreselect.protocols import Attack, Loss
from coreselect.support.structure import leaves
from coreselect.task.array_snapshot import ArraySnapshot
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.snapshot import Snapshot

SKETCH = 4096  # the width of rows of more than a head


@dataclass(frozen=True)
class Facts:
    """Of a model: its task's loss and attack, and the numbers that one example takes.

    Attributes:
        loss, natural: the task's loss, and the natural one that methods on natural inputs compare.
        attack: of the task.
        validation: |U|.
        routes: 1 if both routes give the same output, else 2.
        features, outputs: how many numbers the features and the outputs of one example are.
        factors: how many numbers the factors of one stream are, C + D for each captured Linear.
        row: P, how many numbers a full row is.
        width: bytes of one number.
        image: bytes of one input, with what an attack inside the model adds to it.
        inside: whether attacks act inside the model, where one more pass finds their centre.
    """

    loss: Loss
    natural: Loss
    attack: Attack | None
    validation: int
    routes: int
    features: int
    outputs: int
    factors: int
    row: int
    width: int
    image: int
    inside: bool = False


def sizes_of(snapshot: Snapshot, k: int) -> Sizes:
    """Return the sizes of a plan for a snapshot and k picks."""
    classes = _classes(snapshot)
    if not isinstance(snapshot, ModelSnapshot):
        return Sizes(snapshot.n, k, classes=classes, arrays=True)
    caches = isinstance(snapshot.net, HeadSplit)
    held = 0 if snapshot.task.validation is None else len(snapshot.task.validation)
    factored = caches and not snapshot.batch_loss
    return Sizes(snapshot.n, k, snapshot.batch_loss, caches, factored, classes, validation=held)


def _classes(snapshot: Snapshot) -> tuple[int, ...]:
    """Return how many examples each class has, if that is known without reading the pool; else nothing."""
    known = isinstance(snapshot, ArraySnapshot)
    if isinstance(snapshot, ModelSnapshot):
        known = "labels" in snapshot.task.memo or labels_of(snapshot.task.pool) is not None
    if not known or "labels" not in snapshot.provides:
        return ()
    return tuple(np.unique(snapshot.labels(), return_counts=True)[1].tolist())


def facts_of(snapshot: ModelSnapshot) -> Facts:
    """Probe the model of a snapshot."""
    task, net, split = snapshot.task, snapshot.net, snapshot.opened.head_split
    probe = snapshot.opened.probe()
    natural = leaves(_prepared(split, probe))[0]
    layout = snapshot.layout()
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    first = leaves(probe)[0]
    inside = task.attack_at is not None
    centre = snapshot.opened.point(probe).centre if inside else first[:, :0]
    return Facts(
        loss=task.loss,
        natural=natural_loss(task.loss)[0],
        attack=task.attack,
        validation=0 if task.validation is None else len(task.validation),
        routes=net.routes,
        features=math.prod(natural.shape[1:]),
        outputs=net.outputs,
        factors=sum(sum(shape) for shape in shapes.values() if len(shape) == 2),
        row=layout.size,
        width=snapshot.dtype.itemsize,
        image=math.prod(first.shape[1:]) * first.element_size() + math.prod(centre.shape[1:]) * centre.element_size(),
        inside=inside,
    )


def _prepared(split: Any, probe: Any) -> Any:
    with torch.no_grad():
        return split.prepare(probe, "natural")


def steps_of(attack: Attack | None) -> int | None:
    """Return how many gradient steps an attack makes, or None if it does not say."""
    inner: Any = attack
    while inner is not None and not hasattr(inner, "steps") and hasattr(inner, "attack"):
        inner = inner.attack
    if inner is None or getattr(inner, "changes_nothing", False):
        return 0
    steps = getattr(inner, "steps", None)
    return steps if isinstance(steps, int) else None
