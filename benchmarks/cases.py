"""The declared cases: what is run, at which sizes, and what has to hold. Nothing here is computed or timed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from coreselect.attacks import PGD

EPSILON = 8 / 255
GIB_IN_MIB = 1024.0
BATCH = 64  # of forward passes, on both sides: beyond it a processor spends its time mapping pages for activations


@dataclass(frozen=True)
class Threshold:
    """What a measure has to be; a measure that is missing or not a number does not hold."""

    measure: str
    rule: Literal["at most", "at least"]
    bound: float

    def holds(self, value: float | None) -> bool:
        """Say whether a value keeps to the bound."""
        if value is None or math.isnan(value):
            return False
        return value <= self.bound if self.rule == "at most" else value >= self.bound


@dataclass(frozen=True)
class Warm:
    """A short adversarial warm-up: an untrained network says nothing about selection.

    The first `images` of the data, `epochs` passes, attack of `steps` steps, batches of `batch`.
    """

    images: int
    epochs: int
    steps: int = 1
    batch: int = 64
    lr: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class SweepCase:
    """The gradient sweep over a pool against the attack and forward passes that it cannot avoid."""

    kind: ClassVar[str] = "sweep"
    pool: int
    rounds: int
    validation: int = 100
    group_size: int = 64
    batch_size: int = BATCH
    attack: PGD = field(default=PGD(EPSILON, 10 / 255, 1))  # one step: where overhead weighs most
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (
        Threshold("ratio", "at most", 1.15),
        Threshold("largest_difference_of_losses", "at most", 1e-4),  # both sides attacked the same images alike
    )


@dataclass(frozen=True)
class SelectionCase:
    """A whole `select` against the paper's procedure written plainly, and the quality of the two answers."""

    kind: ClassVar[str] = "selection"
    pool: int
    validation: int
    group_size: int
    budget: int
    attack: PGD
    warm: Warm
    thresholds: tuple[Threshold, ...]
    validation_attack: PGD = field(default=PGD(EPSILON, 10 / 765, 3))
    eta: float = 0.01
    batch_size: int = BATCH
    random_sets: int = 20
    half: bool = False  # our attack on the pool is in bfloat16, the plain procedure's is not
    seed: int = 0


@dataclass(frozen=True)
class SearchCase:
    """Greedy search over rows in a memory-mapped file: memory above the rows, and the right picks."""

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
class SamplerCase:
    """A `CoresetSampler` in an epoch that sees the whole pool, against `RandomSampler`, through a `DataLoader`."""

    kind: ClassVar[str] = "sampler"
    items: int
    rounds: int
    batch_size: int = 256
    batches_a_turn: int = 100
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (Threshold("ratio", "at most", 1.01),)


@dataclass(frozen=True)
class AttackCase:
    """Adversarial training with attacks that differentiate inputs only against the loop that differentiates weights too."""

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
        Threshold("difference_of_weights", "at most", 1e-4),  # both sides trained the same network
    )


@dataclass(frozen=True)
class FacilityCase:
    """Facility location, in the form it has by default at that size, against apricot's and submodlib's with a matrix."""

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
    """One `select` of arrays; `oracle`: a plain procedure selects as well."""

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


Case = SweepCase | SelectionCase | SearchCase | SamplerCase | AttackCase | FacilityCase | BaselineCase | StartupCase

QUALITY = Threshold("quality", "at least", 0.99)
# With 64 validation images the random starts of their attack weigh: two draws of them give queries of cosine 0.8. A small
# case can tell that both sides do the same, not that they do it equally well.
ROUGHLY = Threshold("quality", "at least", 0.8)
ONE_STEP, FIVE_STEPS = PGD(EPSILON, 10 / 255, 1), PGD(EPSILON, 2 / 255, 5)
SMALL_ETA = 0.001  # after so short a warm-up groups' rows are long, and steps of 0.01 leave the range where gains mean something
TRUE = Threshold("certificate_off_by", "at most", 1e-6)  # the value that the selection states is that of its picks
AS_GOOD = Threshold("objective_ratio", "at least", 0.995)
SHORT, LONG = Warm(images=2000, epochs=2), Warm(images=5000, epochs=3)

CASES: dict[str, Case] = {
    "sweep-small": SweepCase(pool=512, rounds=3),
    "sweep-full": SweepCase(pool=10_000, rounds=1),
    # 10,000 images, |U| = 500, groups of 64, 1 + 3 attack steps, a tenth: 16 picks, |U| a twentieth of the pool.
    # The small case keeps the number of picks and |U| / N, which decide what is won.
    "selection-small": SelectionCase(
        pool=1280, validation=64, group_size=32, budget=512, attack=ONE_STEP, warm=SHORT, eta=SMALL_ETA,
        thresholds=(Threshold("ratio", "at least", 3.0), ROUGHLY),
    ),
    "selection-full": SelectionCase(
        pool=10_000, validation=500, group_size=64, budget=1000, attack=ONE_STEP, warm=LONG,
        thresholds=(Threshold("ratio", "at least", 3.0), QUALITY),
    ),
    "half-small": SelectionCase(
        pool=1280, validation=64, group_size=32, budget=512, attack=ONE_STEP, warm=SHORT, eta=SMALL_ETA, half=True,
        thresholds=(Threshold("cpu_ratio", "at least", 4.0), ROUGHLY),
    ),
    "half-full": SelectionCase(
        pool=10_000, validation=500, group_size=64, budget=1000, attack=ONE_STEP, warm=LONG, half=True,
        thresholds=(Threshold("cpu_ratio", "at least", 4.0), QUALITY),
    ),
    # Published: N = 49,500, |U| = 500, groups of 512, k = 0.2, 5 + 3 steps: 19 picks, |U| a hundredth of the pool.
    # Scaled down by ten: the same proportions. The small case keeps picks · |U| / N = 0.2.
    "published-small": SelectionCase(
        pool=990, validation=20, group_size=33, budget=330, attack=FIVE_STEPS, warm=SHORT, eta=SMALL_ETA,
        thresholds=(Threshold("ratio", "at least", 1.4), ROUGHLY),
    ),
    "published-full": SelectionCase(
        pool=4950, validation=50, group_size=51, budget=990, attack=FIVE_STEPS, warm=LONG,
        thresholds=(Threshold("ratio", "at least", 1.4), QUALITY),
    ),
    "search-exact-small": SearchCase(rows=100_000, search="exact"),
    "search-faiss-small": SearchCase(rows=100_000, search="faiss"),
    "search-exact-full": SearchCase(rows=1_000_000, search="exact"),
    "search-faiss-full": SearchCase(rows=1_000_000, search="faiss"),
    "sampler-small": SamplerCase(items=100_000, rounds=51, thresholds=()),  # too short to judge one per cent
    "sampler-full": SamplerCase(items=1_000_000, rounds=21),
    "attack-small": AttackCase(batches=3),
    "attack-full": AttackCase(batches=20),
    "facility-small": FacilityCase(pool=1000, budget=100, form="dense", thresholds=(AS_GOOD,)),  # over in an instant
    "facility-full": FacilityCase(
        pool=10_000, budget=1000, form="graph",
        thresholds=(
            Threshold("ratio", "at least", 2.0), Threshold("cpu_ratio", "at least", 2.0), AS_GOOD,
            Threshold("memory_share", "at most", 0.2),
        ),
    ),
    # Seconds that are promised are those of one idle core, which is what processor seconds of one thread are like.
    "graph-small": BaselineCase("graph", 6000, 600, oracle=True, thresholds=(TRUE, Threshold("share", "at least", 0.995))),
    "graph-full": BaselineCase(
        "graph", 50_000, 5000,
        thresholds=(
            Threshold("cpu_seconds.select", "at most", 60.0), Threshold("peak_mib.select", "at most", GIB_IN_MIB / 2), TRUE,
        ),
    ),
    "gradmatch-small": BaselineCase(
        "gradmatch", 1000, 100, oracle=True, thresholds=(TRUE, Threshold("share", "at most", 1 + 1e-4)),  # weights are float32
    ),
    "gradmatch-full": BaselineCase(
        "gradmatch", 5000, 500, width=512, thresholds=(Threshold("cpu_seconds.select", "at most", 2.0), TRUE),
    ),
    "kcenter-small": BaselineCase("kcenter", 5000, 500, oracle=True, thresholds=(TRUE, Threshold("share", "at most", 1 + 1e-9))),
    "kcenter-full": BaselineCase(  # features are 24 MiB: not one more copy of them
        "kcenter", 50_000, 5000, thresholds=(Threshold("peak_mib.select", "at most", 24.0), TRUE),
    ),
    "startup-small": StartupCase(runs=3),
    "startup-full": StartupCase(runs=11),
}  # fmt: skip

SETS: dict[str, tuple[str, ...]] = {
    size: tuple(name for name in CASES if name.endswith(f"-{size}")) for size in ("small", "full")
}
