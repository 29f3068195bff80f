"""What is compared: the settings that all cells share, the cells, and where they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from coreselect import Selector
from coreselect.protocols import Progress
from coreselect_integrations.comparison.statistics import FULL, WARM
from coreselect_integrations.pretraining import selector_for
from coreselect_integrations.systems import Settings

Make = Callable[[str, Settings], Selector]


@dataclass(frozen=True, slots=True)
class Study:
    """What all cells share.

    Args:
        settings: of training; each cell replaces fraction, seed and, at equal time, epochs.
        methods: names of selectors.
        fractions: shares of the pool, in (0, 1].
        seeds: each decides split, warm model, order, augmentation and random starts, the same for every method.
        equal: `epochs`, `time` or both; equal time runs equal epochs first, to know what each method takes.
        full: whether to train on the whole pool, too.
        judged: what is evaluated: `trained` (a classifier as it is), or modes of fine-tuning, which contrastive networks need.
        tuning_epochs, tuning_lr: of those modes, in batches of 128.
        make: (name, settings) → the method.
    """

    settings: Settings
    methods: Sequence[str]
    fractions: Sequence[float]
    seeds: Sequence[int]
    equal: Sequence[str] = ("epochs",)
    full: bool = True
    judged: Sequence[str] = ("trained",)
    tuning_epochs: int = 5
    tuning_lr: float = 0.1
    make: Make = selector_for

    def terms(self) -> dict[str, Any]:
        """Return what every cell depends on, in values that JSON holds: cells under other terms do not compare."""
        own = asdict(self.settings)
        for replaced in ("seed", "fraction"):
            own.pop(replaced)
        tuned = [judged for judged in self.judged if judged != "trained"]
        tuning = {"tuning_epochs": self.tuning_epochs, "tuning_lr": self.tuning_lr} if tuned else {}
        return {**own, "milestones": list(self.settings.milestones), "judged": list(self.judged), **tuning}


@dataclass(frozen=True, slots=True)
class Cell:
    """One training: a method, or `full` for the whole pool, or `warm` for the warm model as it is, with no fraction."""

    method: str
    fraction: float | None
    seed: int
    equal: str = "epochs"

    @property
    def name(self) -> str:
        """A name for its folder."""
        part = "" if self.fraction is None else f"-{self.fraction:g}"
        return f"{self.method}{part}-seed{self.seed}" + ("" if self.equal == "epochs" else f"-{self.equal}")


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where and how cells run; none of it is a setting.

    Args:
        folder: of the comparison.
        device: None is the CPU.
        num_workers, select_batch_size, progress: as `pretrain` takes them.
        began: called with (cell, cells done, cells in all) before each cell.
        ended: called with (record, whether it was run now) after each.
    """

    folder: Path
    device: torch.device | str | None = None
    num_workers: int = 0
    select_batch_size: int = 256
    progress: Progress | None = None
    began: Callable[[Cell, int, int], None] | None = None
    ended: Callable[[dict[str, Any], bool], None] | None = None


def cells(study: Study) -> Iterator[Cell]:
    """Yield all cells: those at equal epochs before those at equal time, seed by seed."""
    for equal in ("epochs", *(e for e in study.equal if e != "epochs")):
        for seed in study.seeds:
            if equal == "epochs":
                yield Cell(WARM, None, seed)
                if study.full:
                    yield Cell(FULL, None, seed)
            for fraction in study.fractions:
                for method in study.methods:
                    yield Cell(method, fraction, seed, equal)
