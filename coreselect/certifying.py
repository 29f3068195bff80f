"""The function `certify`: a certificate for a selection that was made earlier."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from coreselect.attacks import PGD
from coreselect.certificates.instance import Method
from coreselect.certificates.lipschitz import Lipschitz
from coreselect.divergences import DIVERGENCES
from coreselect.errors import RequirementError
from coreselect.gradients.sketch import Sketch
from coreselect.network.precision import HalfPrecision
from coreselect.objectives import RD, AdversarialCE, CEPlusRD
from coreselect.protocols import TaskLike
from coreselect.search import Blocks, Candidates, GreeDi
from coreselect.selectors import SELECTORS
from coreselect.types import Certificate, Selection

_REBUILDABLE: dict[str, Any] = {
    t.__name__: t
    for t in (
        PGD,
        HalfPrecision,
        Sketch,
        Candidates,
        Blocks,
        GreeDi,
        Lipschitz,
        RD,
        AdversarialCE,
        CEPlusRD,
        *DIVERGENCES.values(),
    )
}


def certify(
    selection: Selection,
    task: TaskLike,
    method: Method = "instance",
    *,
    selector: Any = None,
    sigma: float | None = None,
) -> Certificate | None:
    """Compute a certificate for a selection, from its task and the settings in its provenance.

    Args:
        selection: the selection, for instance from `Selection.load`.
        task: with the same model, pool and validation set that the selection was made with.
        method: `"instance"`, `"paper"` or `"sampled"`.
        selector: the selector that made the selection; None: rebuild it from provenance, which is impossible if its
            settings hold callables.
        sigma: σ ≥ 1 of Theorem 2 for `"paper"`; None: that of the selector, which is 1, the best case, unless it was given.
    Returns:
        The certificate, or None if `instance` does not apply: for some objectives, and for sketched rows.
    Raises:
        RequirementError: the selector cannot certify afterwards or be rebuilt, or did not make this selection of this task.
    """
    p = selection.provenance
    if p.pool_size != task.n:
        raise RequirementError(f"the selection is of a pool of {p.pool_size} examples, the task has {task.n}.")
    if selector is None:
        if p.selector not in SELECTORS:
            raise RequirementError(f"the selection was made by {p.selector!r}, which is not built in: give selector=.")
        if not hasattr(SELECTORS[p.selector], "certificate"):
            raise RequirementError(
                f"selections by {p.selector!r} carry no certificate that can be made again: rcs's do."
            )
        selector = _rebuild(SELECTORS[p.selector], p.settings)
    if not hasattr(selector, "certificate"):
        raise RequirementError(
            f"selections by {selector.name!r} carry no certificate that can be made again: rcs's do."
        )
    return selector.certificate(task, selection, method, sigma=sigma)


def _rebuild(factory: Any, settings: Mapping[str, Any]) -> Any:
    """Make a frozen dataclass from its recorded settings."""
    known = {f.name for f in fields(factory)}
    made = {}
    for name, value in settings.items():
        if name not in known:
            continue
        if isinstance(value, Mapping):
            if value.get("type") not in _REBUILDABLE:
                raise RequirementError(
                    f"the setting {name!r} is a {value.get('type')}, which cannot be rebuilt: give selector=."
                )
            value = _rebuild(_REBUILDABLE[value["type"]], value)
        made[name] = tuple(value) if isinstance(value, list) else value
    return factory(**made)
