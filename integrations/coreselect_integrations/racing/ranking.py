"""The ranking of a race: who came how far, how well, and which arms cannot be told from the winner.

An arm is compared with the winner in the last rung that it ran, where both had the same seconds, image by image: of the images
that one of the two classifies rightly under attack and the other does not, each has half if the two are equally good (the exact
sign test, McNemar). The p-values of all comparisons are corrected by Holm. The error of an accuracy p on n images is √(p(1 − p)/n),
that of a difference √(Var(d)/n), as a bootstrap of the images would give. They say nothing about other seeds of training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coreselect_integrations.comparison.significance import LEVEL, holm


@dataclass(frozen=True, slots=True)
class Place:
    """One line of the ranking.

    Attributes:
        arm: its name.
        rung: the last that it ran, from 0.
        robust, standard: accuracies there in [0, 1]; None for an arm that failed.
        error: standard error of `robust` over images.
        behind: robust accuracy of the winner there − that of the arm; `behind_error` its standard error.
        p: of the sign test against the winner, corrected by Holm; None for the winner and for an arm that failed.
        seconds: of its last run.
        why: the error of an arm that failed.
        cut: how much of its last run an arm did that ended early to keep the time, in words; None for the others.
    """

    arm: str
    rung: int
    robust: float | None
    standard: float | None
    error: float
    behind: float
    behind_error: float
    p: float | None
    seconds: float
    why: str | None
    cut: str | None = None

    @property
    def distinguishable(self) -> bool:
        """Whether the images tell the arm from the winner; True for an arm that failed."""
        return self.robust is None or (self.p is not None and self.p < LEVEL)


def ranking(records: Sequence[Mapping[str, Any]], winner: str) -> list[Place]:
    """Return the arms, best first: the winner, then those that came further, then the better ones.

    Args:
        records: of the runs of all rungs.
        winner: the name of an arm with a record in every rung.
    """
    last = {r["arm"]: r for r in records}  # later rungs come later
    bests = {r["rung"]: r for r in records if r["arm"] == winner}
    others = [r for name, r in last.items() if name != winner and r["robust"] is not None]
    tested = [sign_test(*_discordant(bests[r["rung"]]["right"], r["right"])) for r in others]
    p = dict(zip([r["arm"] for r in others], holm(tested), strict=True))
    places = [_place(r, bests[r["rung"]], p.get(r["arm"])) for r in last.values()]
    return sorted(
        places, key=lambda o: (o.arm != winner, o.robust is None, -o.rung, -(o.robust or 0.0))
    )  # keeps the order of equal ones


def _place(record: Mapping[str, Any], best: Mapping[str, Any], p: float | None) -> Place:
    robust, n = record["robust"], max(1, record["n"])
    behind = spread = 0.0
    if robust is not None:
        lost, won = _discordant(best["right"], record["right"])
        behind = (lost - won) / n
        spread = math.sqrt(max(0.0, (lost + won) / n - behind**2) / n)
    return Place(
        record["arm"], record["rung"], robust, record["standard"],
        0.0 if robust is None else math.sqrt(robust * (1 - robust) / n), behind, spread, p, record["seconds"], record["error"],
        _cut(record),
    )  # fmt: skip


def _cut(record: Mapping[str, Any]) -> str | None:
    """Say how much of a run was done that ended early and was judged; None for others."""
    if not record["cut"] or record["robust"] is None:
        return None
    before = ", before its first selection" if 0 < record["warmup"] >= record["done"] else ""
    return f"{record['done']:,} of {record['epochs']:,} epochs{before}"


def _discordant(one: str, two: str) -> tuple[int, int]:
    """Return on how many images only the one, and only the other, is right."""
    pairs = list(zip(one, two, strict=True))
    return pairs.count(("1", "0")), pairs.count(("0", "1"))


def sign_test(b: int, c: int) -> float:
    """Return the p-value of b and c successes, if each of b + c is as likely one as the other."""
    from scipy.stats import binomtest

    return 1.0 if b + c == 0 else float(binomtest(b, b + c, 0.5).pvalue)
