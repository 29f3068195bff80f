"""coreselect: the coreset toolkit for PyTorch that tells the truth."""

from coreselect.certify import certify
from coreselect.choosing import select
from coreselect.data.subsets import Indexed, holdout
from coreselect.errors import CoreselectError, CoreselectWarning
from coreselect.history import History
from coreselect.loop.infobatch import InfoBatchSampler
from coreselect.loop.sampler import CoresetSampler
from coreselect.network.normalized import Normalized
from coreselect.protocols import Selector
from coreselect.selectors import get_selector, list_selectors
from coreselect.task.task import Task
from coreselect.types import Certificate, Diagnostics, Provenance, Selection

__all__ = [
    "Certificate",
    "CoreselectError",
    "CoreselectWarning",
    "CoresetSampler",
    "Diagnostics",
    "History",
    "Indexed",
    "InfoBatchSampler",
    "Normalized",
    "Provenance",
    "Selection",
    "Selector",
    "Task",
    "certify",
    "get_selector",
    "holdout",
    "list_selectors",
    "select",
]
