"""The objectives that a selection lowers on validation inputs: RD (the method), cross-entropies, or a callable."""

from collections.abc import Callable
from typing import Any

from coreselect.objectives.cross_entropy import AdversarialCE, CEPlusRD
from coreselect.objectives.custom import Custom
from coreselect.objectives.objective import Objective
from coreselect.objectives.rd import RD
from coreselect.support.lookup import make_named

OBJECTIVES: dict[str, Callable[..., Objective]] = {"rd": RD, "adversarial_ce": AdversarialCE, "ce_plus_rd": CEPlusRD}

__all__ = ["OBJECTIVES", "RD", "AdversarialCE", "CEPlusRD", "Custom", "Objective", "objective"]


def objective(which: str | Objective | Callable[..., Any]) -> Objective:
    """Return the objective with this name and its defaults, the given object, or a callable as a `Custom` objective.

    Raises:
        UnknownNameError: no objective has that name.
    """
    if isinstance(which, str):
        return make_named("objective", which, OBJECTIVES, otherwise="a callable")
    return which if isinstance(which, Objective) else Custom(which)
