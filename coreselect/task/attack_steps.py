"""The attack on the pool while a training loop selects: one step of the loss's own attack, unless another one is given.

    steps of 1.25·r/n, n of them, in the ball of the published attack (r = 8/255: one step of 10/255)

A ten-step attack makes a selection five times as long and picks nearly the same examples.
"""

from dataclasses import replace
from typing import TypeVar

from coreselect.attacks import PGD
from coreselect.task.recipe import ModelRecipe, Recipe

Given = TypeVar("Given", bound=Recipe)


def with_attack_steps(task: Given, steps: int | None) -> Given:
    """Return the task with so many steps of its loss's own attack; an attack that a user gave stays as it is.

    Args:
        steps: at least 0; None leaves all of them.
    """
    if steps is None or not isinstance(task, ModelRecipe) or task.attack_given or not isinstance(task.attack, PGD):
        return task
    radius = task.attack.radius
    return replace(task, attack=replace(task.attack, step=1.25 * radius / max(1, steps) or 1.0, steps=steps))
