"""Train a small network adversarially for a few epochs, for a selection on data without a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from coreselect.attacks import PGD
from coreselect.errors import RequirementError, UnknownNameError
from coreselect.network.placing import placed
from coreselect.protocols import Call, MakeViews, Progress
from coreselect.support.devices import usable_device
from coreselect.support.seeding import rng_kept
from coreselect_integrations.networks import SUPERVISED, build, route_call
from coreselect_integrations.pretraining.dataset_shape import count_classes, image_shape
from coreselect_integrations.systems import acl, sat
from coreselect_integrations.systems.augment import crop_flip
from coreselect_integrations.systems.views import two_views
from coreselect_integrations.training.epoch_log import EpochLog

LOSSES = ("sat", "acl")


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The record of a warm-up; with `loss`, `call` and `views` it has what `Task.from_model` needs besides the model.

    `settings` are JSON values; `log` has one entry for each epoch; `seconds` is the time of all epochs; `final_loss` is the
    mean loss of the last epoch, None without epochs.
    """

    settings: Mapping[str, int | float | str]
    seconds: float
    final_loss: float | None
    log: tuple[EpochLog, ...]
    loss: str
    call: Call | None = field(default=None)
    views: MakeViews | None = field(default=None)


def warm_network(
    dataset: Dataset[Any],
    *,
    arch: str = "small",
    loss: str = "sat",
    epochs: int = 1,
    attack_steps: int = 2,
    radius: float = 8 / 255,
    seed: int = 0,
    batch_size: int = 128,
    lr: float = 0.1,
    classes: int | None = None,
    num_workers: int = 0,
    progress: Progress | None = None,
    device: torch.device | str | None = None,
) -> tuple[nn.Module, WarmUp]:
    """Build a network for the data and train it adversarially on the whole dataset.

    Each attack step is min(1.25, 2.5 / steps) radii long. Supervised training crops and mirrors images, contrastive training
    makes two views. Images with one channel (digits) are not mirrored.

    Args:
        dataset: items (x, y), x float [C, H, W] in [0, 1]; for `acl`, y is not read and items may be x alone.
        arch: a name in `networks.ARCHITECTURES`.
        loss: `sat` or `acl`.
        epochs: at least 0; 0 gives an untrained network.
        attack_steps: PGD steps, at least 1; fewer are faster and weaker.
        radius: of the l∞ ball, in units of pixels in [0, 1].
        seed: decides parameters, order, augmentation and random starts; global random states do not change.
        batch_size, lr: of SGD; lr is the largest learning rate of a triangular schedule.
        classes: number of labels; None reads them from the data.
        num_workers: of the loader.
        progress: called with ("warm-up", examples done, examples in all) after each batch.
        device: where to train; None is the CPU.
    Returns:
        the network, in evaluation mode, and the record of its training.
    Raises:
        DataError: the items are not images, or labels are needed and missing.
        UnknownNameError: no architecture or loss has this name.
        RequirementError: the number of epochs or steps is too small.
    """
    if loss not in LOSSES:
        why = (
            f"a network can be warmed up for the losses {' and '.join(LOSSES)}, not for {loss!r}: give your own model."
        )
        raise UnknownNameError(why)
    if epochs < 0 or attack_steps < 1:
        why = f"a warm-up needs epochs ≥ 0 and attack steps ≥ 1, got {epochs} and {attack_steps}."
        raise RequirementError(why)
    start = perf_counter()
    with rng_kept():  # items may be augmented at random
        channels, size = image_shape(dataset)
        if loss in SUPERVISED and classes is None:
            classes = count_classes(dataset, num_workers)
        model = placed(
            build(arch, loss, channels=channels, size=size, classes=classes, seed=seed), usable_device(device or "cpu")
        )
        attack = PGD(radius, radius * min(1.25, 2.5 / attack_steps), attack_steps)
        mirror = channels != 1
        views = partial(two_views, flip=0.5 if mirror else 0.0)
        augment = partial(crop_flip, pad=size // 8, flip=mirror)
        train = partial(sat.warm_up, augment=augment) if loss == "sat" else partial(acl.warm_up, views=views)
        log = train(
            model, dataset, epochs=epochs, attack=attack, batch_size=batch_size, lr=lr, seed=seed,
            num_workers=num_workers, device=device, progress=progress,
        )  # fmt: skip
    settings: dict[str, int | float | str] = {
        "arch": arch, "loss": loss, "epochs": epochs, "attack_steps": attack_steps, "radius": radius,
        "step": attack.step, "seed": seed, "batch_size": batch_size, "lr": lr, "channels": channels, "size": size,
        "parameters": sum(p.numel() for p in model.parameters()),
    }  # fmt: skip
    return model.eval(), WarmUp(
        settings=settings,
        seconds=perf_counter() - start,
        final_loss=log[-1].loss if log else None,
        log=tuple(log),
        loss=loss,
        call=route_call if loss == "acl" else None,
        views=views if loss == "acl" else None,
    )
