"""The division of the data that --pool and --validation-data ask for, checked before any work."""

from __future__ import annotations

from typing import Any

from coreselect.cli.divided_pool import beside, conditions_in
from coreselect.cli.options import ConditionOptions, PoolOptions
from coreselect.data.conditions import Conditions
from coreselect.errors import DataError
from coreselect_integrations.cli.checks_before_work import classes_in
from coreselect_integrations.evaluation.generated import check_name
from coreselect_integrations.pretraining.dataset_shape import count_classes
from coreselect_integrations.pretraining.division import PLAIN, Division


def asked_conditions(asked: ConditionOptions, images: PoolOptions) -> Conditions | None:
    """Read the words of --pool, without any data.

    Raises:
        RequirementError, UnknownNameError: they cannot be read.
        typer.BadParameter: there are two validation sets.
    """
    conditions = conditions_in(asked, images)
    if conditions is not None and conditions.shift is not None:
        check_name(conditions.shift)
    return conditions


def division_for(asked: ConditionOptions, images: PoolOptions, dataset: Any) -> Division:
    """Return how a dataset is divided.

    Args:
        images: how `dataset` was read; other datasets are read in the same way.
        dataset: the training images.
    Raises:
        RequirementError, UnknownNameError, typer.BadParameter: see `asked_conditions`.
        DataError: labels are missing where conditions need them, a dataset cannot be read, or its images or labels do not fit.
    """
    conditions = asked_conditions(asked, images)
    if conditions is None and asked.validation_data is None:
        return PLAIN
    if conditions is not None:
        classes_in(dataset, images.data, "--pool")
    foreign = validation = None
    if conditions is not None and conditions.foreign_data is not None:
        foreign = beside(conditions.foreign_data, images, dataset)
    if asked.validation_data is not None:
        validation = beside(asked.validation_data, images, dataset)
        try:
            known, found = count_classes(dataset), count_classes(validation)
        except DataError:
            found = known = 0  # one of them has no labels, which some methods do without
        if found > known:
            raise DataError(
                f"{asked.validation_data} has labels up to {found - 1}, and {images.data} has the classes 0…{known - 1}: give a "
                "validation set of the same classes."
            )
    return Division(conditions, foreign, validation)
