"""The effort of a run's training attack: the settings of a run with another one, and whether it needs a guard."""

from dataclasses import replace

from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.systems import SYSTEMS
from coreselect_integrations.training.effort import Effort, usual_step

CHEAP = 2  # steps of an attack to which networks overfit catastrophically


def with_effort(settings: Settings, effort: Effort) -> Settings:
    """Return the settings of a run whose training attack has this effort; the size of a step follows from it."""
    radius = settings.attack_radius if effort.factor is None else effort.factor * settings.radius
    start = effort.start or settings.start
    return replace(
        settings, attack_steps=effort.steps, train_radius=None if radius == settings.radius else radius, start=start,
        step=usual_step(radius, effort.steps, start),
    )  # fmt: skip


def with_steps(settings: Settings, steps: int) -> Settings:
    """Return the settings with more steps of the training attack, each at most as long as before and 2½ radii in all.

    The steps of N-FGSM, which are not projected, keep their length in all.
    """
    size = settings.step * settings.attack_steps / steps
    if settings.start != "nfgsm":
        size = min(settings.step, usual_step(settings.attack_radius, steps))
    return replace(settings, attack_steps=steps, step=size)


def guarded(settings: Settings) -> bool:
    """Whether training is guarded: supervised systems with an attack, and a loop of ours."""
    system = SYSTEMS[settings.system]
    if not (system.supervised and system.attacked and settings.own_epoch is None and settings.attack_radius):
        return False
    return settings.attack_steps in range(1, CHEAP + 1) if settings.guard is None else settings.guard
