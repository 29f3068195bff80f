"""What is compared: the settings that all cells share, the cells, and where they run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from coreselect import Selector
from coreselect.protocols import Progress
from coreselect_integrations.comparison.methods import selector_for, settings_for
from coreselect_integrations.comparison.statistics import FULL, WARM
from coreselect_integrations.pretraining.settings import Settings

Make = Callable[[str, Settings], Selector]
Own = Callable[[str, Settings], Settings]
TRAINED = "trained"
CLOCKS = {"wall": "", "cpu": "cpu_"}  # which seconds of a run's records count


@dataclass(frozen=True, slots=True)
class Finetuning:
    """How a network is fine-tuned to be judged: the same for all, so that what differs is the network.

    Args:
        epochs, lr: of SGD in batches of 128.
        rows: how many images, spread evenly over the set; None: all.
        attack_steps: of the modes with an attack, 2.5 radii in all.
    """

    epochs: int = 5
    lr: float = 0.1
    rows: int | None = None
    attack_steps: int = 10


@dataclass(frozen=True, slots=True)
class Judged:
    """One way of judging: `trained`, a classifier as it is, or a mode of fine-tuning; `alf@cifar100` does it on another set."""

    mode: str
    where: str

    @classmethod
    def named(cls, name: str) -> Judged:
        """Read `trained`, `alf` or `alf@cifar100`."""
        mode, _, where = name.partition("@")
        return cls(mode, where)


@dataclass(frozen=True, slots=True)
class Study:
    """What all cells share.

    Args:
        settings: of training; each cell replaces fraction, seed and, at equal time, epochs.
        methods: names of selectors, with settings of their own as `methods` reads them: `rs2`, `rcs:capture=all`.
        fractions: shares of the pool, in (0, 1].
        seeds: each decides split, warm model, order, augmentation and random starts, the same for every method.
        equal: `epochs`, `time` or both; equal time runs equal epochs first, to know what each method takes.
        full: whether to train on the whole pool, too.
        judged: what is evaluated, as `Judged` reads it; contrastive networks need modes of fine-tuning.
        finetuning: of those modes.
        clock: whose seconds count, everywhere: of the `wall`, or of the processor (`cpu`), to which a machine that others use
            adds little; neither processes that read images nor a GPU are in it.
        make: (name, settings) → the method; in one folder a name stands for one method.
        own: (name, settings) → the settings of the run that it serves, of the same network, length and warm-up; names that are
            no words of `methods` need one, too.
    """

    settings: Settings
    methods: Sequence[str]
    fractions: Sequence[float]
    seeds: Sequence[int]
    equal: Sequence[str] = ("epochs",)
    full: bool = True
    judged: Sequence[str] = (TRAINED,)
    finetuning: Finetuning = Finetuning()
    clock: str = "wall"
    make: Make = selector_for
    own: Own = settings_for

    def terms(self) -> dict[str, Any]:
        """Return what every cell depends on, in values that JSON holds: cells under other terms do not compare."""
        own = asdict(self.settings)
        for replaced in ("seed", "fraction"):
            own.pop(replaced)
        tuning = {} if set(self.judged) == {TRAINED} else {"finetuning": asdict(self.finetuning)}
        return {
            **own, "milestones": list(self.settings.milestones), "judged": list(self.judged), "clock": self.clock, **tuning,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One training: a method, or `full` for the whole pool, or `warm` for the warm model as it is, with no fraction."""

    method: str
    fraction: float | None
    seed: int
    equal: str = "epochs"

    @property
    def name(self) -> str:
        """A name for its folder, which any file system takes."""
        method = re.sub(r"[^\w.+=-]", "_", self.method)
        part = "" if self.fraction is None else f"-{self.fraction:g}"
        return f"{method}{part}-seed{self.seed}" + ("" if self.equal == "epochs" else f"-{self.equal}")


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
