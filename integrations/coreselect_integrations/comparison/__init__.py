"""Comparison of selection methods on equal terms: cells that train, their measures, statistics, and reports."""

from coreselect_integrations.comparison.plan import Cell, EvaluationMode, Finetuning, Runtime, Study
from coreselect_integrations.comparison.study import compare

__all__ = ["Cell", "EvaluationMode", "Finetuning", "Runtime", "Study", "compare"]
