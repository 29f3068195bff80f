"""Kinds of benchmark cases about methods over arrays: searches, submodular functions, geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from benchmarks.threshold import Threshold

GIB_IN_MIB = 1024.0


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
class LoopCase:
    """One `select` on arrays, compared with a plain torch loop (or FAISS) of the same method in the same process."""

    kind: ClassVar[str] = "loop"
    method: Literal["graph_cut", "k_center", "herding", "craig", "facility", "semdedup", "nearest"]
    pool: int
    budget: int
    thresholds: tuple[Threshold, ...]
    width: int = 128
    clusters: int = 100
    rounds: int = 5
    seed: int = 0


@dataclass(frozen=True)
class ThreadsCase:
    """Selections by all cores compared with the same by one thread, in processes of their own."""

    kind: ClassVar[str] = "threads"
    pool: int
    budget: int
    width: int = 128
    clusters: int = 50
    rounds: int = 3
    seed: int = 0
    thresholds: tuple[Threshold, ...] = (Threshold("ratio", "at most", 1.25), Threshold("same", "at least", 1.0))


@dataclass(frozen=True)
class LargeCase:
    """One `select` on memory-mapped float16 or float32 features of ImageNet's width: seconds and memory.

    `refused` says that the method must refuse, in one sentence and before any work.
    """

    kind: ClassVar[str] = "large"
    selector: str
    pool: int
    budget: int
    thresholds: tuple[Threshold, ...]
    dtype: Literal["float16", "float32"] = "float32"
    width: int = 512
    clusters: int = 1000
    seed: int = 0
    refused: bool = False


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
