"""Pools under conditions: what was asked for is what there is, and it is known of every item."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from coreselect import Task, select
from coreselect.data.conditions import Conditions, Truth, describe
from coreselect.errors import DataError, RequirementError
from coreselect.selectors import Redraw

N, C = 200, 4
LABELS = np.repeat(np.arange(C), N // C)
POOL = TensorDataset(torch.arange(N, dtype=torch.float32).view(N, 1) / N, torch.from_numpy(LABELS))
FOREIGN = TensorDataset(-torch.arange(300, dtype=torch.float32).view(300, 1) / 300)


@given(
    st.sampled_from([0.0, 0.1, 0.4]), st.sampled_from([0.0, 0.3]), st.sampled_from([None, 5.0]), st.sampled_from([1, 3])
)
def test_every_item_is_what_the_truth_says(wrong: float, foreign: float, tail: float | None, copies: int) -> None:
    """Images come from where it says, labels differ from the true class where it says wrong, and nowhere else."""
    conditions = Conditions(tail, copies, foreign, "other" if foreign else None, wrong)
    made = conditions.applied(POOL, LABELS, seed=3, foreign=FOREIGN)
    truth = made.truth
    for i in range(len(made)):
        x, y = made[i]
        assert y == made.targets[i]
        source = int(truth.source[i])
        assert torch.equal(x, FOREIGN[source][0] if truth.foreign[i] else POOL[source][0])
        if not truth.foreign[i]:
            assert truth.label[i] == LABELS[source]
            assert (y != truth.label[i]) == truth.wrong[i]
    assert truth.foreign.sum() == round(foreign * len(made))
    assert truth.wrong.sum() == round(wrong * (~truth.foreign).sum())


def test_class_frequencies_fall_to_the_ratio() -> None:
    """With 50 of each class and a tail of 5, the four classes have 50·5^(−k/3): 50, 29, 17, 10."""
    made = Conditions(tail=5).applied(POOL, LABELS, seed=0)
    assert sorted(np.bincount(made.targets).tolist(), reverse=True) == [50, 29, 17, 10]
    assert len(set(made.truth.source.tolist())) == len(made)


def test_a_pool_that_is_unbalanced_already_gets_the_longest_tail_that_fits() -> None:
    """No class is asked for more than it has: 40 and 10 with a ratio of 8 leave 40 and 5, or 10 and 1."""
    labels = np.repeat([0, 1], [40, 10])
    pool = TensorDataset(torch.zeros(50, 1), torch.from_numpy(labels))
    seen = {tuple(np.bincount(Conditions(tail=8).applied(pool, labels, seed=s).targets)) for s in range(20)}
    assert seen == {(40, 5), (1, 10)}


def test_duplicates_keep_the_size() -> None:
    """A tenth of the images, each ten times."""
    made = Conditions(duplicates=10).applied(POOL, LABELS, seed=0)
    assert len(made) == N
    assert np.unique(np.bincount(made.truth.source), return_counts=True)[0].tolist() == [0, 10]
    assert made.truth.shares(np.arange(N))["copies"] == pytest.approx(0.9)


def test_wrong_labels_are_spread_over_the_other_classes() -> None:
    """Symmetric noise: each other class about equally often."""
    made = Conditions(labels_wrong=0.9).applied(POOL, LABELS, seed=1)
    away = (made.targets - made.truth.label)[made.truth.wrong] % C
    assert set(away.tolist()) == {1, 2, 3}
    assert np.bincount(away)[1:].min() > 40


def test_a_seed_decides_everything() -> None:
    """Two pools of one seed are equal in every item; another seed is another pool."""
    conditions = Conditions.parse("tail=3, foreign=0.2:other, labels-wrong=0.3, duplicates=2")
    one, same, other = (conditions.applied(POOL, LABELS, seed=s, foreign=FOREIGN) for s in (0, 0, 1))
    assert one.targets.tolist() == same.targets.tolist()
    assert one.truth.source.tolist() == same.truth.source.tolist()
    assert one.targets.tolist() != other.targets.tolist()
    assert describe(conditions, 7) == {
        "tail": 3.0, "duplicates": 2, "foreign": 0.2, "foreign_data": "other", "labels_wrong": 0.3,
        "shift": None, "severity": 3, "seed": 7,
    }  # fmt: skip


def test_shares_of_picks_are_counted() -> None:
    """By hand on five picks: two wrong, one foreign, and one twice."""
    made = Conditions.parse("labels-wrong=0.5,foreign=0.2:x").applied(POOL, LABELS, seed=0, foreign=FOREIGN)
    truth = made.truth
    wrong, foreign = np.flatnonzero(truth.wrong), np.flatnonzero(truth.foreign)
    right = np.flatnonzero(~truth.wrong & ~truth.foreign)
    shares = truth.shares([wrong[0], wrong[1], foreign[0], right[0], right[0]])
    assert shares == {"wrong": 0.4, "foreign": 0.2, "rare": 0.0, "copies": pytest.approx(0.2)}
    tail = Conditions(tail=20).applied(POOL, LABELS, seed=0).truth
    rarest = int(np.argmin(np.bincount(tail.label)))
    assert tail.shares(np.flatnonzero(tail.label == rarest))["rare"] == 1


def test_a_pool_of_foreign_images_alone_has_shares_too() -> None:
    """No class is left, so no pick is of a rare one, and nothing warns."""
    truth = Conditions.parse("foreign=0.999:x").applied(POOL, LABELS, seed=0, foreign=FOREIGN).truth
    picks = np.flatnonzero(truth.foreign)
    none = Truth(truth.wrong[picks], truth.foreign[picks], truth.label[picks], truth.source[picks])
    assert none.shares(np.arange(len(picks)))["rare"] == 0.0


def test_such_a_pool_is_selected_from_like_any_other() -> None:
    """A task reads its listed labels, and its fingerprint differs from the clean pool's."""
    made = Conditions(labels_wrong=0.4).applied(POOL, LABELS, seed=0)
    task, clean = (Task.from_model(torch.nn.Linear(1, C), p, loss="ce") for p in (made, POOL))
    assert len(select(task, Redraw(), 0.1)) == 20
    assert task.fingerprint() != clean.fingerprint()
    with task.snapshot(0, 0) as snapshot:
        assert snapshot.labels().tolist() == made.targets.tolist()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("tails=3", "described by tail=20"),
        ("tail=3,tail=4", "each once"),
        ("", "described by"),
        ("tail=x", "has no number"),
        ("tail=0.5", "from 1 to"),
        ("tail=nan", "from 1 to"),
        ("labels-wrong=1", "share in"),
        ("labels-wrong=-0.1", "share in"),
        ("foreign=0.5", "written with the dataset"),
        ("duplicates=0", "from 1 to"),
        ("duplicates=1.5", "has no number"),
        ("tail=1e308", "from 1 to 1,000,000"),
        ("duplicates=99999999999999", "from 1 to 1,000,000"),
    ],
)
def test_words_that_mean_nothing_are_refused(words: str, said: str) -> None:
    """In one sentence that shows the form."""
    with pytest.raises(RequirementError, match=said):
        Conditions.parse(words)


@pytest.mark.parametrize(
    "words", ["tail=20", "tail=2.5,duplicates=3,foreign=0.5:cifar100,labels-wrong=0.4,shift=fog:2"]
)
def test_conditions_are_written_as_they_are_read(words: str) -> None:
    """So that a record can be given to --pool again."""
    assert str(Conditions.parse(words)) == words


def test_a_tail_that_the_classes_are_too_small_for_is_refused() -> None:
    """50 images of each class bear a ratio of 50, and none of 60, whose rarest class would have less than one image."""
    made = Conditions(tail=50).applied(POOL, LABELS, seed=0)
    assert sorted(np.bincount(made.targets).tolist())[::3] == [1, 50]
    with pytest.raises(RequirementError, match="the rarest less than one"):
        Conditions(tail=60).applied(POOL, LABELS, seed=0)


def test_what_the_data_cannot_give_is_refused() -> None:
    """No or too few foreign images, and wrong labels where there is one class."""
    with pytest.raises(RequirementError, match="160 foreign images are needed, and none is given"):
        Conditions(foreign=0.8, foreign_data="x").applied(POOL, LABELS, seed=0)
    with pytest.raises(RequirementError, match="it has 200"):
        Conditions(foreign=0.9, foreign_data="x").applied(
            TensorDataset(torch.zeros(400, 1)), np.zeros(400, np.int64), seed=0, foreign=POOL
        )
    with pytest.raises(DataError, match="two classes"):
        Conditions(labels_wrong=0.1).applied(POOL, np.zeros(N, np.int64), seed=0)
