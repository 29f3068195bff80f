"""A forecast counts what the run then does, times its first batches, and leaves nothing behind."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import images, tiny

from coreselect import Selection, get_selector
from coreselect.attacks import PGD
from coreselect.objectives import RD
from coreselect.selectors import RCS
from coreselect_integrations.comparison import Runtime, Study
from coreselect_integrations.comparison.forecast import forecast_study
from coreselect_integrations.pretraining.coreset_file import CORESET
from coreselect_integrations.pretraining.forecast import forecast
from coreselect_integrations.pretraining.run import pretrain
from coreselect_integrations.pretraining.settings import Settings

pytest.importorskip("kornia")
RDS = RCS(objective=RD("kl", attack=PGD(8 / 255, 10 / 255, 1)))


@pytest.mark.parametrize(
    ("system", "selector", "changes"),
    [
        ("sat", RDS, {"every": 2, "epochs": 4}),
        ("acl", RDS, {}),
        ("standard", get_selector("rs2"), {"align": "absolute", "every": 2, "epochs": 4}),
        ("standard", get_selector("random"), {}),
        ("sat", None, {}),
    ],
)
def test_a_forecast_counts_what_a_run_does(system: str, selector: Any, changes: dict[str, Any], tmp_path: Path) -> None:
    """Epochs, updates, images and selections are those of the run; seconds are above 0; no random state moves."""
    settings, pool, held = tiny(system, **changes), images(49), images(20, seed=8)
    before = torch.random.get_rng_state()
    told = forecast(settings, pool, held, selector=selector)
    assert torch.equal(torch.random.get_rng_state(), before)
    records = pretrain(settings, pool, held, tmp_path, selector=selector).records
    assert told.epochs == len(records)
    assert told.updates == sum(r["updates"] for r in records)
    assert told.images == sum(r["examples"] for r in records)
    last = None if selector is None else Selection.load(tmp_path / CORESET).provenance.round
    assert told.selections == (0 if last is None else last + 1)
    assert told.total_seconds is not None
    assert told.total_seconds > 0
    assert (told.selection is None) == (selector is None)
    if selector is RDS:
        assert told.selection is not None
        assert told.selection.forward_passes > 49


def test_a_stored_coreset_is_trained_on_in_every_epoch(tmp_path: Path) -> None:
    """Images and updates of the forecast are those of the run, which has no epoch on the whole pool."""
    settings, pool, held = tiny("standard"), images(49), images(20, seed=8)
    pretrain(settings, pool, held, tmp_path / "a", selector=get_selector("random"))
    coreset = Selection.load(tmp_path / "a" / CORESET)
    told = forecast(settings, pool, held, coreset=coreset)
    records = pretrain(settings, pool, held, tmp_path / "b", coreset=coreset).records
    assert told.images == sum(r["examples"] for r in records) == 3 * len(coreset)
    assert told.updates == sum(r["updates"] for r in records)


def test_a_single_batch_is_not_timed() -> None:
    """There is nothing to time after the batch that warms up; the counts are there."""
    told = forecast(tiny("standard", epochs=1, warmup=0, batch_size=64), images(20), images(4, seed=8))
    assert (told.updates, told.images, told.total_seconds) == (1, 20, None)


def test_a_study_is_the_sum_of_its_cells(tmp_path: Path) -> None:
    """Each kind of cell counts once a seed, without the shared warm-up; cells at equal time last as long as the slowest."""
    study = Study(
        tiny("standard", validation=10), ("rs2", "random"), (0.25,), (0, 1), equal=("epochs", "time"), full=False
    )
    told = forecast_study(study, images(58), Runtime(tmp_path))
    assert [(c.method, c.fraction, c.count) for c in told.cells] == [
        ("warm", None, 2),
        ("rs2", 0.25, 2),
        ("random", 0.25, 2),
    ]
    assert [c.forecast.images for c in told.cells] == [48, 24, 24]
    assert [c.forecast.selections for c in told.cells] == [0, 2, 1]
    assert (told.count, told.at_equal_time) == (10, 4)
    seconds = [c.forecast.total_seconds or 0.0 for c in told.cells]
    assert told.total_seconds == pytest.approx(2 * (sum(seconds) + 2 * max(seconds[1:])))
    assert not list(tmp_path.iterdir())


def test_efforts_cost_what_their_steps_cost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With updates and steps of 1 ms an image, one step takes 2 ms and five take 6: at equal time one affords three times more."""

    def timed(settings: Settings, *data: object, **where: object) -> float:
        del data, where
        return 0.001 * (1 + settings.attack_steps)

    monkeypatch.setattr("coreselect_integrations.comparison.forecast.seconds_of_an_image", timed)
    plan = Study(tiny("sat", epochs=5, validation=10), ("rs2@1x1.5", "rs2@5"), (0.25,), (0,), full=False)
    told = forecast_study(plan, images(58), Runtime(tmp_path))
    assert (told.update_seconds, told.step_seconds) == pytest.approx((0.001, 0.001))
    one, five = told.cells[1:]
    assert (one.forecast.image_seconds, five.forecast.image_seconds) == pytest.approx((0.002, 0.006))
    assert told.affordable(five) == pytest.approx(0.25 * 4)
    assert told.affordable(one) == pytest.approx(0.25 * 12)
    assert told.affordable(told.cells[0]) is None
