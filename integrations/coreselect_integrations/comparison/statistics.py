"""Statistics over the records of cells: mean, standard deviation, and paired differences to the reference method.

    d_s = a_s(method) − a_s(rs2),   t = mean(d) / (sd(d) / √n),   p from Student's t with n − 1 degrees of freedom

Source: Student, "The probable error of a mean", Biometrika 1908, by scipy. Differences are paired
by seed, because all methods of a seed start from the same warm model and share its draws. Seeds on which settings were chosen
are exploratory: where they are named, p belongs to the other seeds alone. p is also corrected for the number of comparisons,
over all lines of a comparison (`significance.holm`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from coreselect_integrations.comparison.significance import holm, smallest_difference

REFERENCE = "rs2"
FULL, WARM = "full", "warm"
ROUNDING = 1e-12  # of a difference of two accuracies
MEASURES = ("margin", "autoattack", "corruptions")  # accuracies that a study may measure too

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MeanStd:
    """A mean and the standard deviation over n values; the deviation of a single value is 0."""

    mean: float
    deviation: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> MeanStd:
        """Summarise one or more values."""
        kept = list(values)
        return cls(statistics.fmean(kept), statistics.stdev(kept) if len(kept) > 1 else 0.0, len(kept))

    def text(self, digits: int = 1, sign: str = "") -> str:
        """Write `48.1 ± 0.6`, or only the mean of a single value."""
        mean = f"{self.mean:{sign}.{digits}f}"
        return mean if self.n < 2 else f"{mean} ± {self.deviation:.{digits}f}"


@dataclass(frozen=True, slots=True)
class Paired:
    """Differences to the reference, paired by seed.

    `p` is two-sided, and None for fewer than two seeds or for equal differences. `corrected` is p by Holm over all lines of the
    comparison; None before that, or without p.
    """

    difference: MeanStd
    p: float | None
    corrected: float | None = None

    @property
    def visible(self) -> float | None:
        """The smallest true difference that so many seeds find with power 0.8 at p < 0.05; None for fewer than two seeds, or equal
        differences."""
        spread = self.difference
        return None if spread.n < 2 or spread.deviation <= ROUNDING else smallest_difference(spread.deviation, spread.n)


@dataclass(frozen=True, slots=True)
class Line:
    """The summary of one method, fraction, kind of equality and evaluation over the finished seeds.

    Accuracies and shares are in [0, 1]. `against` is the comparison with the reference over all seeds, and `confirmed` that
    over the seeds on which no setting was chosen; None where no such choice is named, or no other seed has finished.
    `exploratory`: settings were chosen on some seeds, and the line has no others. `speedup` is the mean time of the full run
    divided by the mean time of this one, including selection; None without a full run. `selection` is the mean seconds of
    selection by part. `margin`, `autoattack` and `corruptions` are accuracies that a study may measure too, or None.
    """

    method: str
    fraction: float | None
    equal: str
    evaluation: str
    seeds: int
    failed: int
    standard: MeanStd
    robust: MeanStd
    against: Paired | None
    train_seconds: MeanStd
    select_seconds: MeanStd
    speedup: float | None
    rd: MeanStd | None
    seen: MeanStd
    classes: MeanStd | None
    epochs: MeanStd
    selection: Mapping[str, float]
    margin: MeanStd | None = None
    autoattack: MeanStd | None = None
    corruptions: MeanStd | None = None
    confirmed: Paired | None = None
    exploratory: bool = False

    @property
    def tested(self) -> Paired | None:
        """The differences that p belongs to: of fresh seeds where settings were chosen on some, else of all."""
        return self.confirmed if self.confirmed is not None or self.exploratory else self.against


def paired(ours: Mapping[int, float], reference: Mapping[int, float]) -> Paired | None:
    """Compare values by seed; None if no seed has both values.

    Where all differences are one number other than 0, t is infinite and its p of 0 would say more than a few seeds can know:
    accuracies on few images are often equal. There is no p then.
    """
    differences = [ours[s] - reference[s] for s in sorted(ours.keys() & reference.keys())]
    if not differences:
        return None
    spread = MeanStd.of(differences)
    if spread.n < 2:
        return Paired(spread, None)
    if spread.deviation <= ROUNDING:
        return Paired(spread, 1.0 if abs(spread.mean) <= ROUNDING else None)
    from scipy.stats import t as student  # slow to import

    t = spread.mean / (spread.deviation / math.sqrt(spread.n))
    return Paired(spread, float(2 * student.sf(abs(t), spread.n - 1)))


def lines(records: Sequence[Record], chosen_on: Collection[int] = ()) -> list[Line]:
    """Summarise records by (equal, fraction, evaluation, method), in the order in which they first appear.

    Args:
        records: of `compare`.
        chosen_on: the seeds on which methods or settings were chosen; p then belongs to the others.
    """
    keys = dict.fromkeys((r["equal"], r["fraction"], j, r["method"]) for r in records for j in r["accuracy"])
    ordered = sorted(keys, key=lambda k: (k[0], k[1] or 1.0))
    found = [_line(records, chosen_on, *key) for key in ordered]
    at = [i for i, line in enumerate(found) if line.tested is not None and line.tested.p is not None]
    corrected = holm([found[i].tested.p for i in at])  # type: ignore[union-attr,misc]  # those with p
    for i, p in zip(at, corrected, strict=True):
        name = "against" if found[i].confirmed is None else "confirmed"
        found[i] = replace(found[i], **{name: replace(getattr(found[i], name), corrected=p)})
    return found


def _line(
    records: Sequence[Record], chosen_on: Collection[int], equal: str, fraction: float | None, evaluation: str, method: str
) -> Line:  # fmt: skip
    """Summarise the seeds of one key; at least one of them has finished."""

    def seeds_of(name: str, fraction: float | None, equal: str) -> dict[int, Record]:
        own = [r for r in records if (r["method"], r["fraction"], r["equal"]) == (name, fraction, equal)]
        return {r["seed"]: r for r in own if r["error"] is None and evaluation in r["accuracy"]}

    done, whole = seeds_of(method, fraction, equal), seeds_of(FULL, None, "epochs")
    mine = (method, fraction, equal)
    failed = {r["seed"] for r in records if (r["method"], r["fraction"], r["equal"]) == mine and r["error"] is not None}

    def known(value: Callable[[Record], float | None]) -> MeanStd | None:
        values = [v for v in map(value, done.values()) if v is not None]
        return MeanStd.of(values) if values else None

    def mean(value: Callable[[Record], float]) -> MeanStd:
        return MeanStd.of(map(value, done.values()))

    def robust(r: Record) -> float:
        return r["accuracy"][evaluation]["robust"]

    speedup = None
    if whole and method != WARM:
        speedup = statistics.fmean(map(seconds, whole.values())) / statistics.fmean(map(seconds, done.values()))
    against, confirmed, base = None, None, reference_of(records)
    if method not in (base, FULL, WARM):
        ours = {s: robust(r) for s, r in done.items()}
        theirs = {s: robust(r) for s, r in seeds_of(base, fraction, equal).items()}
        against = paired(ours, theirs)
        if chosen_on:
            confirmed = paired({s: value for s, value in ours.items() if s not in chosen_on}, theirs)
    return Line(
        method=method, fraction=fraction, equal=equal, evaluation=evaluation, seeds=len(done), failed=len(failed),
        standard=mean(lambda r: r["accuracy"][evaluation]["standard"]), robust=mean(robust), against=against,
        train_seconds=mean(lambda r: r["train_seconds"]), select_seconds=mean(lambda r: r["select_seconds"]),
        speedup=speedup, rd=known(lambda r: r["rd"]), seen=mean(lambda r: r["seen"]),
        classes=known(lambda r: r["classes"]), epochs=mean(lambda r: r["epochs"]), selection=_mean_parts(list(done.values())),
        confirmed=confirmed, exploratory=bool(chosen_on) and confirmed is None and against is not None,
        **{name: known(lambda r, name=name: r["accuracy"][evaluation].get(name)) for name in MEASURES},
    )  # fmt: skip


def reference_of(records: Iterable[Record]) -> str:
    """Return the method that all are compared with: the first line of `REFERENCE`, which may state an effort, `rs2@1x1.5`."""
    lines = dict.fromkeys(r["method"] for r in records)
    return next((name for name in lines if is_reference(name)), REFERENCE)


def is_reference(method: str) -> bool:
    """Return whether a method is `REFERENCE`, with an effort or without."""
    return method.partition("@")[0].strip() == REFERENCE


def seconds(record: Record) -> float:
    """Seconds of a cell: training and selection, including the shared warm-up."""
    return record["train_seconds"] + record["select_seconds"]


def _mean_parts(records: Sequence[Record]) -> dict[str, float]:
    """Mean seconds of selection by part; a part that a record lacks counts as 0."""
    names = dict.fromkeys(part for r in records for part in r["selection"])
    return {part: statistics.fmean(r["selection"].get(part, 0.0) for r in records) for part in names}
