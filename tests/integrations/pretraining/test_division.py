"""How the data of a run are divided: conditions change the pool alone, a shift validation and test alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import images, tiny
from torch.utils.data import TensorDataset

from coreselect import holdout
from coreselect.data import labels_of
from coreselect.data.conditions import Conditions
from coreselect.errors import DataError, RequirementError
from coreselect.selectors import RS2
from coreselect_integrations.evaluation.generated import Generated
from coreselect_integrations.pretraining.division import PLAIN, Division
from coreselect_integrations.pretraining.run import pretrain

DATA = images(120)


def same(one: Any, other: Any) -> bool:
    """Whether two datasets have equal items."""
    return len(one) == len(other) and all(
        torch.equal(one[i][0], other[i][0]) and int(one[i][1]) == int(other[i][1]) for i in range(len(one))
    )


def test_without_wishes_it_is_the_holdout() -> None:
    """The pool and the validation set are those of `holdout`, by a share or by a count, and nothing is recorded."""
    for size, seed in ((0.25, 3), (20, 0)):
        for one, other in zip(PLAIN.split(DATA, size, seed), holdout(DATA, size, seed), strict=True):
            assert one.indices == other.indices
    assert PLAIN.record(0) == {}
    assert PLAIN.shifted(DATA) is DATA


def test_conditions_change_the_pool_and_not_the_validation_set() -> None:
    """The pool is the held-in part under the conditions of that seed; what is held out stays clean."""
    conditions = Conditions.parse("labels-wrong=0.3,duplicates=2")
    pool, held = Division(conditions).split(DATA, 20, 5)
    clean, wanted = holdout(DATA, 20, 5)
    labels = labels_of(TensorDataset(torch.empty(0)))
    assert labels is None  # a TensorDataset lists none, so that its items were read
    assert same(held, wanted)
    assert same(pool, conditions.applied(clean, np.array([int(y) for _, y in clean]), seed=5))
    assert pool.truth.wrong.sum() == 30


def test_a_shift_changes_validation_and_test_and_not_the_pool() -> None:
    """Both are corrupted by the same corruption, and the pool has the clean images."""
    division = Division(Conditions.parse("shift=brightness:4"))
    pool, held = division.split(DATA, 20, 1)
    clean, wanted = holdout(DATA, 20, 1)
    assert same(pool, clean)
    assert same(held, Generated(wanted, "brightness", 4))
    assert same(division.shifted(DATA), Generated(DATA, "brightness", 4))
    assert not same(held, wanted)


def test_a_validation_set_of_the_users_takes_the_place_of_the_holdout() -> None:
    """Then the whole dataset is the pool, the set is as the user gave it even under a shift, and it is known again."""
    own = images(10, seed=9)
    pool, held = Division(Conditions(shift="fog"), validation=own).split(DATA, 20, 1)
    assert len(pool) == 120
    assert held is own
    assert Division(validation=own).record(0) != Division(validation=images(10, seed=8)).record(0)


def test_conditions_need_labels_and_foreign_images() -> None:
    """Without them the pool is refused."""
    with pytest.raises(DataError, match="labels"):
        Division(Conditions(labels_wrong=0.1)).split(TensorDataset(torch.rand(9, 3, 8, 8)), 2, 0)
    with pytest.raises(RequirementError, match="foreign images are needed"):
        Division(Conditions.parse("foreign=0.5:x")).split(DATA, 20, 0)


def test_a_run_records_its_conditions_and_refuses_others(tmp_path: Path) -> None:
    """Each selection records the shares of its picks; the folder is continued under the same conditions alone."""
    division = Division(Conditions.parse("labels-wrong=0.5"))
    pool, held = division.split(DATA, 20, 0)
    settings = tiny("standard")
    run = pretrain(settings, pool, held, tmp_path, selector=RS2(), division=division.record(0))
    assert "picks" not in run.records[0]  # an epoch on the whole pool
    assert all(0 < r["picks"]["wrong"] < 1 for r in run.records[1:])
    for other in (None, Division(Conditions.parse("labels-wrong=0.4")).record(0), division.record(1)):
        with pytest.raises(RequirementError, match="holds a run with conditions"):
            pretrain(settings, pool, held, tmp_path, selector=RS2(), division=other)
