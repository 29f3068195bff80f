"""What validation inputs should become better at: RD (the method), adversarial cross-entropy, their sum, or a callable."""

from collections.abc import Callable
from typing import Any

from coreselect.errors import UnknownNameError
from coreselect.objectives.cross_entropy import AdversarialCE, CEPlusRD
from coreselect.objectives.custom import Custom
from coreselect.objectives.objective import Objective
from coreselect.objectives.rd import RD

OBJECTIVES: dict[str, Callable[..., Objective]] = {"rd": RD, "adversarial_ce": AdversarialCE, "ce_plus_rd": CEPlusRD}

__all__ = ["OBJECTIVES", "RD", "AdversarialCE", "CEPlusRD", "Custom", "Objective", "objective"]


def objective(which: str | Objective | Callable[..., Any]) -> Objective:
    """Return the objective of that name with its defaults, the object given, or a plain callable as `Custom`.

    Raises:
        UnknownNameError: no objective has that name.
    """
    if isinstance(which, str):
        if which not in OBJECTIVES:
            raise UnknownNameError(
                f"no objective is called {which!r}; there are {', '.join(OBJECTIVES)}, or give a callable."
            )
        return OBJECTIVES[which]()
    return which if isinstance(which, Objective) else Custom(which)
