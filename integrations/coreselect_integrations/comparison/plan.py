"""The plan of a comparison: the settings that all cells share, the cells, and where they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from coreselect import Selector
from coreselect.io.file_names import file_name
from coreselect.protocols import Progress
from coreselect.support.records import digest_of
from coreselect_integrations.comparison.methods import selector_for, settings_for
from coreselect_integrations.comparison.statistics import FULL, WARM
from coreselect_integrations.networks import Saved
from coreselect_integrations.pretraining.division import PLAIN, Division
from coreselect_integrations.pretraining.settings import Settings

Make = Callable[[str, Settings], Selector]
Own = Callable[[str, Settings], Settings]
TRAINED = "trained"
CLOCKS = {"wall": "", "cpu": "cpu_"}  # clock → how the names of its seconds begin in the records of a run


@dataclass(frozen=True, slots=True)
class Finetuning:
    """How networks are fine-tuned for an evaluation; it is the same for all, so that only the network differs.

    Args:
        epochs, lr: of SGD in batches of 128.
        rows: the number of images, evenly spaced in the set; None means all.
        attack_steps: in modes with an attack; the steps are 2.5 radii long in all.
    """

    epochs: int = 5
    lr: float = 0.1
    rows: int | None = None
    attack_steps: int = 10


@dataclass(frozen=True, slots=True)
class EvaluationMode:
    """How a trained network is evaluated.

    `mode` is `trained` for a classifier as it is, or a mode of fine-tuning. `where` names the data: "" is the data of the
    comparison, and `alf@cifar100` fine-tunes and evaluates on another set.
    """

    mode: str
    where: str

    @classmethod
    def parse(cls, name: str) -> EvaluationMode:
        """Read `trained`, `alf` or `alf@cifar100`."""
        mode, _, where = name.partition("@")
        return cls(mode, where)


@dataclass(frozen=True, slots=True)
class Study:
    """What all cells share.

    Args:
        settings: of training; each cell has its own fraction, seed and, at equal time, epochs.
        methods: names of selectors, also with settings, in the form of `comparison.methods`: `rs2`, `rcs:capture=all`.
        fractions: shares of the pool, in (0, 1].
        seeds: each decides split, warm model, order, augmentation and random starts, the same for every method.
        equal: `epochs`, `time` or both; equal time also runs equal epochs, to know how long each method takes.
        full: whether to train on the whole pool too.
        judged: the evaluations, see `EvaluationMode`; contrastive networks need modes of fine-tuning.
        finetuning: of those modes.
        also: more accuracies of every network: `margin` (PGD-20 on the distance of the logits), `autoattack` (the standard
            version), `corruptions` (the mean of the 15, made of the test images).
        clock: the clock of all seconds: `wall`, or `cpu` for processor seconds, which other work on the machine hardly
            changes. Processor seconds include neither processes that read images nor a GPU.
        make: (name, settings) → the selector; in one folder, a name must always mean the same selector.
        own: (name, settings) → the settings of the method's run, with the same network, length and warm-up. Names that
            `comparison.methods` cannot read need `make` and `own`.
        division: how the images of each seed become pool and validation.
        start: weights with which every warm model begins, see `networks.started`; None draws them.
    """

    settings: Settings
    methods: Sequence[str]
    fractions: Sequence[float]
    seeds: Sequence[int]
    equal: Sequence[str] = ("epochs",)
    full: bool = True
    judged: Sequence[str] = (TRAINED,)
    finetuning: Finetuning = Finetuning()
    also: Sequence[str] = ()
    clock: str = "wall"
    make: Make = selector_for
    own: Own = settings_for
    start: Saved | None = None
    division: Division = PLAIN

    def reads_features(self, settings: Settings) -> bool:
        """Say whether a method selects from features that training has recorded, so that the warm-up has to record them too."""

        def reads(method: str) -> bool:
            try:
                return "recorded_features" in self.make(method, settings).requires
            except Exception:  # its own cell fails and says why; the warm-up is of all methods
                return False

        return any(map(reads, self.methods))

    def terms(self) -> dict[str, Any]:
        """Return the JSON values that every cell depends on; cells with other values cannot be compared."""
        own = asdict(self.settings)
        for replaced in ("seed", "fraction"):
            own.pop(replaced)
        more: dict[str, Any] = {"also": list(self.also)} if self.also else {}
        tuning = {} if set(self.judged) == {TRAINED} else {"finetuning": asdict(self.finetuning)}
        if self.start is not None:
            more["weights"] = digest_of(self.start.weights, 8)
        more |= self.division.record()
        return {
            **own, "milestones": list(self.settings.milestones), "judged": list(self.judged), "clock": self.clock, **tuning, **more,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One training: by a method, or without a fraction: `full` on the whole pool, or `warm` for only the warm-up."""

    method: str
    fraction: float | None
    seed: int
    equal: str = "epochs"

    @property
    def name(self) -> str:
        """The name of its folder, valid in any file system."""
        method = file_name(self.method)
        part = "" if self.fraction is None else f"-{self.fraction:g}"
        return f"{method}{part}-seed{self.seed}" + ("" if self.equal == "epochs" else f"-{self.equal}")


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where and how cells run; nothing here changes a result.

    Args:
        folder: of the comparison.
        device: None is the CPU.
        num_workers, timeout, select_batch_size, progress: see `pretrain`.
        began: called with (cell, cells done, cells in all) before each cell.
        ended: called with (record, whether the cell was run now) after each cell.
    """

    folder: Path
    device: torch.device | str | None = None
    num_workers: int = 0
    timeout: float = 0
    select_batch_size: int = 256
    progress: Progress | None = None
    began: Callable[[Cell, int, int], None] | None = None
    ended: Callable[[dict[str, Any], bool], None] | None = None


def cells(study: Study) -> Iterator[Cell]:
    """Yield all cells, seed by seed; those at equal epochs come before those at equal time."""
    for equal in ("epochs", *(e for e in study.equal if e != "epochs")):
        for seed in study.seeds:
            if equal == "epochs":
                yield Cell(WARM, None, seed)
                if study.full:
                    yield Cell(FULL, None, seed)
            for fraction in study.fractions:
                for method in study.methods:
                    yield Cell(method, fraction, seed, equal)
