"""Methods of choosing compared on equal terms: cells that run, statistics over them, reports of both."""

from coreselect_integrations.comparison.plan import Cell, Finetuning, Judged, Runtime, Study
from coreselect_integrations.comparison.study import compare

__all__ = ["Cell", "Finetuning", "Judged", "Runtime", "Study", "compare"]
