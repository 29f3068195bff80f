"""Adversarial contrastive learning: ½·[NT-Xent(x̃ⁱ, x̃ʲ) + NT-Xent(xⁱ, xʲ)], one plain epoch over any loader.

x̃ⁱ, x̃ʲ maximise NT-Xent jointly, each within its ball; natural and attacked views pass through routes of their own.
Source: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020.
"""

from collections.abc import Iterable
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset

from coreselect import Task
from coreselect.attacks import PGD
from coreselect.losses import ACL
from coreselect.protocols import Attack, Call, MakeViews, Progress, Route, Views
from coreselect_integrations.modes import evaluating
from coreselect_integrations.networks import route_call
from coreselect_integrations.training import EpochLog, fit, random_start
from coreselect_integrations.views import two_views

ATTACK = PGD(8 / 255, 2 / 255, 5)


def train_epoch(
    model: nn.Module,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    attack: Attack,
    *,
    generator: torch.Generator,
    views: MakeViews = two_views,
    loss: ACL = ACL(),
    call: Call = route_call,
    scheduler: LRScheduler | None = None,
    device: torch.device | str | None = None,
) -> EpochLog:
    """Train one epoch: joint attack on both views in evaluation mode, update in training mode; the loss is in float32.

    Args:
        model: called through `call`; left in training mode.
        loader: yields x [B, C, H, W], or tuples that begin with it; labels are never read.
        optimizer: of the parameters to train (LARS in the published runs, SGD for small ones).
        attack: raises NT-Xent of both views together, through the adversarial route.
        generator: gives the views and the random starts.
        views: (x, generator) → two views of each image.
        loss: its temperature and ω.
        call: (model, x, route) → representations [B, D].
        scheduler: stepped after each update.
        device: where batches are moved; None leaves them.
    Returns:
        the mean loss; there is no accuracy.
    """
    start, loss_sum, examples = perf_counter(), 0.0, 0
    for batch in loader:
        x = batch[0] if isinstance(batch, tuple | list) else batch  # [B, C, H, W]
        natural = views(x.to(device), generator)  # two of [B, C, H, W]
        outputs = partial(_outputs, call, model)
        with evaluating(model):
            adversarial = attack(
                lambda v, outputs=outputs: loss.ascend(outputs("adversarial", v), (), None),
                natural,
                tuple(random_start(v, generator) for v in natural),
            )
        model.train()
        z_adversarial, z_natural = outputs("adversarial", adversarial), outputs("natural", natural)
        with torch.autocast(z_natural[0].device.type, enabled=False):
            value = loss(z_adversarial, z_natural, None)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        loss_sum += value.item() * len(x)
        examples += len(x)
    return EpochLog(loss_sum / max(1, examples), None, examples, perf_counter() - start)


def _outputs(call: Call, model: nn.Module, route: Route, views: Views) -> Views:
    """Both views [B, …] in one forward, so that they share batch statistics → two float32 [B, D]."""
    z: Tensor = call(model, torch.cat(views), route).float()  # [2B, D]
    return tuple(z.chunk(2))


def warm_up(
    model: nn.Module,
    dataset: Dataset[Any],
    *,
    epochs: int,
    attack: Attack = ATTACK,
    views: MakeViews = two_views,
    batch_size: int = 128,
    lr: float = 0.1,
    weight_decay: float = 1e-4,
    seed: int = 0,
    num_workers: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> list[EpochLog]:
    """Train adversarially on a whole dataset, labels unread; arguments as `train_epoch` and `training.fit` say."""
    epoch = partial(train_epoch, attack=attack, views=views)
    return fit(
        model, dataset, epoch, epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay, seed=seed,
        num_workers=num_workers, device=device, progress=progress,
    )  # fmt: skip


def task(model: nn.Module, pool: Dataset[Any], validation: Dataset[Any], **settings: Any) -> Task:
    """Say what to select from for this loop: `Task.from_model` with the loss `acl`, two views, two routes."""
    return Task.from_model(
        model, pool, validation, **{"loss": "acl", "call": route_call, "views": two_views, **settings}
    )
