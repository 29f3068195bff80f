"""What a race leaves in its folder: the network of the winner, the ranking as JSON, and the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from coreselect.errors import MissingExtraError
from coreselect.io.atomic import atomic_file
from coreselect_integrations.comparison.cell_files import write_json
from coreselect_integrations.networks import MODEL
from coreselect_integrations.racing.last_training import FINAL
from coreselect_integrations.racing.picture import draw_race
from coreselect_integrations.racing.race import Outcome
from coreselect_integrations.racing.ranking import Place, ranking
from coreselect_integrations.racing.setting import Race

RECORD, PICTURE = "race.json", "race.png"


def write_report(folder: Path, outcome: Outcome, record: Mapping[str, Any]) -> tuple[list[Path], list[str]]:
    """Write the files, and return them, with what could not be written.

    Args:
        folder: of the race.
        outcome: see `run_race`.
        record: see `as_json`.
    """
    files, missed = [folder / MODEL, folder / RECORD], list[str]()
    with atomic_file(folder / MODEL) as file:
        file.write((folder / FINAL / MODEL).read_bytes())
    write_json(folder / RECORD, record)
    if record["ranking"]:
        try:
            draw_race(outcome.records, outcome.final, [o["arm"] for o in record["ranking"]], folder / PICTURE)
            files.append(folder / PICTURE)
        except MissingExtraError as why:
            missed.append(str(why))
    return files, missed


def as_json(race: Race, outcome: Outcome, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a race as JSON values, without the verdict of each image.

    Args:
        race, outcome: see `run_race`.
        about: more JSON values for the record.
    """
    places = ranking(outcome.records, outcome.winner.name) if outcome.records else []

    def short(record: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in record.items() if name != "right"}

    return {
        **about, "budget": asdict(race.budget), "seconds": outcome.seconds, "winner": outcome.winner.name,
        "final": short(outcome.final),
        "ranking": [{**asdict(o), "distinguishable": o.distinguishable} for o in places],
        "not_distinguishable": like_the_winner(places), "runs": [short(r) for r in outcome.records],
    }  # fmt: skip


def like_the_winner(places: Sequence[Place]) -> list[str]:
    """Return the names of the arms that the images cannot tell from the winner."""
    return [o.arm for o in places[1:] if not o.distinguishable]
