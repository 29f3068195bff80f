"""Inputs that are dictionaries, tuples or integers pass through everything that attacks nothing; an attack refuses them."""

from types import SimpleNamespace
from typing import Any

import cases
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_rows import TOL, full, opened
from torch import Tensor, nn
from torch.utils.data import Dataset

from coreselect import select
from coreselect.errors import CoreselectError, OverlapError
from coreselect.selectors import (
    CRAIG,
    EL2N,
    GLISTER,
    LESS,
    RCS,
    RS2,
    DeepFool,
    Entropy,
    GradMatch,
    GraNd,
    KCenter,
    Loss,
    Random,
    get_selector,
)  # fmt: skip
from coreselect.support.structure import joined, leaves, mapped, size, taken

C, N, WORDS, LENGTH = cases.CLASSES, 13, 9, 5


def ids(n: int, seed: int = 0) -> Tensor:
    """Draw token ids [n, T]."""
    return torch.randint(WORDS, (n, LENGTH), generator=torch.Generator().manual_seed(seed))


class Structured(Dataset[Any]):
    """Items of one form: tokenised text, pairs of inputs, or token ids, with or without labels."""

    def __init__(self, form: str, n: int, seed: int = 0) -> None:
        self.form, self.ids, self.y = form, ids(n, seed), cases.classes(n, seed=seed)
        self.mask = ids(n, seed + 1) > 1
        self.mask[:, 0] = True
        self.x = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> Any:
        y = int(self.y[i])
        if self.form == "text":
            return {"input_ids": self.ids[i], "attention_mask": self.mask[i], "labels": y}
        if self.form == "pair":
            return (self.ids[i], self.x[i]), y
        if self.form == "dictionary":
            return {"input_ids": self.ids[i], "attention_mask": self.mask[i]}, y
        return self.ids[i], y


class Words(nn.Module):
    """Embeddings, averaged where the mask is set, then a Linear; with or without an object around the output."""

    def __init__(self, *, wrapped: bool = False) -> None:
        super().__init__()
        self.embed, self.body, self.fc = nn.Embedding(WORDS, 6), nn.Linear(6, 5), nn.Linear(5, C)
        self.wrapped = wrapped

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        z = self.embed(input_ids)
        m = torch.ones_like(z[..., :1]) if attention_mask is None else attention_mask[..., None].to(z)
        out = self.fc(torch.tanh(self.body((z * m).sum(1) / m.sum(1))))
        return SimpleNamespace(logits=out) if self.wrapped else out


class Pair(nn.Module):
    """Two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.body, self.fc = nn.Embedding(WORDS, 6), nn.Linear(9, 5), nn.Linear(5, C)

    def forward(self, words: Tensor, numbers: Tensor) -> Tensor:
        return self.fc(torch.tanh(self.body(torch.cat([self.embed(words).mean(1), numbers], 1))))


FORMS: dict[str, Any] = {"text": lambda: Words(wrapped=True), "dictionary": Words, "pair": Pair, "integers": Words}


def task_of(form: str, **settings: Any) -> Any:
    """Make a task whose inputs have this form."""
    pool, held = Structured(form, N), Structured(form, 6, 50)
    fixed = {"loss": "ce", "attack": None, "batch_size": 4, "pool": pool, "validation": held}
    return cases.sat_task(model=cases.built(FORMS[form]), **{**fixed, **settings})


def by_hand(task: Any, names: Any, groups: Any) -> Tensor:
    """Rows of cross-entropy by an autograd loop."""
    data, model = task.pool, task.model

    def scalar(members: Any) -> Tensor:
        m = list(members)
        args = (
            (data.ids[m],)
            if data.form == "integers"
            else (data.ids[m], data.x[m] if data.form == "pair" else data.mask[m])
        )
        out = model(*args)
        return oracles.cross_entropy(getattr(out, "logits", out), data.y[m]).mean()

    return oracles.loop_rows(scalar, cases.parts(model, names), groups)


@pytest.mark.parametrize("capture", [None, "all"])
@pytest.mark.parametrize("grouping", ["examples", "uneven"])
@pytest.mark.parametrize("form", list(FORMS))
def test_rows_are_autograds(form: str, grouping: str, capture: Any) -> None:
    """Rows of every form of input equal an autograd loop in float64, also where embeddings are captured."""
    task = task_of(form, capture=capture)
    groups = [[i] for i in range(N)] if grouping == "examples" else [[3, 1, 0, 6], [2, 4, 5]]
    rows, _, names = opened(task, groups)
    assert torch.allclose(full(rows), by_hand(task, names, groups), **TOL)


NATURAL = [
    CRAIG(), GradMatch(target="validation"), GLISTER(), GraNd(), LESS(), Loss(), EL2N(), Entropy(), KCenter(), Random(),
    RS2(),
]  # fmt: skip


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("selector", NATURAL, ids=lambda s: s.name)
def test_methods_that_attack_nothing_choose(form: str, selector: Any) -> None:
    """Batches of any size, workers included, give the same k picks."""
    want = select(task_of(form), selector, 5).indices.tolist()
    assert len(set(want)) == 5
    assert select(task_of(form, batch_size=100), selector, 5).indices.tolist() == want


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("selector", [RCS(), DeepFool(), get_selector("acs_craig")], ids=lambda s: s.name)
def test_attacks_are_refused_in_one_sentence(form: str, selector: Any) -> None:
    """Where an attack would act, the sentence says what the inputs are and what to use instead."""
    with pytest.raises(CoreselectError, match=r"attack") as caught:
        select(task_of(form, loss="sat" if selector.name == "acs_craig" else "ce", attack=None), selector, 5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", list(FORMS))
def test_a_shared_example_is_found_and_the_fingerprint_sees_the_inputs(form: str) -> None:
    """The overlap of pool and validation is found by its position; another word gives another fingerprint."""
    held, pool = Structured(form, 6, 50), Structured(form, N)
    for name in ("ids", "mask", "x"):
        getattr(held, name)[2] = getattr(pool, name)[7]
    with pytest.raises(OverlapError, match="positions 7"):
        select(task_of(form, pool=pool, validation=held), LESS(), 5)
    before = task_of(form, pool=pool).fingerprint()
    pool.ids[0, 0] = (pool.ids[0, 0] + 1) % WORDS
    assert task_of(form, pool=pool).fingerprint() != before


def test_unpack_may_make_a_structure() -> None:
    """`unpack` turns items of one form into inputs of another, and the picks are the same."""
    own = task_of("integers", unpack=lambda batch: ({"input_ids": batch[0]}, batch[1]))
    assert select(own, CRAIG(), 5).indices.tolist() == select(task_of("integers"), CRAIG(), 5).indices.tolist()


@st.composite
def structures(draw: Any, depth: int = 2) -> Any:
    """Draw a nested form of widths."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.integers(0, 3))
    inner = st.deferred(lambda: structures(depth - 1))
    if draw(st.booleans()):
        return draw(st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, min_size=1, max_size=3))
    return tuple(draw(st.lists(inner, min_size=1, max_size=3)))


def filled(form: Any, n: int) -> Any:
    """Make tensors [n, width] in a form of widths."""
    if isinstance(form, int):
        return torch.arange(n * form).reshape(n, form)
    if isinstance(form, dict):
        return {k: filled(v, n) for k, v in form.items()}
    return tuple(filled(v, n) for v in form)


@given(form=structures(), n=st.integers(1, 6), cut=st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_taking_and_joining_are_inverse(form: Any, n: int, cut: int) -> None:
    """Any nested form, cut in two and joined, is itself; sizes are batch sizes; mapping keeps the form."""
    x = filled(form, n)
    again = joined([taken(x, slice(0, cut)), taken(x, slice(cut, None))])
    assert size(x) == n
    assert all(torch.equal(a, b) for a, b in zip(leaves(x), leaves(again), strict=True))
    assert str(mapped(lambda t: t + 0, x)) == str(x) == str(again)
