"""A fine-tuning step by step: begin from pre-trained weights, train epochs, and return the classifier.

    tuning = begin(ALF, weights, spec, classes=10)           # weights and their spec: `networks.load_network`
    optimizer = tuning.optimizer()
    schedule = Schedule(optimizer, ALF.curve())
    for epoch in range(ALF.epochs):
        schedule.set_epoch(epoch, len(loader))
        train_epoch(
            tuning, loader, optimizer, generator=epoch_generator(0, ALF.name, epoch), scheduler=schedule, augment=crop_flip
        )
    network, spec = finish(tuning)                           # the network of the last epoch; no data chose an epoch

The states of `tuning.network`, `optimizer` and `schedule` are all that the next epoch needs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from coreselect.network.placing import placed
from coreselect.protocols import Route
from coreselect_integrations.finetuning.modes import Mode
from coreselect_integrations.networks import NetworkSpec, RoutedNetwork, Transfer, classifier_from, one_route
from coreselect_integrations.systems import sat
from coreselect_integrations.systems.augment import Augment
from coreselect_integrations.training.epoch_log import EpochLog
from coreselect_integrations.training.optimisers import optimiser
from coreselect_integrations.training.schedule import Scheduler


@dataclass(frozen=True, slots=True, eq=False)
class Tuning:
    """A fine-tuning in progress: the mode, the `network` (it changes in place), its spec, and what was loaded into it."""

    mode: Mode
    network: RoutedNetwork
    spec: NetworkSpec
    transfer: Transfer

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are trained."""
        return [p for p in self.network.parameters() if p.requires_grad]

    def optimizer(self, lr: float | None = None) -> torch.optim.Optimizer:
        """Make the optimiser of the mode; call it after moving the network to its device."""
        rate = self.mode.lr if lr is None else lr
        return optimiser(
            "sgd", self.parameters, lr=rate, weight_decay=self.mode.weight_decay, nesterov=self.mode.nesterov
        )

    def with_mode(self, mode: Mode) -> Self:
        """Continue with the same network in another mode; the network keeps its routes."""
        self.network.requires_grad_(not mode.linear)
        self.network.head.requires_grad_(True)
        return replace(self, mode=mode)


def begin(
    mode: Mode, weights: Mapping[str, Tensor], spec: NetworkSpec, *, classes: int, route: Route = "adversarial"
) -> Tuning:
    """Put a head of zeros on a pre-trained extractor and unfreeze what the mode trains.

    Args:
        mode: one of `MODES`.
        weights, spec: of the extractor, with any head or none; copied.
        classes: at least 2.
        route: whose statistics are used, if the extractor has two routes and the mode one.
    Raises:
        DataError, RequirementError, UnknownNameError: see `classifier_from`.
    """
    network, new, transfer = classifier_from(weights, spec, classes=classes, dual_bn=mode.dual_bn, route=route)
    return Tuning(mode, placed(network, None), new, transfer).with_mode(mode)


def train_epoch(
    tuning: Tuning,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    *,
    generator: torch.Generator,
    scheduler: Scheduler | None = None,
    augment: Augment | None = None,
    precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> EpochLog:
    """Train one epoch by `sat.train_epoch` with the loss, the attack and the trained part of the mode.

    See there for the other arguments.
    """
    mode = tuning.mode
    return sat.train_epoch(
        tuning.network, loader, optimizer, mode.attack, generator=generator, loss=mode.loss, call=mode.call,
        augment=augment, scheduler=scheduler, trained=tuning.network.head if mode.linear else None,
        precision=precision, device=device,
    )  # fmt: skip


def finish(tuning: Tuning) -> tuple[RoutedNetwork, NetworkSpec]:
    """Return the classifier in evaluation mode with all parameters trainable; of two routes, the adversarial one, copied."""
    network, spec = tuning.network, tuning.spec
    if spec.dual_bn:
        network, spec = one_route(network, spec, "adversarial")
    return network.eval().requires_grad_(True), spec
