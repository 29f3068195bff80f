"""Few labels: a class-balanced draw, a teacher of them, and a student of all images; no other label is read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bright_dark import SHORT, SPEC, bright_dark, extractor, gen
from oracles import cross_entropy, kl
from torch import Tensor
from torch.utils.data import Dataset

from coreselect.errors import BudgetError, RequirementError
from coreselect_integrations.finetuning import semi_supervised as module
from coreselect_integrations.finetuning.modes import SEMI
from coreselect_integrations.finetuning.partly_labelled import DistilledTRADES, PartlyLabelled, draw_labelled
from coreselect_integrations.finetuning.semi_supervised import TEACHERS, SemiSupervised, semi_supervised
from coreselect_integrations.networks import make
from coreselect_integrations.networks.transfer import classifier_from


class Poison:
    """A label whose use fails the test."""

    def __getattribute__(self, name: str) -> Any:
        pytest.fail(f"a label was read: {name}")


class Unlabelled(Dataset[Any]):
    """Dark and bright images in turn, whose labels must not be read."""

    def __init__(self, n: int = 40) -> None:
        self.images = bright_dark(n).tensors[0]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.images[index], Poison()


LABELLED = np.array([0, 1, 6, 7], np.int64)  # of both classes, two each
LABELS = np.array([0, 1, 0, 1], np.int64)


def quick(**more: Any) -> SemiSupervised:
    settings = {"epochs": (8, 4), "batch_size": 20, "attack": SHORT, "augment": None, **more}
    return semi_supervised(
        extractor(), SPEC, Unlabelled(), labelled=LABELLED, labels=LABELS, classes=2, **settings
    )  # fmt: skip


@pytest.mark.parametrize(("share", "each"), [(0.01, 5), (0.1, 50), (30, 3)])
def test_the_draw_is_balanced_seeded_and_a_part(share: float, each: int) -> None:
    """Of 5,000 images of ten classes: the same number of each class, another draw with another seed."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 500))
    got = draw_labelled(labels, share, seed=3)
    assert np.array_equal(np.bincount(labels[got]), [each] * 10)
    assert np.array_equal(got, np.unique(got))
    assert np.array_equal(got, draw_labelled(labels, share, seed=3))
    assert not np.array_equal(got, draw_labelled(labels, share, seed=4))


def test_a_small_class_gives_all_it_has() -> None:
    """Of classes of 2, 10 and 10, a draw of 12 takes 2, 5 and 5; less than one of each class is refused."""
    labels = np.array([0] * 2 + [1] * 10 + [2] * 10)
    assert np.bincount(labels[draw_labelled(labels, 12)]).tolist() == [2, 5, 5]
    with pytest.raises(BudgetError, match="less than one of each of the 3 classes"):
        draw_labelled(labels, 2)


def test_the_loss_is_its_definition() -> None:
    """One example at a time: (1 − α)·CE + α·T²·H + β·KL with a label, T²·H + β·KL without; the attack raises CE alone."""
    z, z_, s = (torch.randn(6, 4, generator=gen(k), dtype=torch.float64) for k in (1, 2, 3))
    y, known = torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([True, False, True, False, False, True])
    T, alpha, beta = 2.0, 0.3, 5.0

    def soft(i: int) -> Tensor:
        target, mine = (s[i] / T).exp() / (s[i] / T).exp().sum(), (z_[i] / T).exp() / (z_[i] / T).exp().sum()
        return -(target * mine.log()).sum() * T**2

    hard = cross_entropy(z_, y)
    want = torch.stack(
        [(1 - alpha) * hard[i] + alpha * soft(i) if known[i] else soft(i) for i in range(6)]
    ) + beta * kl(z, z_)  # fmt: skip
    loss = DistilledTRADES(alpha, T, beta)
    assert torch.allclose(loss((z_,), (z,), (y, s, known)), want, rtol=1e-10)
    assert torch.allclose(loss((z_,), (z,), y), hard + beta * kl(z, z_), rtol=1e-10)
    assert float(loss.ascend((z_,), (z,), (y, s, known))) == pytest.approx(float(hard.sum()))


def test_targets_are_labels_where_they_are_known_and_the_teachers_elsewhere() -> None:
    """The class of a labelled image is its label, of any other the teacher's; each item carries the teacher's logits."""
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    items = PartlyLabelled(Unlabelled(3), logits, np.array([0]), np.array([1]))
    targets = [items[i][1] for i in range(3)]
    assert [int(t[0]) for t in targets] == [1, 1, 0]
    assert [bool(t[2]) for t in targets] == [True, False, False]
    assert torch.equal(torch.stack([t[1] for t in targets]), logits)


@pytest.mark.parametrize("teacher", ["sff", "slf"])
def test_few_labels_teach_all_images(teacher: str) -> None:
    """Four labels separate dark from bright images; no other label is read; the result is a classifier with one route."""
    done = quick(teacher=teacher, epochs=(60, 8))
    assert (done.pseudo == np.arange(40) % 2).mean() > 0.9
    assert (len(done.teacher), len(done.log)) == (60, 8)
    assert (done.spec.classes, done.spec.dual_bn) == (2, False)
    test = bright_dark(40, seed=9)
    right = done.network(test.tensors[0], "natural").argmax(1) == test.tensors[1]
    assert float(right.float().mean()) > 0.9


def test_teacher_and_student_start_from_their_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no epoch at all, the teacher is the natural route and the student the adversarial one, under heads of zeros."""
    two = replace(SPEC, dual_bn=True)
    weights = make(two, 3).state_dict()
    weights = {n: t + 0.1 if ".natural." in n and t.is_floating_point() else t for n, t in weights.items()}
    begun: list[Any] = []
    begin = module.begin
    monkeypatch.setattr(module, "begin", lambda *w, **o: begun.append(begin(*w, **o)) or begun[-1])
    semi_supervised(
        weights, two, Unlabelled(), labelled=LABELLED, labels=LABELS, classes=2, epochs=(0, 0), attack=SHORT
    )  # fmt: skip
    for tuning, route in zip(begun, ("natural", "adversarial"), strict=True):
        want = classifier_from(weights, two, classes=2, route=route)[0].state_dict()
        assert all(torch.equal(t, want[n]) for n, t in tuning.network.state_dict().items())


def test_a_stopped_training_continues_to_the_same_bits(tmp_path: Path) -> None:
    """Stopped in the student's second epoch and called again: the same weights, and the teacher is not trained again."""

    class Stop(Exception):
        pass

    def stop(record: Any) -> None:
        if record["epoch"] == 9:
            raise Stop

    with pytest.raises(Stop):
        quick(folder=tmp_path, ended=stop)
    seen: list[int] = []
    done, whole = quick(folder=tmp_path, ended=lambda r: seen.append(r["epoch"])), quick()
    assert seen == [10, 11]
    assert all(torch.equal(t, whole.network.state_dict()[n]) for n, t in done.network.state_dict().items())
    settings = torch.load(tmp_path / "student" / "last.pt")["settings"]
    assert settings["teacher"] == "sff"
    assert json.loads((tmp_path / "teacher" / "log.jsonl").read_text().splitlines()[-1])["epoch"] == 7
    with pytest.raises(RequirementError, match="holds a run with data"):
        semi_supervised(
            extractor(), SPEC, Unlabelled(), labelled=LABELLED[:2], labels=LABELS[:2], classes=2, epochs=(8, 4),
            batch_size=20, attack=SHORT, augment=None, folder=tmp_path,
        )  # fmt: skip


def test_published_settings() -> None:
    """Teacher: 100 epochs, a tenth at 40 and 60. Student: 15 epochs at 0.1, a tenth at 5 and 10; α = 0.5, T = 1, β = 6."""
    first = TEACHERS["sff"]
    assert (first.epochs, first.milestones, first.lr, first.batch_size, first.linear) == (
        100,
        (40, 60),
        0.1,
        128,
        False,
    )
    assert TEACHERS["slf"].linear
    assert (SEMI.epochs, SEMI.milestones, SEMI.lr, SEMI.batch_size, SEMI.weight_decay) == (15, (5, 10), 0.1, 200, 2e-4)
    assert SEMI.loss == DistilledTRADES(0.5, 1.0, 6.0)
    assert not SEMI.dual_bn


def test_refusals() -> None:
    """Another teacher, no labelled images, and images without their labels are refused."""
    for wrong in ({"teacher": "aff"}, {"labelled": LABELLED[:0], "labels": LABELS[:0]}, {"labels": LABELS[:1]}):
        given = {"labelled": LABELLED, "labels": LABELS, **wrong}
        with pytest.raises(RequirementError, match="semi-supervised training needs"):
            semi_supervised(extractor(), SPEC, Unlabelled(), classes=2, **given)
