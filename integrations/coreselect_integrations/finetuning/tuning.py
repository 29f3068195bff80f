"""Fine-tuning a pre-trained extractor f into a classifier W f(x): what trains, on which inputs, is the mode.

    SLF   min_W    CE(W f(x), y)                             standard linear
    ALF   min_W    CE(W f(x̃), y)                             adversarial linear, x̃ raises the same CE
    SFF   min_W,f  CE(W f(x), y)                             standard full
    AFF   min_W,f  CE(W f(x), y) + 6·KL(p ‖ p̃)               adversarial full: TRADES, natural and attacked inputs each
                                                             through normalisation statistics of their own

    tuning = begin(ALF, weights, spec, classes=10)           # weights and their spec: `networks.load_network`
    optimizer = tuning.optimizer()
    schedule = Schedule(optimizer, ALF.curve())
    for epoch in range(ALF.epochs):
        schedule.set_epoch(epoch, len(loader))
        train_epoch(tuning, loader, optimizer, generator=draws(0, ALF.name, epoch), scheduler=schedule, augment=crop_flip)
    network, spec = finish(tuning)                           # that of the last epoch: no data chose among epochs

Everything between two epochs is in the states of `tuning.network`, `optimizer` and `schedule`.

Source: the protocol of Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, and Luo,
Wang and Wang, "Rethinking the Effect of Data Augmentation in Adversarial Contrastive Learning", ICLR 2023.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from coreselect.attacks import PGD
from coreselect.io.fingerprint import fingerprint
from coreselect.losses import CE, SAT, TRADES
from coreselect.protocols import Attack, Call, Loss, Progress
from coreselect.support.records import digest_of, settings_of
from coreselect_integrations.networks import RoutedNetwork, Spec, Transfer, classifier_from, one_route, route_call
from coreselect_integrations.systems import sat
from coreselect_integrations.systems.augment import crop_flip
from coreselect_integrations.training.epochs import Ended, each_epoch
from coreselect_integrations.training.loops import Augment, Batches, EpochLog, draws
from coreselect_integrations.training.optimisers import optimiser
from coreselect_integrations.training.runs import Run
from coreselect_integrations.training.schedule import Curve, Schedule, Steps, stairs

ATTACK = PGD(8 / 255, 2 / 255, 10)


@dataclass(frozen=True, slots=True)
class Mode:
    """What a fine-tuning does: `dataclasses.replace` changes a setting.

    Args:
        name: names the random draws, too.
        linear: whether the head alone trains; all else, statistics included, then stays as it is, bit for bit.
        loss, attack: as `sat.train_epoch` takes them.
        dual_bn: whether two routes have statistics of their own during training; what comes out has one.
        epochs, batch_size, lr, weight_decay: ≥ 1, ≥ 1, > 0, ≥ 0; SGD with Nesterov momentum 0.9.
        milestones: epochs, each before `epochs`, from which the rate is a tenth.
        call: (network, x, route) → logits.
    """

    name: str
    linear: bool
    loss: Loss
    attack: Attack | None
    dual_bn: bool = False
    epochs: int = 25
    batch_size: int = 512
    lr: float = 0.01
    weight_decay: float = 2e-4
    milestones: tuple[int, ...] = (10, 20)
    call: Call = route_call

    def curve(self, epochs: int | None = None) -> Curve:
        """Return the factor of the rate over `epochs`: milestones keep their share of a run of another length."""
        E = self.epochs if epochs is None else epochs
        return stairs([max(1, round(m * E / self.epochs)) for m in self.milestones])


# The published settings for CIFAR-10 at 32 pixels, but for Nesterov momentum. Linear modes take lr 0.05 for CIFAR-100
# and 0.1 for STL-10 at 96 pixels, at 32 pixels 0.01 and batches of 128. AFF after ACL trains 100 epochs, × 0.1 at 40 and
# 60. Where the authors' TRADES attack starts 0.001·N(0, 1) away from x, this one starts anywhere in the ball, as PGD does.
SLF = Mode("slf", True, CE(), None)
ALF = Mode("alf", True, SAT(), ATTACK)
SFF = Mode("sff", False, CE(), None, batch_size=128, lr=0.1)
AFF = Mode("aff", False, TRADES(6.0), ATTACK, dual_bn=True, batch_size=128, lr=0.1, milestones=(15, 20))
MODES: Mapping[str, Mode] = MappingProxyType({m.name: m for m in (SLF, ALF, SFF, AFF)})


@dataclass(frozen=True, slots=True, eq=False)
class Tuning:
    """A fine-tuning under way: `network`, which changes in place, what it is, and what was loaded into it."""

    mode: Mode
    network: RoutedNetwork
    spec: Spec
    transfer: Transfer

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What trains."""
        return [p for p in self.network.parameters() if p.requires_grad]

    def optimizer(self, lr: float | None = None) -> torch.optim.Optimizer:
        """Make the optimiser of the mode; call it when the network is on its device."""
        rate = self.mode.lr if lr is None else lr
        return optimiser("sgd", self.parameters, lr=rate, weight_decay=self.mode.weight_decay)

    def under(self, mode: Mode) -> "Tuning":
        """Go on with the same network in another mode; the routes stay those it has."""
        self.network.requires_grad_(not mode.linear)
        self.network.head.requires_grad_(True)
        return replace(self, mode=mode)


@dataclass(frozen=True, slots=True, eq=False)
class Finetuned:
    """`network`, a classifier with one route in evaluation mode, what it is, what was loaded, how it went, and how long."""

    network: RoutedNetwork
    spec: Spec
    transfer: Transfer
    log: tuple[EpochLog, ...]
    seconds: float


def begin(mode: Mode, weights: Mapping[str, Tensor], spec: Spec, *, classes: int) -> Tuning:
    """Put a head of zeros on a pre-trained extractor and open what is to train.

    From two routes to one, the adversarial route's statistics are taken.

    Args:
        mode: one of `MODES`.
        weights, spec: of the extractor, with any head or none; copied.
        classes: at least 2.
    Raises:
        DataError, RequirementError, UnknownNameError: as `classifier_from` says.
    """
    network, new, transfer = classifier_from(weights, spec, classes=classes, dual_bn=mode.dual_bn)
    return Tuning(mode, network, new, transfer).under(mode)


def train_epoch(
    tuning: Tuning,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    *,
    generator: torch.Generator,
    scheduler: Steps | None = None,
    augment: Augment | None = None,
    precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> EpochLog:
    """Train one epoch: `sat.train_epoch` with the loss, the attack and the trained part of the mode; arguments as there."""
    how = tuning.mode
    return sat.train_epoch(
        tuning.network, loader, optimizer, how.attack, generator=generator, loss=how.loss, call=how.call,
        augment=augment, scheduler=scheduler, trained=tuning.network.head if how.linear else None,
        precision=precision, device=device,
    )  # fmt: skip


def finish(tuning: Tuning) -> tuple[RoutedNetwork, Spec]:
    """Return the classifier in evaluation mode, all parameters open: with two routes, a copy of the adversarial one."""
    network, spec = tuning.network, tuning.spec
    if spec.dual_bn:
        network, spec = one_route(network, spec, "adversarial")
    return network.eval().requires_grad_(True), spec


def run(
    tuning: Tuning,
    dataset: Dataset[Any],
    *,
    seed: int,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    augment: Augment | None = crop_flip,
    drop_last: bool = False,
    num_workers: int = 0,
    precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    folder: str | Path | None = None,
    about: Mapping[str, Any] = MappingProxyType({}),
    ended: Ended | None = None,
) -> tuple[EpochLog, ...]:
    """Train all epochs of a mode on a whole dataset, shuffled anew each; arguments as `finetune` says.

    Args:
        drop_last: leave out an epoch's last batch where it is not full and not the only one.
    Raises:
        RequirementError: the dataset is empty, or epochs is below 0 or the batch size below 1.
    """
    how = tuning.mode
    E = how.epochs if epochs is None else epochs
    tuning.network.to(device)
    optimizer = tuning.optimizer(lr)
    size = how.batch_size if batch_size is None else batch_size
    schedule = Schedule(optimizer, how.curve(E))
    kept = None
    if folder is not None:
        settings = {
            "mode": how.name, "epochs": E, "batch_size": size, "lr": optimizer.param_groups[0]["lr"], "seed": seed,
            "weight_decay": how.weight_decay, "milestones": how.milestones, "attack": settings_of(how.attack),
            "precision": str(precision), "data": fingerprint(dataset), "start": digest_of(tuning.network.state_dict(), 8), **about,
        }  # fmt: skip
        parts = {"network": tuning.network, "optimizer": optimizer, "schedule": schedule}
        kept = Run.open(folder, parts, settings, restore_rng=False)

    def epoch(e: int, batches: Batches) -> EpochLog:
        schedule.set_epoch(e, len(batches))
        return train_epoch(
            tuning, batches, optimizer, generator=draws(seed, how.name, e), scheduler=schedule, augment=augment,
            precision=precision, device=device,
        )  # fmt: skip

    return each_epoch(
        epoch, dataset, how.name, seed=seed, epochs=E, batch_size=size, drop_last=drop_last,
        num_workers=num_workers, progress=progress, run=kept, also=lambda: {"lr": schedule.rate}, ended=ended,
    )  # fmt: skip


def finetune(
    mode: Mode,
    weights: Mapping[str, Tensor],
    spec: Spec,
    dataset: Dataset[Any],
    *,
    classes: int,
    seed: int = 0,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    augment: Augment | None = crop_flip,
    num_workers: int = 0,
    precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    folder: str | Path | None = None,
    about: Mapping[str, Any] = MappingProxyType({}),
    ended: Ended | None = None,
) -> Finetuned:
    """Fine-tune on a whole labelled dataset; the last epoch is kept.

    Args:
        mode, weights, spec, classes: as `begin` says.
        dataset: map-style, items (x, y, …), x in [0, 1] of the spec's shape.
        seed: decides order, augmentation and random starts; no global random state moves.
        epochs, batch_size, lr: None for the mode's; milestones keep their share of the epochs.
        augment: (x, generator) → x, on whole batches; None for images as they are.
        num_workers, precision, device: of the loader, the forward passes and the batches.
        progress: called with (mode, examples done, examples in all) after each batch.
        folder: where each epoch is kept, and a fine-tuning that was killed goes on (`runs.Run`); None keeps nothing.
        about: more of what a fine-tuning in a folder is, as `runs.Run` takes it; another is not taken up.
        ended: called with the record of each epoch that ends.
    Raises:
        DataError, RequirementError, UnknownNameError: as `begin` and `run` say.
    """
    start = perf_counter()
    tuning = begin(mode, weights, spec, classes=classes)
    log = run(
        tuning, dataset, seed=seed, epochs=epochs, batch_size=batch_size, lr=lr, augment=augment,
        num_workers=num_workers, precision=precision, device=device, progress=progress, folder=folder, about=about,
        ended=ended,
    )  # fmt: skip
    network, new = finish(tuning)
    return Finetuned(network, new, tuning.transfer, log, perf_counter() - start)
