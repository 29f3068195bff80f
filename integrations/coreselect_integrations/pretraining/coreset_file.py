"""The last selection of a run as an index file; in an impure pool the file says so, as that of `coreselect select` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from coreselect import Selection
from coreselect.data.conditions import recorded_conditions
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.trusted_draws import JoinedPool

CORESET = "coreset.npz"


def save_coreset(
    chosen: Selection, folder: Path, pool: Any, settings: Settings, division: Mapping[str, Any] | None
) -> None:
    """Write a selection into the folder of a run.

    Args:
        pool: from which it was chosen.
        settings: of the run, with how validation was held out.
        division: how pool and validation were made, see `Division.record`.
    """
    made, provenance = division or {}, chosen.provenance
    command, notes = dict(provenance.command), provenance.notes
    joined = isinstance(pool, JoinedPool)
    if joined:
        command["joined"] = {"pool": len(pool.pool), "validation": len(pool.trusted)}
    if made.get("conditions") is not None:
        own, (_, conditions) = made.get("validation_data"), recorded_conditions(made["conditions"])
        held = {"data": None, "fingerprint": own} if own else {"size": settings.validation, "seed": settings.seed}
        command |= {"conditions": dict(made["conditions"]), "validation": held}
        if (truth := getattr(pool, "truth", None)) is not None:
            whole = range(len(pool.pool if joined else pool))
            command |= {"picks": truth.shares(chosen.indices), "pool_picks": truth.shares(whole)}
        notes = (*notes, f"the pool was impure on purpose (--pool {conditions})")
    replace(chosen, provenance=replace(provenance, command=command, notes=notes)).save(folder / CORESET)
