"""The kinds of benchmark cases: the settings of each kind, and thresholds for its measures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from coreselect.attacks import PGD

EPSILON = 8 / 255
GIB_IN_MIB = 1024.0
BATCH = (
    64  # of forward passes, on both sides; larger batches spend processor time on mapping memory pages for activations
)


@dataclass(frozen=True)
class Threshold:
    """A bound for a measure; it does not hold if the measure is missing or not a number."""

    measure: str
    rule: Literal["at most", "at least"]
    bound: float

    def holds(self, value: float | None) -> bool:
        """Say whether a value is within the bound."""
        if value is None or math.isnan(value):
            return False
        return value <= self.bound if self.rule == "at most" else value >= self.bound


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
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (
        Threshold("ratio", "at most", 1.15),
        Threshold(
            "largest_difference_of_losses", "at most", 1e-4
        ),  # both sides make the same attacks on the same images
    )


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
    seed: int = 0


@dataclass(frozen=True)
class SearchCase:
    """Greedy search over rows in a memory-mapped file: memory besides the rows, and correct picks."""

    kind: ClassVar[str] = "search"
    rows: int
    search: str
    width: int = 512
    picks: int = 16
    eta: float = 0.01
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (
        Threshold("peak_mib.greedy", "at most", GIB_IN_MIB),
        Threshold("peak_mib.select", "at most", GIB_IN_MIB),
        Threshold("right_picks", "at least", 1.0),
    )


@dataclass(frozen=True)
class PassesCase:
    """Greedy search with few passes over memory-mapped rows, compared with a plain loop of one pass a pick.

    `way` is the share of the way to the minimum that all steps together go. `plain_picks` are run by the plain loop, and
    `checked` picks are compared with a float64 product of all rows.
    """

    kind: ClassVar[str] = "passes"
    rows: int
    picks: int
    way: float
    thresholds: tuple[Threshold, ...]
    eta: float = 0.01
    search: str = "exact"
    width: int = 512
    plain_picks: int = 100
    checked: int = 20
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
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (
        Threshold("ratio", "at least", 1.25),
        Threshold("difference_of_weights", "at most", 1e-4),  # both sides train the same network
    )


@dataclass(frozen=True)
class FacilityCase:
    """Facility location, in its default form at that size, compared with apricot and submodlib with a matrix."""

    kind: ClassVar[str] = "facility"
    pool: int
    budget: int
    form: Literal["graph", "dense"]
    thresholds: tuple[Threshold, ...]
    width: int = 128
    clusters: int = 100
    rounds: int = 3
    seed: int = 0


@dataclass(frozen=True)
class BaselineCase:
    """One `select` on arrays; with `oracle`, a plain procedure selects too."""

    kind: Literal["graph", "gradmatch", "kcenter"]
    pool: int
    budget: int
    thresholds: tuple[Threshold, ...]
    oracle: bool = False
    width: int = 128
    clusters: int = 100
    seed: int = 0


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


Case = (
    SweepCase
    | SelectionCase
    | SearchCase
    | PassesCase
    | SamplerCase
    | AttackCase
    | FacilityCase
    | BaselineCase
    | StartupCase
    | CheckCase
)
