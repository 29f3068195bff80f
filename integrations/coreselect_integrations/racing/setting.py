"""What a race is given: what is raced, for how long, on which images, and where and how its processes work."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch

from coreselect.io.fingerprint import fingerprint
from coreselect.protocols import Progress
from coreselect.support.records import digest_of
from coreselect_integrations.networks import Saved
from coreselect_integrations.pretraining.division import PLAIN
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.racing.arms import Arm
from coreselect_integrations.racing.plan import Budget, Cost


@dataclass(frozen=True, slots=True)
class Race:
    """What is raced.

    Args:
        settings: of every run but for its length, part of the pool and attack; their radius is the judged one.
        arms: what is raced; each trains whole in rung 0.
        budget: the time.
        judged: labelled images on which the networks are judged, a share below 1 or a count.
        start: weights with which every run begins; None draws them.
    """

    settings: Settings
    arms: Sequence[Arm]
    budget: Budget
    judged: float = 0.1
    start: Saved | None = None

    def terms(self, train: Any) -> dict[str, Any]:
        """Return the JSON values that a folder is continued with only."""
        own = asdict(self.settings)
        begun = {} if self.start is None else {"weights": digest_of(self.start.weights, 8)}
        return {
            **{name: own[name] for name in own if name != "fraction"}, "milestones": list(self.settings.milestones),
            "arms": [arm.name for arm in self.arms], **asdict(self.budget), "judged": self.judged, **begun,
            "data": fingerprint(train),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Images:
    """The images of a race: those that are trained on, those whose RD a selector reads, and those that judge."""

    pool: Any
    validation: Any
    judged: Any

    @classmethod
    def of(cls, race: Race, train: Any) -> Self:
        """Split the training images.

        Raises:
            BudgetError: one part would be empty.
        """
        s = race.settings
        rest, judged = PLAIN.split(train, race.judged, s.seed)
        pool, validation = PLAIN.split(rest, s.validation, s.seed)
        return cls(pool, validation, judged)


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how a race runs; nothing here changes what a run of a given length ends with.

    Args:
        folder: of the race.
        device: None is the CPU.
        num_workers, timeout, select_batch_size, progress: see `pretrain`.
        clock: seconds since a moment that all processes of the race share.
        pause: waits so many seconds.
        image_seconds: (settings) → seconds of training on one image; None times the first batches.
        costed: called with (the cost of each arm, seconds spent) when they are known.
        planned: called with (rung, arms by name → their `length`, `seconds` and `judging`) when a rung is planned or found planned.
        began: called with (rung, name) before a run; the rung of the last training is None.
        ended: called with the record of each run that has ended here.
    """

    folder: Path
    device: torch.device | str | None = None
    num_workers: int = 0
    timeout: float = 0
    select_batch_size: int = 256
    progress: Progress | None = None
    clock: Callable[[], float] = time.time
    pause: Callable[[float], None] = time.sleep
    image_seconds: Callable[[Settings], float] | None = None
    costed: Callable[[Mapping[Arm, Cost], float], None] | None = None
    planned: Callable[[int, Mapping[str, Any]], None] | None = None
    began: Callable[[int | None, str], None] | None = None
    ended: Callable[[Mapping[str, Any]], None] | None = None

    @property
    def where(self) -> dict[str, Any]:
        """The arguments of `pretrain` that say where and how."""
        return {
            "num_workers": self.num_workers, "timeout": self.timeout, "select_batch_size": self.select_batch_size,
            "device": self.device,
        }  # fmt: skip
