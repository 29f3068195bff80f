"""Evaluation: standard and robust accuracy, AutoAttack, common corruptions, and nearest neighbours, one a file."""

from coreselect_integrations.evaluation.accuracy import PGD20, Evaluation, evaluate

__all__ = ["PGD20", "Evaluation", "evaluate"]
