"""The kinds of benchmark cases: the settings of each kind, and thresholds for its measures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from benchmarks.array_case_types import (
    BaselineCase,
    FacilityCase,
    LargeCase,
    LoopCase,
    PassesCase,
    SearchCase,
    ThreadsCase,
)
from benchmarks.threshold import Threshold
from coreselect.attacks import PGD

EPSILON = 8 / 255
GIB_IN_MIB = 1024.0
BATCH = (
    64  # of forward passes, on both sides; larger batches spend processor time on mapping memory pages for activations
)


@dataclass(frozen=True)
class WarmUp:
    """A short adversarial warm-up, because an untrained network says nothing about selection.

    It trains on the first `images` of the data for `epochs` epochs, with an attack of `steps` steps and batches of `batch`.
    """

    images: int
    epochs: int
    steps: int = 1
    batch: int = 64
    lr: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class SweepCase:
    """The gradient sweep over a pool, compared with the attack and the forward passes that it needs in any case."""

    kind: ClassVar[str] = "sweep"
    pool: int
    rounds: int
    validation: int = 100
    group_size: int = 64
    batch_size: int = BATCH
    attack: PGD = field(default=PGD(EPSILON, 10 / 255, 1))  # with one step, the share of overhead is largest
    half: bool = False  # both sides run the attack's passes in bfloat16
    num_workers: int = 0
    arch: str = "resnet18"
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (
        Threshold("ratio", "at most", 1.15),
        Threshold(
            "largest_difference_of_losses", "at most", 1e-4
        ),  # both sides make the same attacks on the same images
    )


@dataclass(frozen=True)
class FoldingCase:
    """The gradient sweep with normalisations folded and kernels in channels_last, compared with the layers as they are."""

    kind: ClassVar[str] = "folding"
    pool: int
    rounds: int
    validation: int = 100
    group_size: int = 64
    batch_size: int = BATCH
    attack: PGD = field(default=PGD(EPSILON, 10 / 255, 1))
    arch: str = "resnet18"
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (
        Threshold("cpu_ratio", "at most", 0.95),
        Threshold("least_cosine", "at least", 0.999),
        Threshold("folded", "at least", 1),
    )


@dataclass(frozen=True)
class RanksCase:
    """The gradient sweep over a pool by several ranks with one thread each, compared with the same sweep by one of them."""

    kind: ClassVar[str] = "ranks"
    pool: int
    rounds: int
    ranks: int = 2
    validation: int = 100
    group_size: int = 64
    batch_size: int = BATCH
    attack: PGD = field(default=PGD(EPSILON, 10 / 255, 1))  # with one step, the share of what is sent is largest
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (Threshold("ratio", "at least", 1.7), Threshold("same", "at least", 1.0))


@dataclass(frozen=True)
class TrainingRanksCase:
    """An epoch of SAT by several ranks with one thread each, compared with the same epoch by one of them."""

    kind: ClassVar[str] = "training ranks"
    pool: int
    rounds: int
    ranks: int = 2
    batch_size: int = 128
    attack: PGD = field(default=PGD(EPSILON, 10 / 255, 1))  # with one step, the share of what is sent is largest
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (Threshold("ratio", "at least", 1.5), Threshold("same", "at least", 1.0))


@dataclass(frozen=True)
class SelectionCase:
    """A whole `select` compared with a plain program of the paper's procedure, in time and in quality of the selection."""

    kind: ClassVar[str] = "selection"
    pool: int
    validation: int
    group_size: int
    budget: int
    attack: PGD
    warm: WarmUp
    thresholds: tuple[Threshold, ...]
    validation_attack: PGD = field(default=PGD(EPSILON, 10 / 765, 3))
    eta: float = 0.01
    batch_size: int = BATCH
    random_sets: int = 20
    half: bool = False  # our attack on the pool uses bfloat16, that of the plain procedure does not
    num_workers: int = 0  # of our side; the plain procedure reads items when it needs them
    arch: str = "resnet18"
    seed: int = 0


@dataclass(frozen=True)
class SamplerCase:
    """A `CoresetSampler` in epochs on the whole pool, compared with `RandomSampler`, in a `DataLoader`."""

    kind: ClassVar[str] = "sampler"
    items: int
    rounds: int
    batch_size: int = 256
    batches_a_turn: int = 100
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (Threshold("ratio", "at most", 1.01),)


@dataclass(frozen=True)
class AttackCase:
    """Adversarial training with attacks that differentiate inputs only, compared with a loop that also differentiates weights."""

    kind: ClassVar[str] = "attack"
    batches: int
    batch_size: int = BATCH
    attack: PGD = field(default=PGD(EPSILON, 2 / 255, 5))
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    arch: str = "resnet18"
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (
        Threshold("ratio", "at least", 1.25),
        Threshold("difference_of_weights", "at most", 1e-4),  # both sides train the same network
    )


@dataclass(frozen=True)
class StartupCase:
    """Processor seconds until the command line answers, in a process of its own each time."""

    kind: ClassVar[str] = "startup"
    runs: int
    thresholds: tuple[Threshold, ...] = tuple(
        Threshold(f"cpu_seconds.{command}", "at most", bound)
        for command, bound in {"import": 0.4, "version": 0.4, "help": 0.4, "methods": 0.4, "select_help": 0.6}.items()
    )


@dataclass(frozen=True)
class CheckCase:
    """The share of a selection's processor time that checks of the input take."""

    kind: ClassVar[str] = "checks"
    pool: int
    validation: int
    budget: int
    group_size: int = 64
    batch_size: int = BATCH
    attack: PGD = field(default=PGD(EPSILON, 10 / 255, 1))  # with one step, the share of checks is largest
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (Threshold("share", "at most", 0.01),)


@dataclass(frozen=True)
class ViewsCase:
    """The contrastive sweep of a small network with views of a batch at once, compared with one image at a time."""

    kind: ClassVar[str] = "views"
    pool: int
    rounds: int
    group_size: int = 64
    batch_size: int = 256
    attack: PGD = field(default=PGD(EPSILON, 10 / 255, 1))  # with one step, the share of the views is largest
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (
        Threshold("views_ratio", "at least", 5.0),
        Threshold("ratio", "at least", 1.5),
        Threshold("largest_difference_of_losses", "at most", 0.0),
    )


@dataclass(frozen=True)
class StoreCase:
    """A sweep whose records are kept in a folder, compared with the same sweep without; and one that goes on after 90 %."""

    kind: ClassVar[str] = "store"
    pool: int
    sweep: Literal["attacked", "features"] = "attacked"
    validation: int = 100
    batch_size: int = BATCH
    attack: PGD = field(default=PGD(EPSILON, 10 / 255, 1))  # with one step, the share of a store is largest
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (
        Threshold("overhead", "at most", 0.03),
        Threshold("resumed", "at most", 0.12),
        Threshold("same_bits", "at least", 1.0),
    )


Case = (
    SweepCase
    | FoldingCase
    | ViewsCase
    | RanksCase
    | TrainingRanksCase
    | SelectionCase
    | SearchCase
    | PassesCase
    | SamplerCase
    | AttackCase
    | FacilityCase
    | BaselineCase
    | LoopCase
    | LargeCase
    | ThreadsCase
    | StartupCase
    | CheckCase
    | StoreCase
)
