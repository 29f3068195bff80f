"""AutoLoRa: a low-rank branch beside the extractor learns natural images, and the extractor itself learns attacked images.

    natural      z = W f(x; θ + ΔW),  ΔW = B·A / r for each convolution         trains A, B and the head W
    adversarial  z̃ = W f(x̃; θ)                                                 trains θ and the head W
    λ₁·CE(z, y) + (1 − λ₁)·CE(z̃, y) + λ₂·KL(softmax z ‖ softmax z̃),  λ₁ = 1 − p,  λ₂ = 6 p

p is the share of natural training images that the branch classifies correctly; x̃ raises CE(z̃, y). The learning rate is
halved automatically (`autorate.py`), based on the robust accuracy on held-out training data. The final network has no
branch.

    tuning = begin(weights, spec, classes=10, examples=len(pool))
    optimizer = tuning.optimizer()
    auto = AutoRate(tuning.model, optimizer, checkpoints(50))
    for epoch in range(50):
        train_epoch(tuning, loader, optimizer, generator=epoch_generator(0, "autolora", epoch), augment=crop_flip)
        auto.update(held_out_accuracy(tuning, held))
    auto.restore()
    network, spec = finish(tuning)

The states of `tuning.model`, `tuning.loss`, `optimizer` and `auto` are all that the next epoch needs. The authors' program
differs in five points. It has no branch beside the stem. It measures p by extra passes over the whole training set; this
one counts on the training batches. Its attack starts 0.001·N(0, 1) away from x. By default it sets the rate by images that
it trains on. And it returns the epoch that is best on the test set; this one returns the best on held-out data.

Source: Xu, Zhang and Kankanhalli, "AutoLoRa: An Automated Robust Fine-Tuning Framework", ICLR 2024. The direction of the
KL, and what each pass trains, are those of the authors' program.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.utils.data import Dataset

from coreselect.budget import Budget
from coreselect.data.subsets import holdout
from coreselect.network.placing import placed
from coreselect.protocols import Attack
from coreselect.support.devices import usable_device
from coreselect.support.records import settings_of
from coreselect_integrations.evaluation import PGD20, evaluate
from coreselect_integrations.finetuning.autolora_loss import AutoLoRaLoss
from coreselect_integrations.finetuning.autorate import AutoRate, checkpoints
from coreselect_integrations.finetuning.low_rank import LowRank
from coreselect_integrations.finetuning.modes import ATTACK
from coreselect_integrations.finetuning.run import Finetuned
from coreselect_integrations.finetuning.runtime import RuntimeOptions, loop_options, open_run
from coreselect_integrations.networks import (
    NetworkSpec,
    RoutedNetwork,
    Transfer,
    classifier_from,
    one_route,
    route_call,
)
from coreselect_integrations.systems import sat
from coreselect_integrations.systems.augment import Augment, crop_flip
from coreselect_integrations.training.batches import Batches
from coreselect_integrations.training.epoch_log import EpochLog
from coreselect_integrations.training.epochs import epoch_generator, run_epochs
from coreselect_integrations.training.optimisers import optimiser


@dataclass(frozen=True, slots=True, eq=False)
class BranchTuning:
    """A fine-tuning in progress: `model` and `loss` change in place; `spec` describes `model.network`."""

    model: LowRank
    loss: AutoLoRaLoss
    spec: NetworkSpec
    transfer: Transfer

    def optimizer(self, lr: float = 0.1, weight_decay: float = 2e-4) -> torch.optim.Optimizer:
        """Make SGD for extractor, branch and head; call it after moving the model to its device."""
        return optimiser("sgd", self.model.parameters(), lr=lr, weight_decay=weight_decay)


@dataclass(frozen=True, slots=True, eq=False)
class AutoLoRaResult(Finetuned):
    """`Finetuned`, with the robust accuracy on held-out data after each epoch, and the learning rate of each epoch."""

    held: tuple[float, ...]
    rates: tuple[float, ...]


def begin(
    weights: Mapping[str, Tensor], spec: NetworkSpec, *, classes: int, examples: int, rank: int = 8, seed: int = 0
) -> BranchTuning:
    """Put a head of zeros and a branch of zero effect on a pre-trained extractor.

    Natural images use the statistics of the natural route. If the extractor has one route, both routes start from it.

    Args:
        weights, spec, classes: see `finetuning.begin`.
        examples: in a training epoch.
        rank, seed: see `LowRank`.
    """
    network, new, transfer = classifier_from(weights, spec, classes=classes, dual_bn=True)
    return BranchTuning(LowRank(network, rank, seed), AutoLoRaLoss(classes, examples), new, transfer)


def train_epoch(
    tuning: BranchTuning,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    *,
    attack: Attack = ATTACK,
    **more: Any,
) -> EpochLog:
    """Train one epoch by `sat.train_epoch`, with its arguments; the accuracy is that on attacked images."""
    return sat.train_epoch(tuning.model, loader, optimizer, attack, loss=tuning.loss, call=route_call, **more)


def held_out_accuracy(
    tuning: BranchTuning, held: Dataset[Any], *, attack: Attack = PGD20, seed: int = 0, **more: Any
) -> float:
    """Measure the robust accuracy in [0, 1] of the network without the branch, by `evaluate` with its arguments."""
    network = tuning.model.network
    return evaluate(network, held, attack=attack, seed=seed, call=route_call, route="adversarial", **more).robust


def finish(tuning: BranchTuning) -> tuple[RoutedNetwork, NetworkSpec]:
    """Return a copy of the adversarial route, without the branch, in evaluation mode."""
    network, spec = one_route(tuning.model.network, tuning.spec, "adversarial")
    return network.eval(), spec


def autolora(
    weights: Mapping[str, Tensor],
    spec: NetworkSpec,
    dataset: Dataset[Any],
    *,
    classes: int,
    seed: int = 0,
    epochs: int = 50,
    held: Budget = 0.05,
    batch_size: int = 128,
    lr: float = 0.1,
    rank: int = 8,
    attack: Attack = ATTACK,
    judged_by: Attack = PGD20,
    augment: Augment | None = crop_flip,
    **runtime: Unpack[RuntimeOptions],
) -> AutoLoRaResult:
    """Fine-tune on a labelled dataset and keep the epoch that is best on the held-out part of it.

    Args:
        epochs: published 50; the checkpoints of the learning rate are scaled to the number of epochs.
        held: how many examples of `dataset` to hold out, by `coreselect.data.subsets.holdout`; they are never trained on.
            Published 0.05.
        lr: the first learning rate; published 0.1.
        rank: see `LowRank`.
        attack, judged_by: the attack of training, and the attack on the held-out part.
        weights, spec, dataset, …: see `finetuning.finetune`.
    Raises:
        BudgetError: nothing is left to train on, or nothing is held out.
        DataError, RequirementError, UnknownNameError: see `finetuning.finetune`.
    """
    start = perf_counter()
    device, precision = runtime.get("device"), runtime.get("precision")
    pool, rest = holdout(dataset, held, seed)
    tuning = begin(weights, spec, classes=classes, examples=len(pool), rank=rank, seed=seed)
    placed(tuning.model, None if device is None else usable_device(device))
    optimizer = tuning.optimizer(lr)
    auto = AutoRate(tuning.model, optimizer, checkpoints(epochs))
    settings = {
        "mode": "autolora", "epochs": epochs, "batch_size": batch_size, "lr": lr, "rank": rank, "seed": seed,
        "held": len(rest), "attack": settings_of(attack), "judged_by": settings_of(judged_by),
    }  # fmt: skip
    parts = {"model": tuning.model, "balance": tuning.loss, "optimizer": optimizer, "rate": auto}
    run = open_run(runtime, parts, settings, pool, tuning.model)
    rates = [] if run is None else [float(record["lr"]) for record in run.records]

    def epoch(e: int, batches: Batches) -> EpochLog:
        rates.append(auto.rate)
        log = train_epoch(
            tuning, batches, optimizer, attack=attack, generator=epoch_generator(seed, "autolora", e), augment=augment,
            precision=precision, device=device,
        )  # fmt: skip
        auto.update(held_out_accuracy(tuning, rest, attack=judged_by, seed=seed, device=device))
        return log

    log = run_epochs(
        epoch, pool, "autolora", seed=seed, epochs=epochs, batch_size=batch_size, run=run,
        extra_record=lambda: {"lr": rates[-1], "held": auto.values[-1]}, **loop_options(runtime),
    )  # fmt: skip
    auto.restore()
    network, new = finish(tuning)
    return AutoLoRaResult(network, new, tuning.transfer, log, perf_counter() - start, tuple(auto.values), tuple(rates))
