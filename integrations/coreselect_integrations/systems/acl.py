"""Contrastive training, adversarial or not: one plain epoch over any loader, labels unread.

The loss makes the method: CL() is NT-Xent of two natural views (Chen et al., "A Simple Framework for Contrastive
Learning of Visual Representations", ICML 2020); ACL() is ½·[NT-Xent(x̃ⁱ, x̃ʲ) + NT-Xent(xⁱ, xʲ)], where x̃ⁱ, x̃ʲ maximise
NT-Xent jointly, each within its ball, and natural and attacked views pass through routes of their own (Jiang et al.,
"Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020); ACL(omega=…) with weaker and weaker views is
DynACL (`dynacl.py`); IR() adds invariant regularisation, and reads the image itself as a third view (`air.py`).
"""

from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from coreselect import Task
from coreselect.attacks import PGD
from coreselect.errors import RequirementError
from coreselect.history import History
from coreselect.losses import ACL, Divided
from coreselect.protocols import Attack, Call, Loss, MakeViews, Progress, Route, Views
from coreselect_integrations.networks import route_call
from coreselect_integrations.systems.views import two_views
from coreselect_integrations.training.epochs import fit
from coreselect_integrations.training.loops import EpochLog, check_attack, random_start
from coreselect_integrations.training.modes import evaluating, precise
from coreselect_integrations.training.schedule import Steps

ATTACK = PGD(8 / 255, 2 / 255, 5)


def train_epoch(
    model: nn.Module,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    attack: Attack | None,
    *,
    generator: torch.Generator,
    loss: Loss = ACL(),
    views: MakeViews = two_views,
    call: Call = route_call,
    scheduler: Steps | None = None,
    weights: Callable[[Tensor], Tensor] | None = None,
    history: History | None = None,
    precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> EpochLog:
    """Train one epoch: joint attack on both views in evaluation mode, update in training mode; the loss is in float32.

    Args:
        model: called through `call`; left in training mode.
        loader: yields x [B, C, H, W], or tuples that begin with it, and end with the index when `weights` or `history` is
            given (`Indexed`); labels are never read.
        optimizer: of the parameters to train (LARS in the published runs, SGD for small ones).
        attack: raises NT-Xent of both views together, through the adversarial route; None for a loss that reads
            natural views alone.
        generator: gives the views and the random starts.
        loss: `CL()`, `ACL()`, `IR()`; of the views it names, the last two are the pair, and one before them passes by
            itself, so that it takes no part in their batch statistics.
        views: (x, generator) → as many views of each image as the loss reads.
        call: (model, x, route) → representations [B, D].
        scheduler: stepped after each update.
        weights: indices [B] → weights [B] that multiply what each example adds to the loss (`CoresetSampler.weights`).
        history: records what each example added to the loss of its update, before weighting: NT-Xent's mean over its two
            anchors, of natural and attacked views as the loss weighs them.
        precision: of mixed-precision forward passes; None for that of the model.
        device: where batches are moved; None leaves them.
    Returns:
        the mean loss; there is no accuracy.
    Raises:
        RequirementError: loss and attack do not belong together, or weights or a history are given and the loss does not say
            what each example adds (`each`), or the loader has no indices.
    """
    check_attack(loss, attack)
    divided = None if weights is None and history is None else _divided(loss)
    start, loss_sum, examples = perf_counter(), 0.0, 0
    attacked = [view for route, view in loss.streams if route == "adversarial"]

    def together(route: Route, views: Views) -> Views:
        """Two views [B, …] in one forward, so that they share batch statistics → two float32 [B, D]."""
        x = torch.cat(views)  # [2B, …]
        with precise(x, precision):
            z: Tensor = call(model, x, route)  # [2B, D]
        return tuple(z.float().chunk(len(views)))

    model.train()
    for batch in loader:
        x = batch[0] if isinstance(batch, tuple | list) else batch  # [B, C, H, W]
        natural = views(x.to(device), generator)  # two or three of [B, C, H, W]
        adversarial: Views = ()
        if attack is not None:
            starts = tuple(random_start(natural[v], generator) for v in attacked)
            with evaluating(model):
                adversarial = attack(
                    lambda v: loss.ascend(together("adversarial", v), (), None),
                    tuple(natural[v] for v in attacked),
                    starts,
                )
        z_adversarial = together("adversarial", adversarial) if adversarial else ()
        z_natural = together("natural", natural[-2:])
        if len(natural) > 2:
            z_natural = together("natural", natural[:-2]) + z_natural
        if divided is None:
            value = loss(z_adversarial, z_natural, None)
        else:
            losses = divided.each(z_adversarial, z_natural, None)  # [B]
            value = (losses if weights is None else losses * weights(_index(batch)).to(losses)).mean()
            if history is not None:
                history.record_losses(_index(batch), losses)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        loss_sum += value.item() * len(x)
        examples += len(x)
    return EpochLog(loss_sum / max(1, examples), None, examples, perf_counter() - start)


def _divided(loss: Loss) -> Divided:
    if not isinstance(loss, Divided):
        why = (
            f"the loss {loss.name!r} does not say what each example adds to it: give it a method each(adversarial, natural, "
            "labels) → [B] whose mean is the loss, or give neither weights nor history."
        )
        raise RequirementError(why)
    return loss


def _index(batch: Any) -> Tensor:
    """Positions in the pool [B]: what a batch of several ends with, which are labels where the loader is not of `Indexed(pool)`."""
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        why = "weights and a history need batches that end with the index, got x alone: load from Indexed(pool)."
        raise RequirementError(why)
    return batch[-1]


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
    """Train adversarially on a whole dataset, labels unread; arguments as `train_epoch` and `epochs.fit` say."""
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
