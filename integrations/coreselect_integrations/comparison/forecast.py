"""What a comparison will cost, before it begins: a forecast for every kind of cell, times its seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from coreselect_integrations.comparison.plan import Cell, Runtime, Study, cells
from coreselect_integrations.comparison.statistics import FULL, WARM
from coreselect_integrations.pretraining.efforts import with_steps
from coreselect_integrations.pretraining.forecast import Forecast, forecast, seconds_of_an_image, updates_of
from coreselect_integrations.pretraining.settings import Settings


@dataclass(frozen=True, slots=True)
class CellForecast:
    """What each of `count` cells of a method and a share costs, one for each seed, without the shared warm-up."""

    method: str
    fraction: float | None
    count: int
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class StudyForecast:
    """What a comparison costs; of `count` cells, those `at_equal_time` have no forecast of their own.

    Each of these trains as long as the slowest method of its share at equal epochs. An image of training costs
    `update_seconds`, and `step_seconds` for each attack step; None where nothing was timed or attacked.
    """

    cells: tuple[CellForecast, ...]
    count: int
    at_equal_time: int
    update_seconds: float | None = None
    step_seconds: float | None = None

    @property
    def total_seconds(self) -> float | None:
        """The seconds of training and selecting in all cells, or None where nothing was timed."""
        timed = [(c, s) for c in self.cells if (s := c.forecast.total_seconds) is not None]
        if not timed:
            return None
        total = sum(c.count * s for c, s in timed)
        if self.at_equal_time:
            methods = [(c, s) for c, s in timed if c.fraction is not None]
            slowest = [max(s for other, s in methods if other.fraction == c.fraction) * c.count for c, _ in methods]
            total += sum(slowest)
        return total

    def affordable(self, cell: CellForecast) -> float | None:
        """Return fraction × epochs that a line can train at the time of the slowest of its share: passes over the pool."""
        mine = cell.forecast.total_seconds
        if cell.fraction is None or not mine:
            return None
        longest = max(c.forecast.total_seconds or 0.0 for c in self.cells if c.fraction == cell.fraction)
        return cell.fraction * int(cell.forecast.epochs * longest / mine)


MORE_STEPS = 4  # of the attack, between the two runs that tell the cost of one


def seconds_by_part(settings: Settings, *data: Any, **where: Any) -> tuple[float | None, float | None]:
    """Return the seconds of an image's update and of an attack step on it, from the first batches of two short runs."""
    attack = settings.attack
    if attack is None:
        return seconds_of_an_image(settings, *data, **where), None
    few, many = (
        seconds_of_an_image(with_steps(settings, attack.steps + more), *data, **where) for more in (0, MORE_STEPS)
    )
    if few is None or many is None:
        return few, None
    step = min(max(0.0, many - few) / MORE_STEPS, few / max(1, attack.steps))
    return few - attack.steps * step, step


def forecast_study(study: Study, train: Any, runtime: Runtime) -> StudyForecast:
    """Say what a comparison will cost; finished cells that the folder holds are counted too.

    Raises:
        what the first cell would raise at once.
    """
    s = study.settings
    todo = list(cells(study))
    pool, validation = study.division.split(train, s.validation, study.seeds[0])
    where: dict[str, Any] = {
        "num_workers": runtime.num_workers, "timeout": runtime.timeout, "select_batch_size": runtime.select_batch_size,
        "device": runtime.device,
    }  # fmt: skip
    update, step = seconds_by_part(replace(s, seed=study.seeds[0]), pool, validation, **where)

    def kinds() -> Iterator[CellForecast]:
        for cell in dict.fromkeys(replace(c, seed=study.seeds[0]) for c in todo if c.equal == "epochs"):
            told = _of_cell(cell, study, pool, validation, (update, step), where)
            yield CellForecast(cell.method, cell.fraction, len(study.seeds), told)

    return StudyForecast(tuple(kinds()), len(todo), sum(c.equal == "time" for c in todo), update, step)


def _of_cell(
    cell: Cell,
    study: Study,
    pool: Any,
    validation: Any,
    parts: tuple[float | None, float | None],
    where: dict[str, Any],
) -> Forecast:
    update, step = parts
    own = study.settings if cell.method in (FULL, WARM) else study.own(cell.method, study.settings)
    own = replace(own, seed=cell.seed, fraction=own.fraction if cell.fraction is None else cell.fraction)
    seconds = update
    if update is not None and step is not None and own.attack is not None:
        seconds = update + own.attack.steps * step
    if cell.method == WARM:
        lengths = [len(pool)] * own.warmup
        return Forecast(own.warmup, updates_of(lengths, own), sum(lengths), 0, None, seconds)
    selector = None if cell.method == FULL else study.make(cell.method, own)
    return forecast(own, pool, validation, selector=selector, since=own.warmup, image_seconds=seconds, **where)
