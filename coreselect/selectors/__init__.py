"""Methods of choosing, one published method a file; other packages register theirs as entry points `coreselect.selectors`.

A class is loaded when it is first used (PEP 562), so that listing the methods imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from coreselect.selectors.catalogue import CATALOGUE, list_selectors

if TYPE_CHECKING:
    from coreselect.selectors.combinators.filtered import Filtered
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
    from coreselect.selectors.registry import COMBINATORS, SELECTORS, get_selector
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
    "Filtered",
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

_BY_CLASS = {entry.cls: entry for entry in CATALOGUE}


if not TYPE_CHECKING:  # so that type checkers report an unknown name

    def __getattr__(name: str) -> Any:
        """Load a selector's class, or a name of the registry."""
        if name in _BY_CLASS:
            found = _BY_CLASS[name].load()
        elif name in __all__:
            found = getattr(import_module("coreselect.selectors.registry"), name)
        else:
            raise AttributeError(f"module 'coreselect.selectors' has no attribute {name!r}")
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    """List the public names, and what is loaded already."""
    return sorted({*globals(), *__all__})
