"""What the records of cells can carry: mean, spread, and differences to the reference line, paired by seed.

    d_s = a_s(method) − a_s(rs2),   t = mean(d) / (sd(d) / √n),   p from Student's t with n − 1 degrees of freedom

Source: Student, "The probable error of a mean", Biometrika 1908, by scipy; paired, because all methods of a seed begin at
one warm model and share its draws.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REFERENCE = "rs2"
FULL, WARM = "full", "warm"

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean with its standard deviation over n values, 0 for a single one."""

    mean: float
    deviation: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarise at least one value."""
        kept = list(values)
        return cls(statistics.fmean(kept), statistics.stdev(kept) if len(kept) > 1 else 0.0, len(kept))

    def words(self, digits: int = 1, sign: str = "") -> str:
        """Write it: `48.1 ± 0.6`, or the mean alone where there is one value."""
        mean = f"{self.mean:{sign}.{digits}f}"
        return mean if self.n < 2 else f"{mean} ± {self.deviation:.{digits}f}"


@dataclass(frozen=True, slots=True)
class Paired:
    """Differences to the reference, paired by seed; `p` is two-sided, None where fewer than two seeds say nothing."""

    difference: Spread
    p: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One method at one fraction and one way of being equal, over its finished seeds; accuracies and shares in [0, 1].

    `speedup` is the full run's seconds over this one's, selection included; None without a full run. `selection` is mean
    seconds by part.
    """

    method: str
    fraction: float | None
    equal: str
    judged: str
    seeds: int
    failed: int
    standard: Spread
    robust: Spread
    against: Paired | None
    train_seconds: Spread
    select_seconds: Spread
    speedup: Spread | None
    rd: Spread | None
    seen: Spread
    classes: Spread | None
    epochs: Spread
    selection: Mapping[str, float]


def paired(ours: Mapping[int, float], reference: Mapping[int, float]) -> Paired | None:
    """Compare values by seed; None where no seed has both."""
    differences = [ours[s] - reference[s] for s in sorted(ours.keys() & reference.keys())]
    if not differences:
        return None
    spread = Spread.of(differences)
    if spread.n < 2:
        return Paired(spread, None)
    if spread.deviation == 0:  # t is infinite, or nothing over nothing
        return Paired(spread, 1.0 if spread.mean == 0 else 0.0)
    from scipy.stats import t as student  # slow to import

    t = spread.mean / (spread.deviation / math.sqrt(spread.n))
    return Paired(spread, float(2 * student.sf(abs(t), spread.n - 1)))


def lines(records: Sequence[Record]) -> list[Line]:
    """Summarise records by (equal, fraction, what is judged, method), in the order in which they first appear."""
    keys = dict.fromkeys((r["equal"], r["fraction"], j, r["method"]) for r in records for j in r["accuracy"])
    ordered = sorted(keys, key=lambda k: (k[0], k[1] or 1.0))
    return [_line(records, *key) for key in ordered]


def _line(records: Sequence[Record], equal: str, fraction: float | None, judged: str, method: str) -> Line:
    """Summarise the seeds of one key, at least one of which has finished."""

    def seeds_of(name: str, fraction: float | None, equal: str) -> dict[int, Record]:
        own = [r for r in records if (r["method"], r["fraction"], r["equal"]) == (name, fraction, equal)]
        return {r["seed"]: r for r in own if r["error"] is None and judged in r["accuracy"]}

    done, whole = seeds_of(method, fraction, equal), seeds_of(FULL, None, "epochs")
    mine = (method, fraction, equal)
    failed = {r["seed"] for r in records if (r["method"], r["fraction"], r["equal"]) == mine and r["error"] is not None}

    def over(value: Callable[[Record], float | None]) -> Spread | None:
        known = [v for v in map(value, done.values()) if v is not None]
        return Spread.of(known) if known else None

    def sure(value: Callable[[Record], float]) -> Spread:
        return Spread.of(map(value, done.values()))

    def robust(r: Record) -> float:
        return r["accuracy"][judged]["robust"]

    def speedup(r: Record) -> float | None:
        return seconds(whole[r["seed"]]) / seconds(r) if r["seed"] in whole and method != WARM else None

    against = None
    if method not in (REFERENCE, FULL, WARM):
        rivals = seeds_of(REFERENCE, fraction, equal)
        against = paired({s: robust(r) for s, r in done.items()}, {s: robust(r) for s, r in rivals.items()})
    return Line(
        method=method, fraction=fraction, equal=equal, judged=judged, seeds=len(done), failed=len(failed),
        standard=sure(lambda r: r["accuracy"][judged]["standard"]), robust=sure(robust), against=against,
        train_seconds=sure(lambda r: r["train_seconds"]), select_seconds=sure(lambda r: r["select_seconds"]),
        speedup=over(speedup), rd=over(lambda r: r["rd"]), seen=sure(lambda r: r["seen"]),
        classes=over(lambda r: r["classes"]), epochs=sure(lambda r: r["epochs"]), selection=_parts(list(done.values())),
    )  # fmt: skip


def seconds(record: Record) -> float:
    """Wall-clock time of a cell: training and selecting, the warm-up that all share included."""
    return record["train_seconds"] + record["select_seconds"]


def _parts(records: Sequence[Record]) -> dict[str, float]:
    """Mean seconds of selecting by part; a part that a record lacks took none."""
    names = dict.fromkeys(part for r in records for part in r["selection"])
    return {part: statistics.fmean(r["selection"].get(part, 0.0) for r in records) for part in names}
