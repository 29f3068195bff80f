"""AutoLoRa: natural images are learnt by a low-rank branch beside the extractor, attacked ones by the extractor itself.

    natural      z = W f(x; θ + ΔW),  ΔW = B·A / r for each convolution         moves A, B and the head W
    adversarial  z̃ = W f(x̃; θ)                                                 moves θ and the head W
    λ₁·CE(z, y) + (1 − λ₁)·CE(z̃, y) + λ₂·KL(softmax z ‖ softmax z̃),  λ₁ = 1 − p,  λ₂ = 6 p

p is the share of natural training images that the branch has right; x̃ raises CE(z̃, y). The learning rate halves itself
(`autorate.py`) by the robust accuracy of held-out training data. The branch is gone from what comes out.

    tuning = begin(weights, spec, classes=10, examples=len(pool))
    optimizer = tuning.optimizer()
    auto = AutoRate(tuning.model, optimizer, checkpoints(50))
    for epoch in range(50):
        train_epoch(tuning, loader, optimizer, generator=draws(0, "autolora", epoch), augment=crop_flip)
        auto.update(judge(tuning, held))
    auto.restore()
    network, spec = finish(tuning)

Everything between two epochs is in the states of `tuning.model`, `tuning.balance`, `optimizer` and `auto`. The authors'
program has no branch beside the stem; measures p by passes over the whole training set, where this one takes the images
as they are trained on; starts its attack 0.001·N(0, 1) away from x; judges the rate, unless told otherwise, on images
it trains on; and returns the epoch that is best on the test set, where this one returns the best on held-out data.

Source: Xu, Zhang and Kankanhalli, "AutoLoRa: An Automated Robust Fine-Tuning Framework", ICLR 2024; the direction of
the KL, and what each pass moves, as in the authors' program.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from coreselect.budget import Budget
from coreselect.data.subsets import holdout
from coreselect.divergences import KL
from coreselect.io.fingerprint import fingerprint
from coreselect.protocols import Attack, Progress, Views
from coreselect.support.records import digest_of, settings_of
from coreselect_integrations.evaluation import PGD20, evaluate
from coreselect_integrations.finetuning.autorate import AutoRate, checkpoints
from coreselect_integrations.finetuning.low_rank import LowRank
from coreselect_integrations.finetuning.tuning import ATTACK, Finetuned
from coreselect_integrations.networks import RoutedNetwork, Spec, Transfer, classifier_from, one_route, route_call
from coreselect_integrations.systems import sat
from coreselect_integrations.systems.augment import crop_flip
from coreselect_integrations.training.epochs import Ended, each_epoch
from coreselect_integrations.training.loops import Augment, Batches, EpochLog, draws
from coreselect_integrations.training.optimisers import optimiser
from coreselect_integrations.training.runs import Run


class Balance:
    """The loss above, of logits [B, classes] and labels [B] → [B], with p renewed four times an epoch.

    Args:
        classes: p is 1 / classes, what a head of zeros gets, until it is first renewed.
        examples: ≥ 1, of an epoch.
        beta: λ₂ / p; published 6.
    """

    name = "autolora"
    views = 1
    streams = (("natural", 0), ("adversarial", 0))
    per_example = True
    needs_labels = True
    default_attack = ATTACK

    def __init__(self, classes: int, examples: int, beta: float = 6.0) -> None:
        self.p, self.beta, self.every = 1 / classes, beta, -(-examples // 4)
        self.right, self.seen = 0, 0

    @property
    def scalars(self) -> tuple[float, float]:
        """λ₁ = 1 − p and λ₂ = β·p."""
        return 1 - self.p, self.beta * self.p

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return F.cross_entropy(adversarial[0], labels, reduction="sum")

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        assert labels is not None
        (z,), (z_), (l1, l2) = natural, adversarial[0], self.scalars
        ce = F.cross_entropy(z, labels, reduction="none"), F.cross_entropy(z_, labels, reduction="none")  # [B] each
        values = l1 * ce[0] + (1 - l1) * ce[1] + l2 * KL()(z, z_)  # [B]
        self.right += int((z.argmax(1) == labels).sum())
        self.seen += len(z)
        if self.seen >= self.every:
            self.p, self.right, self.seen = self.right / self.seen, 0, 0
        return values

    def state_dict(self) -> dict[str, Any]:
        """Return p and what has been counted since it was renewed."""
        return {"p": self.p, "right": self.right, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a run stopped."""
        self.p, self.right, self.seen = state["p"], state["right"], state["seen"]


@dataclass(frozen=True, slots=True, eq=False)
class Branched:
    """A fine-tuning under way: `model` and `balance` change in place; `spec` is what `model.network` is."""

    model: LowRank
    balance: Balance
    spec: Spec
    transfer: Transfer

    def optimizer(self, lr: float = 0.1, weight_decay: float = 2e-4) -> torch.optim.Optimizer:
        """Make SGD of extractor, branch and head; call it when the model is on its device."""
        return optimiser("sgd", self.model.parameters(), lr=lr, weight_decay=weight_decay)


@dataclass(frozen=True, slots=True, eq=False)
class AutoTuned(Finetuned):
    """As `Finetuned`, with the robust accuracy on held-out data after, and the rate during, each epoch."""

    held: tuple[float, ...]
    rates: tuple[float, ...]


def begin(
    weights: Mapping[str, Tensor], spec: Spec, *, classes: int, examples: int, rank: int = 8, seed: int = 0
) -> Branched:
    """Put a head of zeros and a branch of nothing on a pre-trained extractor.

    Natural images have the natural route's statistics; an extractor with one route begins with it on both.

    Args:
        weights, spec, classes: as `finetuning.begin` says.
        examples: of a training epoch.
        rank, seed: as `LowRank` says.
    """
    network, new, transfer = classifier_from(weights, spec, classes=classes, dual_bn=True)
    return Branched(LowRank(network, rank, seed), Balance(classes, examples), new, transfer)


def train_epoch(
    tuning: Branched, loader: Iterable[Any], optimizer: torch.optim.Optimizer, *, attack: Attack = ATTACK, **more: Any
) -> EpochLog:
    """Train one epoch: `sat.train_epoch`, with its arguments; the accuracy is that of attacked images."""
    return sat.train_epoch(tuning.model, loader, optimizer, attack, loss=tuning.balance, call=route_call, **more)


def judge(tuning: Branched, held: Dataset[Any], *, attack: Attack = PGD20, seed: int = 0, **more: Any) -> float:
    """Measure robust accuracy in [0, 1] as it would come out now: `evaluate`, with its arguments, without the branch."""
    network = tuning.model.network
    return evaluate(network, held, attack=attack, seed=seed, call=route_call, route="adversarial", **more).robust


def finish(tuning: Branched) -> tuple[RoutedNetwork, Spec]:
    """Return a copy of the adversarial route, without the branch, in evaluation mode."""
    network, spec = one_route(tuning.model.network, tuning.spec, "adversarial")
    return network.eval(), spec


def autolora(
    weights: Mapping[str, Tensor],
    spec: Spec,
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
    num_workers: int = 0,
    precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    folder: str | Path | None = None,
    about: Mapping[str, Any] = MappingProxyType({}),
    ended: Ended | None = None,
) -> AutoTuned:
    """Fine-tune on a labelled dataset; the epoch that is best on the part of it that was held out is kept.

    Args:
        epochs: published 50; the checkpoints of the rate keep their share of another number.
        held: how many examples of `dataset` to hold out, by `coreselect.data.subsets.holdout`, and never train on; published
            0.05.
        lr: the first rate; published 0.1.
        rank: as `LowRank` says.
        attack, judged_by: during training, and on the held-out part.
        weights, spec, dataset, …: as `finetuning.finetune` says.
    Raises:
        BudgetError: nothing would be left to train on, or nothing is held out.
        DataError, RequirementError, UnknownNameError: as `finetuning.finetune` says.
    """
    start = perf_counter()
    pool, rest = holdout(dataset, held, seed)
    tuning = begin(weights, spec, classes=classes, examples=len(pool), rank=rank, seed=seed)
    tuning.model.to(device)
    optimizer = tuning.optimizer(lr)
    auto = AutoRate(tuning.model, optimizer, checkpoints(epochs))
    kept = None
    if folder is not None:
        settings = {
            "mode": "autolora", "epochs": epochs, "batch_size": batch_size, "lr": lr, "rank": rank, "seed": seed,
            "held": len(rest), "attack": settings_of(attack), "judged_by": settings_of(judged_by),
            "precision": str(precision), "data": fingerprint(pool), "start": digest_of(tuning.model.state_dict(), 8), **about,
        }  # fmt: skip
        parts = {"model": tuning.model, "balance": tuning.balance, "optimizer": optimizer, "rate": auto}
        kept = Run.open(folder, parts, settings, restore_rng=False)
    rates = [] if kept is None else [float(record["lr"]) for record in kept.records]

    def epoch(e: int, batches: Batches) -> EpochLog:
        rates.append(auto.rate)
        log = train_epoch(
            tuning, batches, optimizer, attack=attack, generator=draws(seed, "autolora", e), augment=augment,
            precision=precision, device=device,
        )  # fmt: skip
        auto.update(judge(tuning, rest, attack=judged_by, seed=seed, device=device))
        return log

    log = each_epoch(
        epoch, pool, "autolora", seed=seed, epochs=epochs, batch_size=batch_size, num_workers=num_workers,
        progress=progress, run=kept, also=lambda: {"lr": rates[-1], "held": auto.values[-1]}, ended=ended,
    )  # fmt: skip
    auto.restore()
    network, new = finish(tuning)
    return AutoTuned(network, new, tuning.transfer, log, perf_counter() - start, tuple(auto.values), tuple(rates))
