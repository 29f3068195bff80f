"""The arms of a race: a method, its share of the pool, and the effort of its training attack; and the runs that they become."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from coreselect import Selector
from coreselect.budget import resolve
from coreselect.errors import RequirementError
from coreselect_integrations.comparison.methods import selector_for, settings_for, split_effort
from coreselect_integrations.comparison.statistics import FULL
from coreselect_integrations.pretraining.efforts import with_effort
from coreselect_integrations.pretraining.forecast import how_often
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.racing.plan import Cost, Length
from coreselect_integrations.training.effort import STARTS, Effort

WARM = 0.2  # share of a run's time on the whole pool, before a method that reads the model selects for the first time


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to use the time: `method` is in the words of `comparison.methods`, or `full` for the whole pool."""

    method: str
    fraction: float
    effort: Effort

    @property
    def name(self) -> str:
        """What it is called in tables, such as `rs2 0.1 1x1.5`."""
        part = "" if self.method == FULL else f" {self.fraction:g}"
        return f"{self.method}{part} {self.effort.words}"

    @property
    def folder(self) -> str:
        """The name of its folder, valid in any file system."""
        return re.sub(r"[^\w.+=-]", "_", self.name)

    def selector(self, template: Settings) -> Selector | None:
        """Make its method; None trains on the whole pool."""
        return None if self.method == FULL else selector_for(self.method, attacked(template, self.effort))

    def settings(self, template: Settings, length: Length, seed: int) -> Settings:
        """Return the settings of a run: those of the template, with curve and schedule of this length."""
        own = attacked(template.scaled_to(length.epochs), self.effort)
        if self.method != FULL:
            own = settings_for(self.method, own)
        warmup, every = (length.epochs, 1) if self.method == FULL else (length.warmup, length.every)
        return replace(
            own, seed=seed, fraction=self.fraction, warmup=warmup, every=every, align="warmup",
            lr_warmup=min(own.lr_warmup, length.epochs // 4),
        )  # fmt: skip

    def cost(
        self, template: Settings, pool: int, image: float, selection: float, judging: float, once: float = 0.0
    ) -> Cost:
        """Return what its runs cost.

        Args:
            template: its ratio of epochs after the warm-up to those between selections is the number of selections.
            pool: images in the pool.
            image, selection, judging: seconds of training on an image, of a selection, and of judging.
            once: seconds before the first selection of a run, such as those of a side model.
        """
        selector = self.selector(template)
        if selector is None:
            return Cost(pool, None, image, judging=judging)
        rounds = max(1, round((template.epochs - template.warmup) / template.every))
        return Cost(
            pool, resolve(self.fraction, pool), image, selection,
            {"never": 1, "round": rounds, "epoch": None}[how_often(selector)],
            WARM if selector.requires - {"labels"} else 0.0, judging, once=once,
        )  # fmt: skip


def attacked(template: Settings, effort: Effort) -> Settings:
    """Return the settings with the attack of an arm, which is within the judged radius where the effort has no factor."""
    return with_effort(template, replace(effort, factor=effort.factor or 1.0))


def arms_of(
    methods: Sequence[str], fractions: Sequence[float], efforts: Sequence[Effort], start: str = STARTS[0]
) -> list[Arm]:
    """Return every combination, each once, the cheaper attacks first; at fraction 1 all methods are one arm, called `full`.

    A method with an effort of its own, such as `rs2@1x1.5`, is raced with that alone.

    Args:
        start: of the run, which an effort need not name.
    Raises:
        RequirementError: the effort of a method cannot be read, or two arms have one name.
    """
    found = []
    for effort in sorted(efforts, key=lambda e: e.steps):
        for fraction in sorted(fractions):
            for plain, own in map(split_effort, methods):
                told = own or effort
                told = replace(told, factor=None) if told.factor == 1 else told  # `5x1` and `5` are one attack
                told = replace(told, start=None) if told.start == start else told
                found.append(Arm(FULL if fraction == 1 else plain, fraction, told))
    arms = sorted(dict.fromkeys(found), key=lambda arm: arm.effort.steps)
    names = [arm.name for arm in arms]
    if len(twice := {name for name in names if names.count(name) > 1}):
        raise RequirementError(f"two arms are called {min(twice)!r}: numbers that differ after six digits are one arm.")
    return arms
