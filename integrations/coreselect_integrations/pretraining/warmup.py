"""A small network trained adversarially for a few epochs, for a selection that is given data and no model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from coreselect.attacks import PGD
from coreselect.data import labels_of
from coreselect.data.labels import refuse_sparse, why_unlabelled
from coreselect.errors import DataError, RequirementError, UnknownNameError
from coreselect.protocols import Call, MakeViews, Progress
from coreselect.support.seeding import generator, rng_kept
from coreselect_integrations.networks import SUPERVISED, build, route_call
from coreselect_integrations.systems import acl, sat
from coreselect_integrations.systems.augment import crop_flip
from coreselect_integrations.systems.views import two_views
from coreselect_integrations.training.loops import EpochLog

LOSSES = ("sat", "acl")


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What was trained and how; with `loss`, `call` and `views` it is what `Task.from_model` needs beside the model.

    `settings` are numbers and names that JSON can hold; `log` has one entry an epoch; `seconds` is all of them
    together; `final_loss` is the mean loss of the last epoch, None without epochs.
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
    """Build a network for the data and train it adversarially on all of it.

    The attack steps are of min(1.25, 2.5 / steps) radii. Supervised training crops and mirrors, contrastive training
    makes two views; images of one channel (digits) are not mirrored.

    Args:
        dataset: items (x, y), x float [C, H, W] in [0, 1]; for `acl`, y is not read and x alone will do.
        arch: a name in `networks.ARCHITECTURES`.
        loss: `sat` or `acl`.
        epochs: at least 0; 0 gives a network that has learnt nothing, with a WarmUp that says so.
        attack_steps: PGD steps, at least 1; fewer are faster and weaker.
        radius: of the l∞ ball, in units of pixels in [0, 1].
        seed: decides parameters, order, augmentation and random starts; no global random state moves.
        batch_size, lr: of SGD, lr at the peak of its triangle.
        classes: number of labels; None reads them from the data.
        num_workers: of the loader.
        progress: called with ("warm-up", examples done, examples in all) after each batch.
        device: where to train; None is the CPU.
    Returns:
        the network, in evaluation mode, and the record of its training.
    Raises:
        DataError: the items are not images, or carry no labels where they are needed.
        UnknownNameError: no such architecture or loss.
        RequirementError: a number of epochs or steps that makes no sense.
    """
    if loss not in LOSSES:
        why = (
            f"a network is warmed up for the losses {' and '.join(LOSSES)}, not for {loss!r}: give a model of your own."
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
        model = build(arch, loss, channels=channels, size=size, classes=classes, seed=seed).to(device or "cpu")
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


def image_shape(dataset: Any) -> tuple[int, int]:
    """Return the channels and the shorter side of the first item's image.

    Raises:
        DataError: it is no float [C, H, W].
    """
    item = dataset[0]
    x = item[0] if isinstance(item, tuple | list) else item
    if not isinstance(x, Tensor) or x.dim() != 3 or not x.is_floating_point():
        got = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        why = (
            f"a network needs images as float [C, H, W] in [0, 1], the first item is {got}: convert it in the dataset."
        )
        raise DataError(why)
    return x.shape[0], min(x.shape[1:])


def count_classes(dataset: Dataset[Any], num_workers: int = 0) -> int:
    """Return the largest label plus one, at least 2; labels that the dataset does not list are read once.

    Raises:
        DataError: items carry no integer labels, or these skip most values.
    """
    listed = labels_of(dataset)
    if listed is not None:
        refuse_sparse(listed, "the data")
        return max(2, int(listed.max()) + 1)
    read: list[Tensor] = []
    for batch in DataLoader(dataset, 256, num_workers=num_workers, generator=generator(0, "labels")):
        y = batch[1] if isinstance(batch, tuple | list) and len(batch) > 1 else None
        if not isinstance(y, Tensor) or y.is_floating_point() or y.dim() != 1:
            why = (
                f"training a classifier needs items (x, y) with integer y{why_unlabelled(dataset)}: use loss 'acl' for data "
                "without labels."
            )
            raise DataError(why)
        read.append(y)
    labels = torch.cat(read).numpy()
    refuse_sparse(labels, "the data")
    return max(2, int(labels.max()) + 1)
