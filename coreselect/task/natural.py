"""What a model gives for the natural inputs of its pool: features and logits, and the task's own natural loss."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from coreselect.gradients.loss_value import checked_loss_value, naming
from coreselect.gradients.parts import Batches, Record, stacked
from coreselect.losses.targets import for_loss
from coreselect.support.records import settings_of
from coreselect.support.structure import mapped
from coreselect.task.open_model import OpenModel


def natural_outputs(opened: OpenModel) -> tuple[Tensor, Tensor]:
    """Return the natural features [n, D] and logits [n, C] of the snapshot's examples."""
    net = opened.head_split

    def make(some: Batches) -> Iterator[Record]:
        for _, x, _ in opened.batches_of([np.concatenate(list(b)) for b in some], raw=True):
            with torch.no_grad():
                z = net.prepare(x, "natural")
                yield {"features": z.flatten(1), "logits": net.apply(net.captured, z, "natural")}

    found = stacked(
        list(opened.records("natural", opened.all_batches(), make, {"head": opened.task.head}, part="features"))
    )
    return found["features"], found["logits"]


def natural_losses(opened: OpenModel) -> Tensor:
    """Return the task's natural loss of each of the snapshot's examples, [n]."""
    net, loss = opened.head_split, opened.task.loss
    opened.check_loss()

    def make(some: Batches) -> Iterator[Record]:
        for positions, x, y in opened.batches_of([np.concatenate(list(b)) for b in some], raw=True):
            with torch.no_grad(), naming(positions):
                outputs = net.apply(net.captured, net.prepare(x, "natural"), "natural")
                y = mapped(lambda t, to=outputs.device: t.to(to), for_loss(loss, y, len(outputs)))
                yield {"losses": checked_loss_value(loss, {("natural", 0): outputs}, y)}

    settings = settings_of({"loss": loss, "head": opened.task.head})
    return stacked(list(opened.records("losses", opened.all_batches(), make, settings, part="features")))["losses"]
