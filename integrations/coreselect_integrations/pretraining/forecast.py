"""What a training run will cost, before it begins: counts that follow from the settings, and seconds from its first batches.

The run itself is started in a folder that is thrown away, and stopped after a few batches of training, or in its first
selection, where the plan of the selector takes the place of the selection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch

from coreselect import Plan, Selector, plan
from coreselect.budget import resolve
from coreselect.selectors import Filtered, PerClass
from coreselect.types import Selection
from coreselect_integrations.pretraining.run import pretrain
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.side_filter import SideFiltered
from coreselect_integrations.training.batches import NonSingletonBatches

TIMED_BATCHES = 3  # the first warms up


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run will cost.

    Attributes:
        epochs, updates: in all.
        images: that the updates see, those of every epoch counted again.
        selections: how many there will be.
        selection: the plan of one of them; None without a selector.
        image_seconds: of training, for one image; None where nothing was timed.
    """

    epochs: int
    updates: int
    images: int
    selections: int
    selection: Plan | None
    image_seconds: float | None

    @property
    def training_seconds(self) -> float | None:
        """The seconds of all updates."""
        return None if self.image_seconds is None else self.images * self.image_seconds

    @property
    def selecting_seconds(self) -> float:
        """The seconds of all selections, as far as their plan knows them."""
        return 0.0 if self.selection is None else self.selections * (self.selection.total_seconds or 0.0)

    @property
    def total_seconds(self) -> float | None:
        """The seconds of training and selecting."""
        return None if self.training_seconds is None else self.training_seconds + self.selecting_seconds


def forecast(
    settings: Settings,
    pool: Any,
    validation: Any,
    *,
    selector: Selector | None = None,
    since: int = 0,
    image_seconds: float | None = None,
    **where: Any,
) -> Forecast:
    """Say what a run will cost.

    Args:
        settings, pool, validation, selector: of the run, see `pretrain`.
        since: epochs that are done before, and not counted.
        image_seconds: of training, where they are known already; else the first batches are trained on, and timed.
        where: the other arguments of `pretrain` that decide how fast it is.
    Raises:
        what `pretrain` raises at once.
    """
    n, first = len(pool), settings.epochs if selector is None else settings.first_selection
    coreset = where.get("coreset")
    lengths = [n if e < first else resolve(settings.fraction, n) for e in range(since, settings.epochs)]
    if coreset is not None:  # it is trained on from the first epoch on
        lengths = [len(coreset)] * (settings.epochs - since)
    rounds = 0 if selector is None else _rounds(selector, settings)
    if image_seconds is None:
        image_seconds = seconds_of_an_image(settings, pool, validation, **where)
    told = None if selector is None else _plan(settings, pool, validation, selector, **where)
    return Forecast(len(lengths), updates_of(lengths, settings), sum(lengths), rounds, told, image_seconds)


def updates_of(lengths: Sequence[int], settings: Settings) -> int:
    """Return the number of updates in epochs of so many images."""
    return sum(len(NonSingletonBatches(range(k), settings.batch_size)) for k in lengths)  # type: ignore[arg-type]  # it has a length


def _rounds(selector: Selector, settings: Settings) -> int:
    """Return how many selections the run makes."""
    chosen = settings.epochs - settings.first_selection  # epochs on a coreset
    return {"never": 1, "round": -(-chosen // settings.every), "epoch": chosen}[how_often(selector)]


def how_often(selector: Selector) -> str:
    """Return when a selector reads the model or the pool anew: `never`, in each `round` of the sampler, or in each `epoch`.

    A balance by clusters and a filter by losses keep what they have read for a round, also around draws of every epoch.
    """
    around = isinstance(selector, PerClass | Filtered | SideFiltered)
    drawn = around and not selector.selector.requires - {"labels"}
    return "round" if selector.renew == "epoch" and selector.requires - {"labels"} and drawn else selector.renew


class _Enough(Exception):
    """The forecast knows what it needs."""


@contextmanager
def _until_enough() -> Iterator[str]:
    """Give a folder for a run that is stopped by `_Enough`, and throw it away."""
    with TemporaryDirectory() as folder:
        try:
            yield folder
        except _Enough:
            return


def seconds_of_an_image(
    settings: Settings, pool: Any, validation: Any, *, batches: int = TIMED_BATCHES, **where: Any
) -> float | None:
    """Train on the first `batches`, and return the seconds of one image; None if the run has a single batch."""
    marks: list[tuple[float, int]] = []  # when a batch has ended, and its images
    last = {"part": "", "done": 0}

    def mark(part: str, done: int, total: int) -> None:
        if not part.startswith("epoch "):
            return
        marks.append((perf_counter(), done - (last["done"] if part == last["part"] else 0)))  # type: ignore[operator]
        last.update(part=part, done=done)
        if len(marks) == batches:
            raise _Enough

    with _until_enough() as folder:
        pretrain(settings, pool, validation, folder, progress=mark, **where)
    images = sum(size for _, size in marks[1:])
    return (marks[-1][0] - marks[0][0]) / images if images else None


@dataclass(frozen=True)
class _Planning:
    """A selector that plans what another would do, and ends the run."""

    inner: Selector
    found: list[Plan]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)  # what it requires, attacks and costs

    def select(self, task: Any, budget: Any, *, generator: torch.Generator, round: int = 0) -> Selection:
        self.found.append(plan(task, self.inner, budget, generator.initial_seed(), round=round))
        raise _Enough


def _plan(settings: Settings, pool: Any, validation: Any, selector: Selector, **where: Any) -> Plan:
    """Return the plan of the selections of a run."""
    found: list[Plan] = []
    at_once = replace(settings, warmup=0)
    with _until_enough() as folder:
        pretrain(at_once, pool, validation, folder, selector=_Planning(selector, found), **where)  # type: ignore[arg-type]
    return found[0]
