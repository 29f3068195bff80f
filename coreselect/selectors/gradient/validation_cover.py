"""CRAIG towards validation: the cover of Mirzasoleiman, Bilmes, Leskovec (ICML 2020), of the gradients of a labelled set U.

    S* = argmax_{|S| = k} F(S),   F(S) = Σ_{u ∈ U} max_{j ∈ S} (c − d_uj),   d_uj = ‖g_u − g_j‖,   c = max d,   S in the pool
    γ_j = |{u : j is u's nearest in S}|,   Σ γ_j = |U|
    ‖Σ_{u ∈ U} g_u − Σ_{j ∈ S} γ_j g_j‖ ≤ Σ_{u ∈ U} min_{j ∈ S} d_uj

greedily with lazy gains, inside each class of U. F cannot rise further once every u has its nearest pool example: the picks that
are left follow by their distance to U.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from coreselect.budget import fill
from coreselect.gradients.rows import Rows
from coreselect.solvers.coverage import CoverResult, maximise
from coreselect.solvers.distance_cover import ClassDistances, DistanceCover, nearest
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64

Parts = list[tuple[Int64, Int64]]  # of each class: positions in the pool, and in U


@dataclass(frozen=True, eq=False)
class ValidationCover:
    """What was picked for U.

    Attributes:
        picks: int64 [k], class by class, positions in the pool.
        gains: float64 [k], F's increase; 0 for the picks that follow when F cannot rise.
        counts: γ of each pick, int64 [k].
        near: min_j d_uj of each u, float64 [|U|].
        parts: F and its bound in each class with picks.
        lost: how many of U are of a class without a pick; they belong to the nearest pick of all classes.
        beyond: how many picks are of classes that U lacks, because the others have no more examples.
    """

    picks: Int64
    gains: Float64
    counts: Int64
    near: Float64
    parts: list[CoverResult]
    lost: int
    beyond: int

    def notes(self) -> list[str]:
        """Say which of U and which picks are special."""
        unused, out = int((self.counts == 0).sum()), list[str]()
        if self.lost:
            out.append(
                f"{self.lost} validation examples of classes without a pick belong to the nearest pick of all classes"
            )
        if self.beyond:
            out.append(
                f"{self.beyond} picks are of classes that validation lacks, because those of its classes are all chosen"
            )
        if unused:
            out.append(f"{unused} of {len(self.picks)} picks represent no validation example and have weight 0")
        return out


def parts_of(snapshot: Snapshot, held: Snapshot, per_class: bool) -> tuple[Parts, tuple[str, ...]]:
    """Return the classes of U, ascending, or all examples as one class; and a note, where there could be classes and are none."""
    one = [(np.arange(snapshot.n), np.arange(held.n))]
    if not per_class:
        return one, ()
    if "labels" not in snapshot.provides or "labels" not in held.provides:
        whose = "validation has" if "labels" in snapshot.provides else "the pool has"
        return one, (f"{whose} no classes: all examples are one class",)
    pool, own = snapshot.labels(), held.labels()
    if not np.isin(own, pool).any():
        return one, ("the pool has no example of any class of validation: all examples are one class",)
    return [(np.flatnonzero(pool == y), np.flatnonzero(own == y)) for y in np.unique(own)], ()


def shares_of(parts: Parts, k: int) -> list[int]:
    """Share k picks over the classes by their shares in U (largest remainder), no more than the pool has of each."""
    room = [len(members) for members, _ in parts]
    return fill(min(k, sum(room)), room, [len(covered) for _, covered in parts])


def cover_validation(
    rows: Rows, n: int, parts: Parts, shares: list[int], k: int, dense_up_to: int, tick: Callable[[int], None]
) -> ValidationCover:
    """Pick k examples of the pool for U.

    Args:
        rows: of the n examples of the pool, then of U.
        parts, shares: the classes, and how many picks each gets.
        dense_up_to: see `CRAIG`.
        tick: called with the number of picks after each class.
    """
    owner = np.full(rows.count - n, -1)  # [|U|] the pick that represents each of U
    near = np.empty(rows.count - n)
    picks, gains = [np.empty(0, np.int64)], [np.empty(0)]
    found: list[CoverResult] = []
    for (members, covered), share in zip(parts, shares, strict=True):
        if share:
            cover = DistanceCover(ClassDistances(rows, members, dense_up_to, n + covered))
            best = maximise(cover, share)
            more = _nearest_first(rows, np.delete(members, best.picks), n + covered, share - len(best.picks))
            for x in np.searchsorted(members, more).tolist():
                cover.take(x)  # of equally near picks, the one of lowest index represents
            inside, near[covered] = cover.nearest_pick()
            owner[covered] = members[inside]
            found.append(best)
            picks += [members[best.picks], more]
            gains += [best.gains, np.zeros(len(more))]
            tick(sum(map(len, picks)))
    beyond = k - sum(shares)
    others = np.setdiff1d(np.arange(n), np.concatenate(picks))
    picks.append(_nearest_first(rows, others, np.arange(n, rows.count), beyond))
    gains.append(np.zeros(beyond))
    chosen, lost = np.concatenate(picks), np.flatnonzero(owner < 0)
    owner[lost], near[lost] = nearest(rows, n + lost, np.sort(chosen))
    counts = np.bincount(owner, minlength=n)[chosen]
    return ValidationCover(chosen, np.concatenate(gains), counts, near, found, len(lost), beyond)


def _nearest_first(rows: Rows, members: Int64, covered: Int64, count: int) -> Int64:
    """Return so many of some examples of the pool, by their distance to what is covered; ties go to the lowest index."""
    if not count:
        return np.empty(0, np.int64)
    return members[np.argsort(nearest(rows, members, covered)[1], kind="stable")[:count]]
