"""Measures of trained networks: standard and robust accuracy, AutoAttack, common corruptions, nearest neighbours."""

from coreselect_integrations.evaluation.accuracy import PGD20, Evaluation, evaluate

__all__ = ["PGD20", "Evaluation", "evaluate"]
