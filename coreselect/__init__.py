"""coreselect: the coreset toolkit for PyTorch that tells the truth.

A public name is loaded when it is first used (PEP 562), so that `import coreselect` costs no import of torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coreselect.certifying import certify
    from coreselect.choosing import plan, select, select_each
    from coreselect.data.subsets import Indexed, holdout
    from coreselect.errors import CoreselectError, CoreselectWarning
    from coreselect.history import History
    from coreselect.io.index_file import read_indices
    from coreselect.loop.infobatch import InfoBatchSampler
    from coreselect.loop.sampler import CoresetSampler
    from coreselect.loop.trusted import TrustedBatches
    from coreselect.network.attack_at import AttackAt
    from coreselect.network.normalized import Normalized
    from coreselect.planning.record import Plan
    from coreselect.protocols import Selector
    from coreselect.selectors import get_selector, list_selectors
    from coreselect.selectors.sieve import StreamSelection, select_stream
    from coreselect.support.limits import limits
    from coreselect.task.task import Task
    from coreselect.types import Certificate, Diagnostics, Provenance, Selection

    __version__: str

__all__ = [
    "AttackAt",
    "Certificate",
    "CoreselectError",
    "CoreselectWarning",
    "CoresetSampler",
    "Diagnostics",
    "History",
    "Indexed",
    "InfoBatchSampler",
    "Normalized",
    "Plan",
    "Provenance",
    "Selection",
    "Selector",
    "StreamSelection",
    "Task",
    "TrustedBatches",
    "certify",
    "get_selector",
    "holdout",
    "limits",
    "list_selectors",
    "plan",
    "read_indices",
    "select",
    "select_each",
    "select_stream",
]

_MODULE_OF = {
    "AttackAt": "network.attack_at",
    "Certificate": "types",
    "CoreselectError": "errors",
    "CoreselectWarning": "errors",
    "CoresetSampler": "loop.sampler",
    "Diagnostics": "types",
    "History": "history",
    "Indexed": "data.subsets",
    "InfoBatchSampler": "loop.infobatch",
    "Normalized": "network.normalized",
    "Plan": "planning.record",
    "Provenance": "types",
    "Selection": "types",
    "Selector": "protocols",
    "StreamSelection": "selectors.sieve",
    "Task": "task.task",
    "TrustedBatches": "loop.trusted",
    "certify": "certifying",
    "get_selector": "selectors",
    "holdout": "data.subsets",
    "limits": "support.limits",
    "list_selectors": "selectors",
    "plan": "choosing",
    "read_indices": "io.index_file",
    "select": "choosing",
    "select_each": "choosing",
    "select_stream": "selectors.sieve",
}


if not TYPE_CHECKING:  # so that type checkers report an unknown name

    def __getattr__(name: str) -> Any:
        """Load a public name, the version, or a module of the package (`coreselect.attacks`)."""
        if name == "__version__":
            from importlib.metadata import version

            found: Any = version("coreselect")
        elif name in _MODULE_OF:
            found = getattr(import_module(f"coreselect.{_MODULE_OF[name]}"), name)
        else:
            return _module(name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    """List the public names, and what is loaded already."""
    return sorted({*globals(), *__all__, "__version__"})


def _module(name: str) -> Any:
    """Import `coreselect.<name>`.

    Raises:
        AttributeError: there is no such module.
    """
    whole = f"coreselect.{name}"
    try:
        if not name.startswith("_"):
            return import_module(whole)
    except ModuleNotFoundError as error:
        if error.name != whole:
            raise
    raise AttributeError(f"module 'coreselect' has no attribute {name!r}")
