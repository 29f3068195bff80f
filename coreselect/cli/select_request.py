"""What a command line of `coreselect select` asks for, and the work that it comes to."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coreselect.cli.options import (
    AttackOptions,
    ConditionOptions,
    MachineOptions,
    PoolOptions,
    RcsOptions,
    WarmupOptions,
)
from coreselect.cli.select_options import ArrayOptions, MethodOptions, ModelOptions, PassOptions, WorkOptions
from coreselect.data.conditions import ImpurePool
from coreselect.task.task import Task


@dataclass(frozen=True)
class Request:
    """What a command line of `coreselect select` asks for."""

    files: Mapping[str, Path | None]  # method -> index file
    pool: PoolOptions
    budget: float
    method: MethodOptions
    rcs: RcsOptions
    warmup: WarmupOptions
    model: ModelOptions
    attack: AttackOptions
    passes: PassOptions
    seed: int
    machine: MachineOptions
    work: WorkOptions
    arrays: ArrayOptions
    conditions: ConditionOptions = field(default_factory=ConditionOptions)

    @property
    def radius(self) -> float:
        """The radius of all attacks, where no trained network says another."""
        return 8 / 255 if self.attack.radius is None else self.attack.radius


@dataclass(frozen=True)
class Work:
    """The task of a request, with the dataset and a record of the model, and the radius of attacks; None and nothing for arrays.

    `warm_up` are the seconds that a warm-up would take, in a dry run; `held` says which images are for validation, `conditions`
    what is wrong with the pool, which is `impure` then.
    """

    task: Task
    dataset: Any
    model: Mapping[str, Any]
    radius: float
    warm_up: float | None = None
    held: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    impure: ImpurePool | None = None


def without_warm_up(request: Request) -> Request:
    """Return the request without the warm-up, and without the file of its weights."""
    model = replace(request.model, save_model=None)
    return replace(request, warmup=replace(request.warmup, warmup_epochs=0), model=model)
