"""Methods of choosing, one published method a file; third parties register under the entry-point group `coreselect.selectors`."""

from importlib.metadata import entry_points
from inspect import formatannotation
from reprlib import repr as short
from typing import Any

from coreselect.errors import RequirementError, UnknownNameError
from coreselect.protocols import Selector
from coreselect.selectors.combinators.mixture import Mixture
from coreselect.selectors.combinators.per_class import PerClass
from coreselect.selectors.combinators.windowed import Windowed
from coreselect.selectors.geometry.facility_location import FacilityLocation
from coreselect.selectors.geometry.graph_cut import GraphCut
from coreselect.selectors.geometry.herding import Herding
from coreselect.selectors.geometry.k_center import KCenter
from coreselect.selectors.geometry.log_det import LogDet
from coreselect.selectors.gradient.craig import CRAIG, ACSCraig
from coreselect.selectors.gradient.glister import GLISTER
from coreselect.selectors.gradient.gradmatch import ACSGradMatch, GradMatch
from coreselect.selectors.gradient.grand import GraNd
from coreselect.selectors.gradient.less import LESS
from coreselect.selectors.label_free.prototypicality import Prototypicality
from coreselect.selectors.label_free.sas import SAS
from coreselect.selectors.label_free.semdedup import SemDeDup
from coreselect.selectors.label_free.zcore import ZCore
from coreselect.selectors.rcs import RCS
from coreselect.selectors.sampling.importance import Importance
from coreselect.selectors.sampling.rcs_sampled import RCSSampled
from coreselect.selectors.sampling.uniform import RS2, Random, Redraw
from coreselect.selectors.score.aign import AIGN
from coreselect.selectors.score.aum import AUM
from coreselect.selectors.score.cal import CAL
from coreselect.selectors.score.ccs import CCS
from coreselect.selectors.score.d2 import D2
from coreselect.selectors.score.deepfool import DeepFool
from coreselect.selectors.score.forgetting import Forgetting, ForgettingAdv
from coreselect.selectors.score.moderate import Moderate
from coreselect.selectors.score.uncertainty import EL2N, EL2NAdv, Entropy, LeastConfidence, Loss, Margin, MarginAdv
from coreselect.support.type_checks import accepts, annotations_of

SELECTORS: dict[str, type[Any]] = {
    s.name: s
    for s in (
        RCS,
        RCSSampled,
        Random,
        Redraw,
        RS2,
        Importance,
        PerClass,
        Windowed,
        Mixture,
        Prototypicality,
        SemDeDup,
        SAS,
        ZCore,
        EL2N,
        EL2NAdv,
        Entropy,
        LeastConfidence,
        Margin,
        MarginAdv,
        Loss,
        AUM,
        Forgetting,
        ForgettingAdv,
        CCS,
        Moderate,
        D2,
        CAL,
        DeepFool,
        AIGN,
        CRAIG,
        GradMatch,
        GLISTER,
        GraNd,
        ACSCraig,
        ACSGradMatch,
        LESS,
        KCenter,
        Herding,
        FacilityLocation,
        GraphCut,
        LogDet,
    )
}
COMBINATORS = (PerClass, Windowed, Mixture)

__all__ = [
    "AIGN",
    "AUM",
    "CAL",
    "CCS",
    "COMBINATORS",
    "CRAIG",
    "D2",
    "EL2N",
    "GLISTER",
    "LESS",
    "RCS",
    "RS2",
    "SAS",
    "SELECTORS",
    "ACSCraig",
    "ACSGradMatch",
    "DeepFool",
    "EL2NAdv",
    "Entropy",
    "FacilityLocation",
    "Forgetting",
    "ForgettingAdv",
    "GraNd",
    "GradMatch",
    "GraphCut",
    "Herding",
    "Importance",
    "KCenter",
    "LeastConfidence",
    "LogDet",
    "Loss",
    "Margin",
    "MarginAdv",
    "Mixture",
    "Moderate",
    "PerClass",
    "Prototypicality",
    "RCSSampled",
    "Random",
    "Redraw",
    "SemDeDup",
    "Windowed",
    "ZCore",
    "get_selector",
    "list_selectors",
]


def list_selectors() -> list[str]:
    """Return the names that `get_selector` knows: built in, then registered by other packages."""
    others = sorted({e.name for e in entry_points(group="coreselect.selectors")} - set(SELECTORS))
    return [*SELECTORS, *others]


def get_selector(name: str, /, **settings: Any) -> Selector:
    """Make the selector of that name.

    Args:
        name: one of `list_selectors()`.
        settings: of its constructor.
    Raises:
        UnknownNameError: no selector has that name.
        RequirementError: it has no such setting, or one of another kind.
    """
    factory: Any = SELECTORS.get(name)
    if factory is None:
        found = [e for e in entry_points(group="coreselect.selectors") if e.name == name]
        if not found:
            raise UnknownNameError(f"no selector is called {name!r}; there are {', '.join(list_selectors())}.")
        factory = found[0].load()
    hints = annotations_of(factory)
    for key, value in settings.items():
        if key in hints and not accepts(hints[key], value):
            why = f"the selector {name!r} takes {key} as {formatannotation(hints[key])}, got {short(value)}."
            raise RequirementError(why)
    try:
        return factory(**settings)
    except TypeError as why:
        raise RequirementError(f"the selector {name!r} cannot be made with {sorted(settings)}: {why}.") from why
