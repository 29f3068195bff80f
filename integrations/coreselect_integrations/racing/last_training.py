"""The last training of a race: the winner trains for what is left of the hours, or keeps the network of its last rung.

`plan.json` in the folder of the last training holds the length of the run, or the rung whose network is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from coreselect.errors import RequirementError
from coreselect.io.atomic import atomic_file
from coreselect_integrations.comparison.cell_files import read_json, write_json
from coreselect_integrations.networks import MODEL
from coreselect_integrations.racing.arms import Arm
from coreselect_integrations.racing.dealt import dealt
from coreselect_integrations.racing.elapsed import Elapsed
from coreselect_integrations.racing.judging import Judge
from coreselect_integrations.racing.plan import Cost, Length
from coreselect_integrations.racing.record_checks import believed, why_no_told
from coreselect_integrations.racing.run_arm import Run
from coreselect_integrations.racing.setting import Images, Place, Race

PLAN, FINAL = "plan.json", "final"
LATEST = 1.03  # of the hours: no epoch begins that would end later


def last_training(
    winner: Arm,
    cost: Cost,
    records: Sequence[Mapping[str, Any]],
    race: Race,
    images: Images,
    place: Place,
    judge: Judge,
    elapsed: Elapsed,
) -> dict[str, Any]:
    """Train the winner for what is left of the time, or keep the network of its last rung if that had more.

    Args:
        winner, cost: the arm, and what it costs.
        records: of all runs before.
    Returns:
        the record of the training; with `kept`, the name of a rung, that of the winner's run there.
    Raises:
        RequirementError: the training failed.
        DataError: a file of it cannot be believed.
    """
    folder = place.folder / FINAL
    best = next((r for r in reversed(records) if r["arm"] == winner.name), None)

    def planned() -> Run:
        told = believed(folder / PLAN, why_no_told, f"remove {folder}, and the last training begins anew")
        return Run(
            winner, None, Length(**told["length"]), race.settings.seed, folder, told["seconds"], cost.judging,
            LATEST * race.budget.seconds,
        )  # fmt: skip

    def ended() -> dict[str, Any] | None:
        if (folder / PLAN).exists() and "kept" in read_json(folder / PLAN):
            return _kept(best, folder)
        record = planned().record(images) if (folder / PLAN).exists() else None
        return None if record is None or record["error"] is not None else record

    for _ in dealt(["last"], place.folder, lambda _: ended() is not None, place.pause):
        if not (folder / PLAN).exists():
            seconds = race.budget.of_last(elapsed.seconds)
            length = cost.longest(seconds)
            if best is not None and (length is None or length.epochs < best["done"]):
                _keep(place.folder / f"rung{best['rung'] + 1}" / winner.folder, folder)
                continue
            write_json(folder / PLAN, {"length": asdict(length or cost.shortest), "seconds": seconds})
        if place.began is not None:
            place.began(None, winner.name)
        record = planned()(race, images, place, judge, elapsed)
        if place.ended is not None:
            place.ended(record)
        if record["error"] is not None:
            raise RequirementError(
                f"the last training failed with {record['error']!r}: look at {folder}, and start the same command again."
            )
    return ended() or {}


def _keep(run: Path, folder: Path) -> None:
    """Make the network of a rung's run that of the last training, and write down which it is in place of a plan."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / MODEL) as file:
        file.write((run / MODEL).read_bytes())
    write_json(folder / PLAN, {"kept": run.parent.name})


def _kept(best: Mapping[str, Any] | None, folder: Path) -> dict[str, Any]:
    """Return the record of the rung's run whose network was kept, with the name of the rung.

    Raises:
        DataError: another run than the winner's last one is named.
    """
    name = None if best is None else f"rung{best['rung'] + 1}"
    wrong = f"it keeps another run than that of {name}"
    way = f"remove {folder}, and the last training begins anew"
    told = believed(folder / PLAN, lambda held: None if held == {"kept": name} else wrong, way)
    return {**(best or {}), **told}
