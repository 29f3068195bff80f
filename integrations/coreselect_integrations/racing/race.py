"""Race arms for given hours: the rungs one after another, and then the last training of the winner.

Everything that was decided is in the folder of the race, so a race that is killed goes on, and several processes share one:

    terms.json, costs.json      what is raced, and what was timed
    rung1/plan.json             the length of each run, decided when the rung began
    rung1/…/                    an ordinary run each, with the record `arm.json`
    final/                      the winner's last training
    sessions/                   when each process worked
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from coreselect.errors import RequirementError
from coreselect.io.sole_use import shared_use
from coreselect_integrations.comparison.cell_files import check_terms, write_json
from coreselect_integrations.racing.arms import Arm
from coreselect_integrations.racing.costs import COSTS, costs_of
from coreselect_integrations.racing.dealt import dealt
from coreselect_integrations.racing.elapsed import SESSIONS, Elapsed
from coreselect_integrations.racing.judging import Judge
from coreselect_integrations.racing.last_training import FINAL, LATEST, PLAN, last_training
from coreselect_integrations.racing.plan import MARGIN, Cost, Length, rounded_up, sizes_of, survivors
from coreselect_integrations.racing.record_checks import believed, why_no_plan
from coreselect_integrations.racing.run_arm import Run
from coreselect_integrations.racing.setting import Images, Place, Race

TERMS = "terms.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a race ended with.

    Attributes:
        winner: the arm that was trained for what was left of the time.
        records: of all runs, rung by rung.
        final: of the last training; with `kept`, the name of a rung, if that had more time.
        seconds: that the race has taken, by its clock.
    """

    winner: Arm
    records: tuple[Mapping[str, Any], ...]
    final: Mapping[str, Any]
    seconds: float


def run_race(race: Race, train: Any, place: Place) -> Outcome:
    """Race, or go on with the race in the folder, and return what it ended with.

    Args:
        race: what is raced.
        train: labelled images; test images take no part.
        place: where.
    Raises:
        RequirementError: the folder holds another race, the hours or what the rungs leave of them are too short for one epoch
            of one of the arms, or all arms failed.
        DataError: the images have no labels, the folder cannot be used, another work uses it, or a file in it cannot be believed.
    """
    with shared_use(place.folder, "the folder of a race"):
        return _begun(race, train, place)


def _begun(race: Race, train: Any, place: Place) -> Outcome:
    """Race in a folder that is used for nothing else."""
    check_terms(place.folder, race.terms(train), name=TERMS, what="race")
    images = Images.of(race, train)
    judge = Judge.of(race.settings, images.pool, images.judged)
    elapsed = Elapsed(place.folder, place.clock)
    try:
        return _raced(race, images, place, judge, elapsed)
    finally:
        if (place.folder / TERMS).exists():
            elapsed.close()


def check_hours(race: Race, costs: Mapping[Arm, Cost], spent: float) -> None:
    """Refuse hours in which an arm could not be trained for an epoch in rung 0 and in the last training.

    Raises:
        RequirementError: it could not.
    """
    sizes = sizes_of(len(race.arms), race.budget.halving)
    least = {arm: cost.seconds(cost.shortest) for arm, cost in costs.items()}
    slowest = max(least, key=lambda arm: least[arm])
    needed = race.budget.needed(least[slowest], sizes, spent)
    if needed == math.inf:
        raise RequirementError(
            f"a race with {race.budget.share:g} of the hours leaves no time for the last training: give --race-share below "
            f"{1 - MARGIN:g}, such as 0.5."
        )
    if needed > race.budget.seconds:
        # the largest share, in hundredths, that leaves enough for the last training
        share = math.floor(100 * (1 - MARGIN - least[slowest] / race.budget.seconds)) / 100
        does = (
            share > 0 and replace(race.budget, share=share).needed(least[slowest], sizes, spent) <= race.budget.seconds
        )
        raise RequirementError(
            f"{race.budget.seconds / 3600:.2g} hours are too short: with {len(race.arms)} arms and {race.budget.share:g} of the "
            f"hours for the rungs, the shortest training of {slowest.name!r} takes {least[slowest]:.3g} s, so "
            f"{rounded_up(needed):.3g} hours are needed; give these, {f'or --race-share {share:g}, ' if does else ''}"
            "or leave out the slowest arms."
        )


def _raced(race: Race, images: Images, place: Place, judge: Judge, elapsed: Elapsed) -> Outcome:
    """Run the rungs and the last training."""
    costs = costs_of(race, images, place)
    sizes = sizes_of(len(race.arms), race.budget.halving)
    if not any((place.folder / first / PLAN).exists() for first in ("rung1", FINAL)):
        try:
            check_hours(race, costs, elapsed.seconds)
        except RequirementError:
            _forget(place.folder)
            raise
        if place.costed is not None:
            place.costed(costs, elapsed.seconds)
    alive, records = list(race.arms), list[Mapping[str, Any]]()
    for rung in range(len(sizes)):
        folder = place.folder / f"rung{rung + 1}"
        plan = _plan(folder, alive, costs, race, rung, sizes, place, elapsed)
        if not plan:  # the rungs before took too long: what they found decides
            break
        if place.planned is not None:
            place.planned(rung, plan)
        found = _rung(folder, plan, race, rung, images, place, judge, elapsed)
        records += [found[arm] for arm in alive]
        alive = survivors({arm: found[arm]["robust"] for arm in alive}, race.budget.halving)
        if not alive:
            raise RequirementError(
                f"all arms of rung {rung + 1} failed, the first with {next(iter(found.values()))['error']!r}: {folder} has the "
                "reasons."
            )
        costs = {arm: calibrated(costs[arm], found[arm]) for arm in alive}
    winner = alive[0]
    final = last_training(winner, costs[winner], records, race, images, place, judge, elapsed)
    return Outcome(winner, tuple(records), final, elapsed.seconds)


def _forget(folder: Path) -> None:
    """Remove what a race has written before its first rung, so that the folder is free for one with more hours or fewer arms."""
    for path in (folder / TERMS, folder / COSTS, *(folder / SESSIONS).glob("*.json")):
        path.unlink(missing_ok=True)


def calibrated(cost: Cost, record: Mapping[str, Any]) -> Cost:
    """Return the cost of an arm, corrected by what its last run took."""
    trained = Length(record["done"], min(record["done"], record["warmup"]), record["every"])
    expected = replace(cost, judging=0.0, factor=1.0, once=0.0).seconds(trained)
    once = min(cost.once, record["train_seconds"] / 2) if record["done"] > record["warmup"] else 0.0
    return replace(cost, factor=(record["train_seconds"] - once) / expected, judging=record["judge_seconds"])


def _plan(
    folder: Path,
    alive: Sequence[Arm],
    costs: Mapping[Arm, Cost],
    race: Race,
    rung: int,
    sizes: Sequence[int],
    place: Place,
    elapsed: Elapsed,
) -> dict[str, Any]:
    """Decide the length of each run of a rung, once for all processes; empty if an arm could not be trained in the time."""
    path = folder / PLAN
    for _ in dealt(["plan"], folder, lambda _: path.exists(), place.pause):
        each = race.budget.of_rung(rung, [*sizes[:rung], len(alive), *sizes[rung + 1 :]], elapsed.seconds)
        lengths = {arm.name: costs[arm].longest(each) for arm in alive}
        fits = all(length is not None for length in lengths.values())
        plan = {
            n: {"length": asdict(length), "seconds": each, "judging": costs[arm].judging}
            for arm in alive
            if fits and (length := lengths[n := arm.name]) is not None
        }
        write_json(path, plan)

    def why(held: Mapping[str, Any]) -> str | None:
        return why_no_plan(held, [arm.name for arm in alive]) if held or not rung else None

    return believed(path, why, f"remove {folder}, and the rung runs again")


def _rung(
    folder: Path,
    plan: Mapping[str, Any],
    race: Race,
    rung: int,
    images: Images,
    place: Place,
    judge: Judge,
    elapsed: Elapsed,
) -> dict[Arm, dict[str, Any]]:
    """Run the arms of a rung with the other processes, and return the record of each."""
    told = {arm: plan[arm.name] for arm in race.arms if arm.name in plan}
    runs = {
        arm.folder: Run(
            arm, rung, Length(**own["length"]), race.settings.seed + rung, folder / arm.folder, own["seconds"],
            own["judging"], LATEST * race.budget.seconds,
        )
        for arm, own in told.items()
    }  # fmt: skip
    for name in dealt(list(runs), folder, lambda n: runs[n].record(images) is not None, place.pause):
        if place.began is not None:
            place.began(rung, runs[name].arm.name)
        record = runs[name](race, images, place, judge, elapsed)
        if place.ended is not None:
            place.ended(record)
    return {run.arm: run.record(images) or {} for run in runs.values()}
