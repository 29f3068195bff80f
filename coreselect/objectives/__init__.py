"""The objectives that a selection lowers on validation inputs: RD (the method), cross-entropies, or a callable."""

from collections.abc import Callable
from functools import partial
from typing import Any

from coreselect.errors import RequirementError, UnknownNameError
from coreselect.objectives.cross_entropy import AdversarialCE, CEPlusRD
from coreselect.objectives.custom import Custom
from coreselect.objectives.objective import Objective
from coreselect.objectives.rd import RD
from coreselect.support.lookup import make_named

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "rd": RD,
    "js": partial(RD, "js"),
    "ot": partial(RD, "ot"),
    "adversarial_ce": AdversarialCE,
    "ce_plus_rd": CEPlusRD,
}
OF_RD = ("kl", "js", "ot")  # the divergences of rd; js and ot are names of objectives too


def objective_named(name: str, divergence: str | None = None, **settings: Any) -> Objective:
    """Make the objective of a command line, where the divergence of RD can be said in two ways: `js`, or `rd` and `js`.

    Args:
        name: a name in `OBJECTIVES`.
        divergence: of `rd`: `kl`, `js` or `ot`; None: that of the name.
        settings: of the objective, such as its attack.
    Raises:
        UnknownNameError: no objective or divergence has that name.
        RequirementError: the two say different things, or the objective has no divergence.
    """
    if name not in OBJECTIVES:
        raise UnknownNameError(f"no objective is called {name!r}; there are {', '.join(OBJECTIVES)}.")
    if divergence is None:
        return OBJECTIVES[name](**settings)
    if name not in ("rd", *OF_RD) or (name != "rd" and name != divergence):
        raise RequirementError(
            f"the objective {name!r} has no divergence {divergence!r}: name rd, or leave one of the two out."
        )
    return RD(divergence, **settings)


__all__ = ["OBJECTIVES", "RD", "AdversarialCE", "CEPlusRD", "Custom", "Objective", "objective", "objective_named"]


def objective(which: str | Objective | Callable[..., Any]) -> Objective:
    """Return the objective with this name and its defaults, the given object, or a callable as a `Custom` objective.

    Raises:
        UnknownNameError: no objective has that name.
    """
    if isinstance(which, str):
        return make_named("objective", which, OBJECTIVES, otherwise="a callable")
    return which if isinstance(which, Objective) else Custom(which)
