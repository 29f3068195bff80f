"""Evaluations refuse what would give a number that looks right: other ranges, NaN outputs, labels that are no classes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from coreselect import Normalized
from coreselect.attacks import PGD
from coreselect.errors import CoreselectError, DataError, NonFiniteError, OutOfBoundsError, ShapeError
from coreselect_integrations.evaluation import evaluate
from coreselect_integrations.evaluation.autoattack import autoattack
from coreselect_integrations.evaluation.corruptions import evaluate_corruptions

N, CLASSES = 37, 5
G = torch.Generator().manual_seed(0)
PIXELS = torch.rand(N, 3, 6, 6, generator=G)


def net(classes: int = CLASSES) -> nn.Module:
    """A linear classifier."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, classes))
    nn.init.normal_(model[1].weight, std=0.1, generator=torch.Generator().manual_seed(1))  # type: ignore[arg-type]
    return model


def labelled(x: Tensor, model: nn.Module, wrong: int = 5) -> TensorDataset:
    """Inputs with the model's own answers, a few of them wrong."""
    with torch.no_grad():
        y = model(x).argmax(1)
    y[:wrong] = (y[:wrong] + 1) % CLASSES
    return TensorDataset(x, y)


@given(st.floats(-300, 300), st.floats(0.01, 300), st.sampled_from(["linf", "l2"]), st.integers(0, 3))
def test_a_radius_of_nothing_is_standard_accuracy_in_any_range(low: float, width: float, norm: Any, steps: int) -> None:
    """Without bounds, robust accuracy at radius 0 equals standard accuracy, whatever the range of the inputs."""
    model, x = net(), low + width * PIXELS
    found = evaluate(model, labelled(x, model), attack=PGD(0.0, 1.0, steps, norm=norm, bounds=None), batch_size=16)
    assert found.robust == found.standard == (N - 5) / N


@given(st.floats(-300, 300), st.floats(0.01, 300))
def test_inputs_outside_the_bounds_are_refused(low: float, width: float) -> None:
    """Both attacks' measures refuse before the first forward pass; inside the bounds both give a number."""
    model, x = net(), low + width * PIXELS
    inside = float(x.min()) >= -1e-4 and float(x.max()) <= 1 + 1e-4
    calls: list[int] = []

    def call(m: nn.Module, x: Tensor, route: str) -> Tensor:
        calls.append(len(x))
        return m(x)

    for measure in (evaluate, lambda *a, **k: autoattack(*a, attacks=("apgd-ce",), steps=2, **k)):
        data = TensorDataset(x, torch.zeros(N, dtype=torch.int64))
        if inside:
            assert measure(model, data, call=call).n == N
        else:
            with pytest.raises(OutOfBoundsError, match="Normalized"):
                measure(model, data, call=call)
            assert not calls


def test_a_late_batch_is_looked_at_and_the_way_out_works() -> None:
    """The last image alone is out of range; with the normalisation in the model, the answers are those of before."""
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    inner, shape = net(), (1, 3, 1, 1)
    normalised = (PIXELS - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    whole = evaluate(
        Normalized(inner, mean, std), labelled(PIXELS, Normalized(inner, mean, std)), attack=PGD(0.0, 1.0, 1)
    )
    free = evaluate(inner, labelled(normalised, inner), attack=PGD(0.0, 1.0, 1, bounds=None))
    assert (whole.standard, whole.robust) == (free.standard, free.robust)
    x = PIXELS.clone()
    x[-1] -= 3
    with pytest.raises(OutOfBoundsError):
        evaluate(inner, DataLoader(labelled(x, inner), 8))


class BadWhere(nn.Module):
    """A classifier whose outputs are not finite where a condition on the images holds."""

    def __init__(self, bad: Callable[[Tensor], Tensor], value: float) -> None:
        super().__init__()
        self.inner, self.bad, self.value = net(), bad, value

    def forward(self, x: Tensor) -> Tensor:
        out = self.inner(x)
        return torch.where(self.bad(x)[:, None], out + self.value, out)


VALUES = st.sampled_from([float("nan"), float("inf"), float("-inf")])


@given(st.sets(st.integers(0, N - 1), min_size=1), VALUES, st.integers(1, N), st.booleans())
def test_outputs_that_are_not_finite_are_named(where: set[int], value: float, batch_size: int, ensemble: bool) -> None:
    """At natural inputs, the positions of the first batch that has any are in the error, whatever the batch size."""
    x = PIXELS.clone()
    x[:, 0, 0, 0] = 0.25
    x[sorted(where), 0, 0, 0] = 0.75
    model = BadWhere(lambda x: x[:, 0, 0, 0] > 0.7, value)
    first = min(where) // batch_size
    want = tuple(i for i in sorted(where) if i // batch_size == first)
    data = TensorDataset(x, torch.zeros(N, dtype=torch.int64))
    measure = partial(autoattack, attacks=("apgd-ce",), steps=2) if ensemble else evaluate
    with pytest.raises(NonFiniteError, match="natural inputs") as why:
        measure(model, data, batch_size=batch_size)
    assert why.value.indices == want


@pytest.mark.parametrize("attacks", [None, ("apgd-ce",), ("square",)])
def test_attacked_inputs_with_outputs_that_are_not_finite_are_named(attacks: tuple[str, ...] | None) -> None:
    """An example whose outputs break only under attack is named, by PGD (None) and by the attacks of AutoAttack."""
    x = PIXELS.clone() * 0.5 + 0.25
    special = [3, 20, 30]
    x[:, 0, 0, 0] = 0.5
    x[special, 0, 0, 0] = 0.6

    def bad(at: Tensor) -> Tensor:  # near one of the special images, but not at it
        near = (at[:, 0, 0, 0] - 0.6).abs() < 0.04
        return near & ~((at[:, 0, 0, 0] - 0.6).abs() < 1e-6)

    model = BadWhere(bad, float("nan"))
    data = labelled(x, model, wrong=0)
    ensemble = partial(autoattack, radius=0.03, attacks=attacks, steps=5, queries=50)
    measure = partial(evaluate, attack=PGD(0.03, 0.01, 3)) if attacks is None else ensemble
    with pytest.raises(NonFiniteError, match="attacked inputs") as why:
        measure(model, data)
    assert set(why.value.indices) <= set(special)
    assert why.value.indices


LABELS: list[tuple[Callable[[Tensor], Any], type[CoreselectError], str]] = [
    (
        lambda y: y.where(torch.arange(N) != 7, torch.tensor(-1)),
        ShapeError,
        r"1 evaluation labels lie outside 0…4.*positions 7",
    ),
    (lambda y: y.where(torch.arange(N) != 30, torch.tensor(CLASSES)), ShapeError, "outside 0…4.*positions 30"),
    (lambda y: y + 1, ShapeError, "outside 0…4"),
    (lambda y: nn.functional.one_hot(y, CLASSES), ShapeError, "one-hot"),
    (lambda y: y + 0.5, DataError, "fractions"),
]


@pytest.mark.parametrize("measure", [evaluate, autoattack])
@pytest.mark.parametrize(("change", "kind", "words"), LABELS)
def test_labels_that_are_no_class_numbers_are_refused(measure: Any, change: Any, kind: Any, words: str) -> None:
    """-1, a class too many, 1-based, one-hot and fractional labels; where positions can be named, they are."""
    model = net()
    x, y = labelled(PIXELS, model, wrong=0).tensors
    y[y == CLASSES - 1] = 0
    if words == "outside 0…4":
        y[0] = CLASSES - 1
    with pytest.raises(kind, match=words):
        measure(model, TensorDataset(x, change(y)))


@given(st.sampled_from([torch.float32, torch.float64, torch.int32, torch.uint8]), st.booleans())
def test_labels_of_any_number_type_are_class_numbers(dtype: torch.dtype, column: bool) -> None:
    """Whole numbers of any type, also as a column [B, 1], give the accuracy of int64 labels."""
    model = net()
    x, y = labelled(PIXELS, model).tensors
    other = y.to(dtype)[:, None] if column else y.to(dtype)
    attack = PGD(0.01, 0.01, 1)
    want, got = (evaluate(model, TensorDataset(x, each), attack=attack, batch_size=8) for each in (y, other))
    assert (got.standard, got.robust) == (want.standard, want.robust)


@pytest.mark.parametrize("measure", [evaluate, autoattack])
def test_one_logit_is_refused_and_the_remedy_works(measure: Any) -> None:
    """With one logit every answer is class 0; two logits by `call=` give the binary accuracy."""
    model = net(1)
    with torch.no_grad():
        y = (model(PIXELS)[:, 0] > 0).long()
    data = TensorDataset(PIXELS, y)
    with pytest.raises(ShapeError, match=r"torch.cat\(\[0 \* m\(x\), m\(x\)\], 1\)"):
        measure(model, data)
    remedy: Any = lambda m, x, route: torch.cat([0 * m(x), m(x)], 1)  # noqa: E731  # as the message writes it
    assert evaluate(model, data, call=remedy).standard == 1.0


def test_corruptions_refuse_outputs_and_labels(tmp_path: Path) -> None:
    """A corruption whose images give NaN, and a label that is no class of the model, are named by their rows."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (5 * 4, 6, 6, 3), dtype=np.uint8)
    images[9, 0, 0, 0] = 255  # row 1 of severity 3
    np.save(tmp_path / "fog.npy", images)
    np.save(tmp_path / "labels.npy", np.tile(np.array([0, 1, 2, 4]), 5))
    with pytest.raises(NonFiniteError, match="images of fog 3") as why:
        evaluate_corruptions(BadWhere(lambda x: x[:, 0, 0, 0] > 0.9, float("nan")), tmp_path)
    assert why.value.indices == (1,)
    with pytest.raises(ShapeError, match=r"corruption labels lie outside 0…3.*positions 3"):
        evaluate_corruptions(net(4), tmp_path)
