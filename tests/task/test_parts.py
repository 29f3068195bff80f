"""The records of a sweep do not depend on who makes them, in which order, and what was made before."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cases
import numpy as np
import pytest
from torch import Tensor, nn

from coreselect import get_selector, select
from coreselect.gradients.parts import Batches, Key, Make, Record
from coreselect.losses import CE
from coreselect.selectors import AIGN, DeepFool
from coreselect.task import opening

N = 23


class Backwards:
    """A `Parts` that makes the last record first, and each by a call of its own."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.names: list[set[str]] = []

    def __call__(self, key: Key, batches: Batches, make: Make) -> Iterator[Record]:
        made: dict[int, Record] = {}
        for i in reversed(range(len(batches))):
            (made[i],) = list(make([batches[i]]))
        self.kinds.append(key.kind)
        self.names += [set(r) for r in made.values()]
        yield from (made[i] for i in range(len(batches)))


@contextmanager
def _by(parts: Any, monkeypatch: Any) -> Iterator[None]:
    """Let every selection sweep by `parts`."""
    plain = opening.Context
    with monkeypatch.context() as patch:
        patch.setattr(opening, "Context", lambda **facts: plain(**{**facts, "parts": parts}))
        yield


class Targets(cases.Items):
    """Items whose targets are a dictionary of two tensors."""

    def __getitem__(self, index: int) -> Any:
        return self.x[index], {"score": self.x[index].mean().reshape(1), "pair": self.x[index, 0, 0, :2]}


class Squares:
    """A loss of one's own that reads both parts of such targets."""

    name, views, streams, per_example, needs_labels = "squares", 1, (("natural", 0),), True, True
    default_attack = None

    def ascend(self, adversarial: Any, natural: Any, labels: Any) -> Tensor:
        raise NotImplementedError

    def __call__(self, adversarial: Any, natural: Any, labels: Any) -> Tensor:
        (out,) = natural
        return ((out[:, :1] - labels["score"]) ** 2).sum(1) + ((out[:, 1:3] - labels["pair"]) ** 2).sum(1)


def _own_targets() -> Any:
    return cases.sat_task(N, loss=Squares(), attack=None, pool=Targets(cases.images(N)), batch_size=4)


CASES: dict[str, tuple[Any, Any, set[str]]] = {
    "head": (lambda: cases.sat_task(N, batch_size=4), cases.rcs(), {"prepared"}),
    "all, in groups": (lambda: cases.sat_task(N, capture="all", batch_size=6), cases.rcs(), {"rows"}),
    "all, by examples": (lambda: cases.sat_task(N, capture="all", batch_size=5), get_selector("craig"), {"rows"}),
    "acl": (lambda: cases.acl_task(N, batch_size=6), cases.rcs(), {"rows"}),
    "targets": (_own_targets, get_selector("grand"), {"prepared"}),
    "own losses": (_own_targets, get_selector("loss"), {"losses"}),
    "el2n": (lambda: cases.sat_task(N, batch_size=4), get_selector("el2n"), {"natural"}),
    "attacked": (
        lambda: cases.sat_task(N, capture="all", batch_size=4),
        get_selector("el2n", attacked=True),
        {"attacked"},
    ),
    "deepfool": (lambda: cases.sat_task(N, batch_size=4), DeepFool(iterations=3), {"deepfool"}),
    "aign": (lambda: cases.sat_task(N, batch_size=4, loss=CE()), AIGN(), {"aign"}),
}


@pytest.mark.parametrize("name", CASES)
def test_records_do_not_depend_on_who_makes_them(name: str, monkeypatch: Any) -> None:
    """Made backwards, one batch a call, the records give the same bits: indices, gains, weights, scores, certificate."""
    task, selector, kinds = CASES[name][0](), *CASES[name][1:]
    want = select(task, selector, 9, 3)
    parts = Backwards()
    with _by(parts, monkeypatch):
        got = select(task, selector, 9, 3)
    assert set(parts.kinds) == kinds
    assert len({frozenset(n) for n in parts.names}) == 1
    for field in ("indices", "groups", "gains", "weights", "scores"):
        np.testing.assert_array_equal(getattr(got, field), getattr(want, field), strict=True)
    assert got.certificate == want.certificate
    assert got.diagnostics == want.diagnostics
    assert got.provenance.notes == want.provenance.notes


class Picky(nn.Module):
    """A linear model that cannot be vectorised where the first pixel is large, as with a branch on values."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(cases.SIDE**2, cases.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        scale = 2.0 if x.sum().item() > 0 else 1.0  # vmap refuses .item()
        return scale * self.fc(x.flatten(1))


def test_the_first_examples_decide_how_rows_are_computed(monkeypatch: Any) -> None:
    """Where a model cannot be vectorised, the note and the rows are the same for every order of batches."""
    task = cases.sat_task(N, model=cases.built(Picky), capture="all", batch_size=4)
    want = select(task, get_selector("grand"), 5)
    with _by(Backwards(), monkeypatch):
        got = select(task, get_selector("grand"), 5)
    assert any("one by one" in note for note in want.provenance.notes)
    assert got.provenance.notes == want.provenance.notes
    np.testing.assert_array_equal(got.scores, want.scores)
