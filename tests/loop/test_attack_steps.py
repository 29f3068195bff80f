"""The attack on the pool while a sampler selects."""

from dataclasses import replace
from typing import Any

import cases
import pytest

from coreselect import CoresetSampler
from coreselect.attacks import PGD
from coreselect.errors import ScheduleError


def used(task: Any, **settings: Any) -> PGD:
    """The attack with which a sampler selects."""
    sampler = CoresetSampler(task, cases.rcs(), 6, warmup=0, **settings)
    sampler.set_epoch(0)
    assert sampler.selection is not None
    assert sampler.task is task
    own = sampler.selection.provenance.task["attack"]
    return PGD(own["radius"], own["step"], own["steps"])


def test_a_sampler_selects_under_one_step_of_the_attack_of_the_loss() -> None:
    """1¼ radii in one step; None takes the published attack, and a number of steps has the same length in all."""
    task = cases.sat_task(attack=None)
    assert used(task) == PGD(8 / 255, 10 / 255, 1)
    assert used(task, select_attack_steps=4) == PGD(8 / 255, 2.5 / 255, 4)
    assert used(task, select_attack_steps=None) == task.loss.default_attack == PGD(8 / 255, 2 / 255, 10)


def test_an_attack_that_was_given_is_used_as_it_is() -> None:
    """Also where a loop gives the sampler another task, and where it equals the published one."""
    assert used(cases.sat_task()) == cases.WEAK
    assert used(cases.sat_task(attack=PGD(8 / 255, 2 / 255, 10))) == PGD(8 / 255, 2 / 255, 10)
    sampler = CoresetSampler(cases.sat_task(), cases.rcs(), 6, warmup=0)
    sampler.task = replace(cases.sat_task(attack=None))
    sampler.set_epoch(0)
    assert sampler.selection is not None
    assert sampler.selection.provenance.task["attack"]["steps"] == 1


@pytest.mark.parametrize("steps", [-1, 1.5, "full"])
def test_a_number_of_steps_is_a_whole_number(steps: Any) -> None:
    """Anything else is refused when the sampler is made."""
    with pytest.raises(ScheduleError, match="select_attack_steps"):
        CoresetSampler(cases.sat_task(), cases.rcs(), 6, select_attack_steps=steps)
