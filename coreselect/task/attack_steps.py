"""The attack on the pool while a training loop selects: one step of the loss's own attack, unless another one is given.

    steps of 1.25·r/n, n of them, in the ball of the published attack (r = 8/255: one step of 10/255)

A ten-step attack makes a selection five times as long and picks nearly the same examples.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from coreselect.attacks import PGD, short_step
from coreselect.objectives.following import changed
from coreselect.support.records import settings_of
from coreselect.task.recipe import ModelRecipe, Recipe

Given = TypeVar("Given", bound=Recipe)


def with_attack_steps(task: Given, steps: int | None) -> Given:
    """Return the task with so many steps of its loss's own attack; an attack that a user gave stays as it is.

    Args:
        steps: at least 0; None leaves all of them.
    """
    if steps is None or not isinstance(task, ModelRecipe) or task.attack_given or not isinstance(task.attack, PGD):
        return task
    return replace(task, attack=changed(task.attack, step=short_step(task.attack.radius, steps), steps=steps))


def with_recorded_steps(task: Any, recorded: Any) -> Any:
    """Return the task with as many steps as the attack of a selection had, where a sampler has shortened the loss's own.

    Args:
        recorded: the attack in the provenance of the selection.
    """
    if not isinstance(task, ModelRecipe) or not isinstance(recorded, Mapping) or settings_of(task.attack) == recorded:
        return task
    steps = recorded.get("steps")
    return with_attack_steps(task, steps) if type(steps) is int else task
