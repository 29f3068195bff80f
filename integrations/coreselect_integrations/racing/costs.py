"""What the runs of a race cost: the first batches of each effort are timed, and a batch of each method's selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from coreselect.errors import RequirementError
from coreselect.objectives.following import parts
from coreselect_integrations.comparison.cell_files import write_json
from coreselect_integrations.comparison.statistics import FULL
from coreselect_integrations.pretraining.forecast import forecast, seconds_of_an_image
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.side_filter import SideFiltered, side_settings
from coreselect_integrations.racing.arms import Arm, attacked
from coreselect_integrations.racing.dealt import dealt
from coreselect_integrations.racing.judging import STEPS
from coreselect_integrations.racing.plan import Cost
from coreselect_integrations.racing.record_checks import believed, why_no_costs
from coreselect_integrations.racing.setting import Images, Place, Race

COSTS = "costs.json"
OVERHEAD = 1.1  # an epoch costs more than its batches: orders, records and saving; until a run has been measured
BATCHES = 6  # timed for each effort; the first warms up


def costs_of(race: Race, images: Images, place: Place) -> dict[Arm, Cost]:
    """Return what each arm costs, measured once for all processes; the file in the folder of the race keeps it.

    Raises:
        RequirementError: the pool is a single batch, so nothing can be timed.
        DataError: the file cannot be believed.
    """
    path = place.folder / COSTS
    for _ in dealt(["costs"], place.folder, lambda _: path.exists(), place.pause):
        write_json(path, _measured(race, images, place))
    efforts = sorted({arm.effort.words for arm in race.arms})
    kinds = sorted({_kind(arm) for arm in race.arms if arm.method != FULL})
    with_side = {arm for arm in race.arms if _has_side_model(arm, race)}
    others = ("judging", "side") if with_side else ("judging",)
    known = believed(
        path, lambda held: why_no_costs(held, efforts, kinds, others), "remove it, and the costs are timed again"
    )
    return {
        arm: arm.cost(
            race.settings, len(images.pool), OVERHEAD * known["image"][arm.effort.words],
            known["selection"].get(_kind(arm), 0.0), known["judging"], known["side"] if arm in with_side else 0.0,
        )
        for arm in race.arms
    }  # fmt: skip


def _kind(arm: Arm) -> str:
    """Return what tells the cost of an arm's selection: efforts differ in training alone."""
    return f"{arm.method} {arm.fraction:g}"


def _measured(race: Race, images: Images, place: Place) -> Mapping[str, Any]:
    """Time the first batches of each effort, and the selections."""
    efforts = {arm.effort.words: arm.effort for arm in race.arms}
    image = {words: _seconds(attacked(race.settings, effort), images, place) for words, effort in efforts.items()}
    selection: dict[str, float] = {}
    for arm in race.arms:
        if arm.method == FULL or _kind(arm) in selection:
            continue
        selector = arm.selector(race.settings)
        selection[_kind(arm)] = 0.0
        if selector is not None and selector.requires - {"labels"} and place.image_seconds is None:
            own = replace(attacked(race.settings, arm.effort), fraction=arm.fraction)
            known = forecast(
                own, images.pool, images.validation, selector=selector, image_seconds=image[arm.effort.words],
                **place.where,
            )  # fmt: skip
            plan = known.selection
            selection[_kind(arm)] = 0.0 if plan is None else plan.total_seconds or 0.0
    # an image that is judged costs at most as many passes as the steps, an image in training those of its attack and one more
    step = min(seconds / (efforts[words].steps + 1) for words, seconds in image.items())
    side = 0.0
    if any(_has_side_model(arm, race) for arm in race.arms):
        plain = side_settings(race.settings.seed)
        side = len(images.pool) * plain.epochs * OVERHEAD * _seconds(plain, images, place)
    return {"image": image, "selection": selection, "judging": len(images.judged) * (STEPS + 1) * step, "side": side}


def _has_side_model(arm: Arm, race: Race) -> bool:
    """Say whether a run of the arm trains a side model before its first selection."""
    return any(isinstance(part, SideFiltered) for part in parts(arm.selector(race.settings)))


def _seconds(settings: Settings, images: Images, place: Place) -> float:
    """Return the seconds of training on one image.

    Raises:
        RequirementError: the pool is a single batch.
    """
    if place.image_seconds is not None:
        return place.image_seconds(settings)
    least = max(2, min(BATCHES, len(images.pool) // settings.batch_size))
    found = seconds_of_an_image(settings, images.pool, images.validation, batches=least, **place.where)
    if not found:
        raise RequirementError(
            f"a pool of {len(images.pool):,} images is a single batch of {settings.batch_size}, so no batch can be timed: lower "
            "--batch-size."
        )
    return found
