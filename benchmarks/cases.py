"""The declared cases: what is run, at which sizes, and which thresholds must hold; nothing is computed here."""

from __future__ import annotations

from benchmarks.case_types import (
    EPSILON,
    GIB_IN_MIB,
    AttackCase,
    BaselineCase,
    Case,
    CheckCase,
    FacilityCase,
    FoldingCase,
    LargeCase,
    LoopCase,
    PassesCase,
    RanksCase,
    SamplerCase,
    SearchCase,
    SelectionCase,
    StartupCase,
    StoreCase,
    SweepCase,
    ThreadsCase,
    Threshold,
    TrainingRanksCase,
    ViewsCase,
    WarmUp,
)
from coreselect.attacks import PGD

QUALITY = Threshold("quality", "at least", 0.99)
# With 64 validation images, the random starts of their attack matter: two draws give queries of cosine 0.8. So a small case
# can show that both sides do the same, but not that they do it equally well.
ROUGH_QUALITY = Threshold("quality", "at least", 0.8)
ONE_STEP, FIVE_STEPS = PGD(EPSILON, 10 / 255, 1), PGD(EPSILON, 2 / 255, 5)
SMALL_ETA = 0.001  # after so short a warm-up, rows are long, and with steps of 0.01 first-order gains are wrong
CERTIFIED = Threshold("certificate_off_by", "at most", 1e-6)  # the certificate states the value of the picks
AS_GOOD = Threshold("objective_ratio", "at least", 0.995)
SAME_VALUE = Threshold("value", "at least", 1 - 1e-4)


def tenth_of_imagenet(seconds: float) -> tuple[Threshold, ...]:
    """Bound processor seconds and memory, so that the full size takes an hour of two cores and 8 GiB at most."""
    return (
        Threshold("cpu_seconds.select", "at most", seconds),
        Threshold("peak_mib.select", "at most", 0.8 * GIB_IN_MIB),
    )


IN_AN_HOUR = (Threshold("seconds.select", "at most", 3600.0), Threshold("peak_mib.select", "at most", 8 * GIB_IN_MIB))
AT_ONCE = (
    Threshold("refused", "at least", 1.0),
    Threshold("seconds.select", "at most", 5.0),
    Threshold("peak_mib.select", "at most", 64.0),
)  # fmt: skip
RIGHT = Threshold("right_picks", "at least", 1.0)
AT_BANDWIDTH = Threshold("product_ratio", "at most", 1.25)  # ours ÷ the fastest of torch and numpy; it was 1.9
WITHIN_GIB = Threshold("peak_mib.greedy", "at most", GIB_IN_MIB)
IMAGENET, FIVE_PER_CENT = 1_281_167, 64_058
SHORT, LONG = WarmUp(images=2000, epochs=2), WarmUp(images=5000, epochs=3)

CASES: dict[str, Case] = {
    "sweep-small": SweepCase(pool=512, rounds=3),
    "sweep-full": SweepCase(pool=10_000, rounds=1),
    "folding-small": FoldingCase(pool=256, rounds=2),
    "folding-full": FoldingCase(pool=4096, rounds=1),
    "views-small": ViewsCase(pool=512, rounds=3),
    "views-full": ViewsCase(pool=4096, rounds=3),
    "ranks-small": RanksCase(pool=512, rounds=3),
    "ranks-full": RanksCase(pool=5000, rounds=3),
    "training-ranks-small": TrainingRanksCase(pool=256, rounds=3),
    "training-ranks-full": TrainingRanksCase(pool=2560, rounds=2),
    # 9,920 images, |U| = 496, groups of 64, 1 + 3 attack steps, a tenth: 16 picks, |U| is a twentieth of the pool.
    # The small case has the same number of picks and the same |U| / N, which decide the ratio. Pools and budgets are whole
    # numbers of groups: quality would depend on the few examples to which a last group is cut.
    "selection-small": SelectionCase(
        pool=1280, validation=64, group_size=32, budget=512, attack=ONE_STEP, warm=SHORT, eta=SMALL_ETA,
        thresholds=(Threshold("ratio", "at least", 3.0), ROUGH_QUALITY),
    ),
    "selection-full": SelectionCase(
        pool=9920, validation=496, group_size=64, budget=1024, attack=ONE_STEP, warm=LONG,
        thresholds=(Threshold("ratio", "at least", 3.0), QUALITY),
    ),
    "half-small": SelectionCase(
        pool=1280, validation=64, group_size=32, budget=512, attack=ONE_STEP, warm=SHORT, eta=SMALL_ETA, half=True,
        thresholds=(Threshold("cpu_ratio", "at least", 4.0), ROUGH_QUALITY),
    ),
    "half-full": SelectionCase(
        pool=9920, validation=496, group_size=64, budget=1024, attack=ONE_STEP, warm=LONG, half=True,
        thresholds=(Threshold("cpu_ratio", "at least", 4.0), QUALITY),
    ),
    # Published: N = 49,500, |U| = 500, groups of 512, k = 0.2, 5 + 3 steps: 19 picks, |U| is a hundredth of the pool.
    # The full case is ten times smaller, with the same proportions. The small case has the same picks · |U| / N = 0.2.
    "published-small": SelectionCase(
        pool=990, validation=20, group_size=33, budget=330, attack=FIVE_STEPS, warm=SHORT, eta=SMALL_ETA,
        thresholds=(Threshold("ratio", "at least", 1.4), ROUGH_QUALITY),
    ),
    "published-full": SelectionCase(
        pool=4947, validation=50, group_size=51, budget=969, attack=FIVE_STEPS, warm=LONG,
        thresholds=(Threshold("ratio", "at least", 1.4), QUALITY),
    ),
    # The published size, for a GPU: on two cores each takes hours.
    "sweep-published": SweepCase(pool=49_500, rounds=1, validation=500, batch_size=256, half=True, num_workers=8),
    "sweep-10-published": SweepCase(
        pool=49_500, rounds=1, validation=500, batch_size=256, attack=PGD(EPSILON, 2 / 255, 10), half=True, num_workers=8,
    ),
    "selection-published": SelectionCase(
        pool=49_152, validation=500, group_size=512, budget=9728, attack=FIVE_STEPS, warm=LONG, batch_size=256, num_workers=8,
        thresholds=(Threshold("ratio", "at least", 1.4), QUALITY),
    ),
    "attack-published": AttackCase(batches=50, batch_size=128, attack=PGD(EPSILON, 2 / 255, 10)),
    "views-published": ViewsCase(pool=49_500, rounds=1),
    "search-exact-small": SearchCase(rows=100_000, search="exact"),
    "search-faiss-small": SearchCase(rows=100_000, search="faiss"),
    "search-exact-full": SearchCase(rows=1_000_000, search="exact"),
    "search-faiss-full": SearchCase(rows=1_000_000, search="faiss"),
    # The query is half as long at the end (way 0.5), or a tenth of that way (a step of 0.001 instead of 0.01), or it vanishes.
    "passes-small": PassesCase(
        rows=100_000, picks=5000, way=0.5, thresholds=(Threshold("ratio", "at most", 0.2), RIGHT, WITHIN_GIB, AT_BANDWIDTH),
    ),
    "passes-faiss-small": PassesCase(
        rows=100_000, picks=5000, way=0.5, search="faiss", thresholds=(Threshold("ratio", "at most", 0.2), RIGHT, WITHIN_GIB),
    ),
    "passes-vanishing-small": PassesCase(  # a pass at every pick: what trying to save them costs
        rows=100_000, picks=200, way=20.0, plain_picks=200, thresholds=(Threshold("ratio", "at most", 1.25), RIGHT, WITHIN_GIB),
    ),
    "passes-full": PassesCase(
        rows=IMAGENET, picks=FIVE_PER_CENT, way=0.05, eta=0.001,
        thresholds=(
            Threshold("seconds.greedy", "at most", 600.0), Threshold("ratio", "at most", 0.05), RIGHT, WITHIN_GIB, AT_BANDWIDTH,
        ),
    ),
    "passes-far-full": PassesCase(
        rows=IMAGENET, picks=FIVE_PER_CENT, way=0.5,
        thresholds=(Threshold("seconds.greedy", "at most", 3600.0), Threshold("ratio", "at most", 0.1), RIGHT, WITHIN_GIB),
    ),
    "passes-candidates-full": PassesCase(
        rows=IMAGENET, picks=FIVE_PER_CENT, way=0.5, search="candidates=4096x64",
        thresholds=(Threshold("seconds.greedy", "at most", 600.0), RIGHT, WITHIN_GIB),
    ),
    "sampler-small": SamplerCase(items=100_000, rounds=51, thresholds=()),  # too short to measure one per cent
    "sampler-full": SamplerCase(items=1_000_000, rounds=21),
    "attack-small": AttackCase(batches=3),
    "attack-full": AttackCase(batches=20),
    "facility-small": FacilityCase(pool=1000, budget=100, form="dense", thresholds=(AS_GOOD,)),  # takes too little time for a ratio
    "facility-full": FacilityCase(
        pool=10_000, budget=1000, form="graph",
        thresholds=(
            Threshold("ratio", "at least", 2.0), Threshold("cpu_ratio", "at least", 2.0), AS_GOOD,
            Threshold("memory_share", "at most", 0.2),
        ),
    ),
    # The promised seconds are those of one idle core; processor seconds of one thread are close to them.
    "graph-small": BaselineCase("graph", 6000, 600, oracle=True, thresholds=(CERTIFIED, Threshold("share", "at least", 0.995))),
    "graph-full": BaselineCase(
        "graph", 50_000, 5000,
        thresholds=(
            Threshold("cpu_seconds.select", "at most", 60.0), Threshold("peak_mib.select", "at most", GIB_IN_MIB / 2), CERTIFIED,
        ),
    ),
    "gradmatch-small": BaselineCase(
        "gradmatch", 1000, 100, oracle=True, thresholds=(CERTIFIED, Threshold("share", "at most", 1 + 1e-4)),  # weights are float32
    ),
    "gradmatch-full": BaselineCase(
        "gradmatch", 5000, 500, width=512, thresholds=(Threshold("cpu_seconds.select", "at most", 2.0), CERTIFIED),
    ),
    "kcenter-small": BaselineCase(
        "kcenter", 5000, 500, oracle=True, thresholds=(CERTIFIED, Threshold("share", "at most", 1 + 1e-9)),
    ),
    "kcenter-full": BaselineCase(  # features are 24 MiB, so there is not even one copy of them
        "kcenter", 50_000, 5000, thresholds=(Threshold("peak_mib.select", "at most", 24.0), CERTIFIED),
    ),
    # what a method may cost beside fifteen lines of torch, in processor seconds of one thread; `value` is ours ÷ theirs
    "loop-graph_cut-small": LoopCase("graph_cut", 10_000, 500, thresholds=(Threshold("ratio", "at most", 1.1), SAME_VALUE)),
    "loop-k_center-small": LoopCase(
        "k_center", 50_000, 500, width=64, thresholds=(Threshold("ratio", "at most", 1.1), SAME_VALUE)
    ),
    "loop-herding-small": LoopCase("herding", 20_000, 500, thresholds=(Threshold("ratio", "at most", 1.1), SAME_VALUE)),
    "loop-craig-small": LoopCase("craig", 5000, 500, thresholds=(Threshold("ratio", "at most", 1.2), SAME_VALUE)),
    "loop-facility-small": LoopCase("facility", 5000, 500, thresholds=(Threshold("ratio", "at most", 1.0), SAME_VALUE)),
    "loop-semdedup-small": LoopCase(  # k-means draws differ, so the picks differ
        "semdedup", 20_000, 5000, thresholds=(Threshold("ratio", "at most", 1.2), Threshold("value", "at least", 0.5))
    ),
    "loop-nearest-small": LoopCase("nearest", 10_000, 64, thresholds=(Threshold("ratio", "at most", 1.25), SAME_VALUE)),
    "loop-k_center-full": LoopCase(
        "k_center", 50_000, 5000, width=64, thresholds=(Threshold("ratio", "at most", 1.1), SAME_VALUE)
    ),
    "large-k_center-small": LargeCase("k_center", 12_800, 640, thresholds=(Threshold("peak_mib.select", "at most", 82.0),)),
    # a tenth of ImageNet and of a budget of 5 %: time grows with N·k, so an hour at full size is 36 s of two cores here
    "large-k_center-full": LargeCase("k_center", 128_116, 6405, thresholds=tenth_of_imagenet(72)),
    "large-graph_cut-full": LargeCase("graph_cut", 128_116, 6405, thresholds=tenth_of_imagenet(72)),
    "large-semdedup-full": LargeCase("semdedup", 128_116, 6405, thresholds=tenth_of_imagenet(155)),  # time grows like N^(5/3)
    # ImageNet itself, 5 % of 1,281,167 x 512: within an hour of two cores and 8 GiB, or refused at once
    "large-k_center-imagenet": LargeCase("k_center", IMAGENET, FIVE_PER_CENT, thresholds=IN_AN_HOUR),
    "large-graph_cut-imagenet": LargeCase("graph_cut", IMAGENET, FIVE_PER_CENT, thresholds=IN_AN_HOUR),
    "large-semdedup-imagenet": LargeCase("semdedup", IMAGENET, FIVE_PER_CENT, thresholds=IN_AN_HOUR),
    **{
        f"large-{name}-imagenet": LargeCase(name, IMAGENET, FIVE_PER_CENT, thresholds=AT_ONCE, refused=True)
        for name in ("facility_location", "herding", "log_det", "zcore")
    },
    "startup-small": StartupCase(runs=3),
    "startup-full": StartupCase(runs=11),
    "threads-small": ThreadsCase(pool=10_000, budget=500),
    "threads-full": ThreadsCase(pool=50_000, budget=2500),
    "checks-small": CheckCase(  # so few images leave the fixed costs a larger share
        pool=512, validation=64, budget=128, thresholds=(Threshold("share", "at most", 0.05),)
    ),
    "store-small": StoreCase(pool=640),
    "store-full": StoreCase(pool=10_000),
    "store-features-small": StoreCase(pool=640, sweep="features"),
    "store-features-full": StoreCase(pool=10_000, sweep="features"),
    "checks-full": CheckCase(pool=10_000, validation=100, budget=1000),
}  # fmt: skip

SETS: dict[str, tuple[str, ...]] = {
    size: tuple(name for name in CASES if name.endswith(f"-{size}"))
    for size in ("small", "full", "published", "imagenet")
}
