"""Record where a selection came from: selector, settings, pool, seed, versions, seconds."""

from typing import Any

from coreselect.support.records import settings_of, versions
from coreselect.task.context import Context
from coreselect.types import Provenance

ARRAYS = "arrays"  # key of a task's record: which arrays it was made of, where there was no model


def provenance(
    context: Context,
    selector: Any,
    budget: int,
    pool_size: int,
    task: dict[str, Any],
    notes: tuple[str, ...],
    settings: dict[str, Any],
) -> Provenance:
    """Return the provenance of a selection.

    Args:
        budget: k, how many examples were chosen.
        task: description of the model that the rows came from, empty if the selector reads no gradients; or the arrays.
        settings: facts to record in addition to the selector's own settings.
    """
    own = settings_of(selector)  # a dictionary if the selector is a dataclass
    described = {k: v for k, v in own.items() if k != "type"} if isinstance(own, dict) else {}
    with_validation = "validation" in selector.requires
    return Provenance(
        selector=selector.name,
        settings={**described, **settings},
        budget=budget,
        pool_size=pool_size,
        seed=context.seed,
        round=context.round,
        versions={**versions(), **context.machine},
        seconds=dict(context.clock.seconds),
        fingerprint=context.fingerprint,
        validation_indices=context.validation_indices,  # of every method: a split is read back from the file
        disjoint=context.disjoint if with_validation else None,
        notes=notes,
        task=task,
    )
