"""A filter by the losses of a side model: it is trained once a run, and finds wrong labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import images, tiny

from coreselect.data.conditions import Conditions
from coreselect.errors import ShapeError
from coreselect.selectors import RS2
from coreselect_integrations.pretraining import side_filter
from coreselect_integrations.pretraining.division import Division
from coreselect_integrations.pretraining.run import pretrain
from coreselect_integrations.pretraining.side_filter import SideFiltered, side_losses


def impure(n: int = 120) -> tuple[object, object]:
    """A pool of dark and bright images, three in ten with the wrong label."""
    return Division(Conditions.parse("labels-wrong=0.3")).split(images(n), 20, 0)


def test_side_losses_tell_wrong_labels_and_depend_on_the_seed_alone() -> None:
    """Wrong labels have the higher loss; equal seeds give equal losses, and no global random state changes."""
    pool, _ = impure()
    state = torch.random.get_rng_state()
    one, same = (side_losses(pool, epochs=6, seed=1) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(one, same)
    wrong = pool.truth.wrong  # type: ignore[attr-defined]
    assert one[wrong].min() > np.median(one[~wrong])


def test_the_side_model_is_trained_once_and_its_seconds_are_of_selection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first selection has a part `side model`, the others have none; wrong labels become rare among the picks."""
    pool, held = impure()
    calls: list[int] = []

    def counted(*args: object, **more: object) -> object:
        calls.append(1)
        return side_losses(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(side_filter, "side_losses", counted)
    run = pretrain(tiny("sat"), pool, held, tmp_path, selector=SideFiltered(RS2(), 0.6))
    first, second = run.records[1:]
    assert len(calls) == 1
    assert first["selection"]["side model"] > 0
    assert "side model" not in second["selection"]
    assert max(first["picks"]["wrong"], second["picks"]["wrong"]) < 0.1


def test_a_share_out_of_range_is_refused_at_once() -> None:
    """keep is in (0, 1]."""
    with pytest.raises(ShapeError, match="keep is a share"):
        SideFiltered(RS2(), 1.5)
