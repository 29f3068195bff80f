"""A call that makes its output of the model's own output: the head is found, and rows are autograd's."""

from typing import Any

import cases
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from coreselect.errors import HeadError
from coreselect.gradients.rows import single_examples
from coreselect.network.called_head import CalledHead


def two_logits(m: nn.Module, x: Tensor, route: str) -> Tensor:
    return torch.cat([0 * m(x), m(x)], 1)


def tempered(m: nn.Module, x: Tensor, route: str) -> Tensor:
    return m(x) / 3 + 1


FORMS = [(1, two_logits), (4, tempered), (3, lambda m, x, route: torch.stack([m(x)[:, 0], m(x)[:, 1:].sum(1)], 1))]


def supervised(model: nn.Module, classes: int, **settings: Any) -> Any:
    pool, held = (cases.Items(cases.images(n, seed=n), cases.classes(n, count=classes)) for n in (12, 6))
    return cases.sat_task(model=model, pool=pool, validation=held, loss="ce", attack=None, **settings)


@given(st.sampled_from(FORMS), st.booleans(), st.integers(1, 5), st.booleans())
def test_rows_are_those_of_autograd(form: Any, deep: bool, width: int, named: bool) -> None:
    """For convolutional networks and heads with two Linears, of any width, in float64."""
    outputs, call = form
    make = cases.DeepHead if deep else cases.ConvNet
    model = cases.built(lambda: make(outputs, width))
    head = ("head" if deep else "fc") if named else None
    task = supervised(model, 2 if outputs != 4 else 4, call=call, head=head)
    with task.snapshot(0, 0) as snapshot:
        assert isinstance(snapshot.net, CalledHead)
        rows, _ = snapshot.rows(single_examples(12))
        names = list(snapshot.net.captured)
    for i in (0, 7, 11):
        x, y = task.pool[i]
        loss = nn.functional.cross_entropy(call(model, x[None], "natural"), torch.tensor([y]))
        truth = torch.autograd.grad(loss, cases.parts(model, names))
        assert torch.allclose(rows.full(i), torch.cat([t.flatten() for t in truth]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x, route: m(x) + m(x.flip(-1)),
        lambda m, x, route: m(x) + x.mean(),
        lambda m, x, route: m.fc(m.fc.weight.new_ones(len(x), 12)) + 0 * m(x) + x.flatten(1).sum(1, keepdim=True),
    ],
)
def test_a_call_that_reads_more_than_the_models_output_is_refused(call: Any) -> None:
    """Two looks at an image, the image itself, a part of the model: the sentence is that of a head that was not found."""
    with pytest.raises(HeadError), supervised(cases.built(cases.ConvNet), 4, call=call).snapshot(0, 0) as snapshot:
        snapshot.theta()


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("still", ["weight", "bias", "first"])
def test_frozen_parameters_of_a_called_head_are_not_captured(deep: bool, still: str) -> None:
    """A parameter without requires_grad has no part in the rows; those of the others are autograd's; the flags come back."""
    model = cases.built(lambda: (cases.DeepHead if deep else cases.ConvNet)(1, 3))
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    frozen = list(linears[0].parameters())[:1] if still == "first" else [getattr(linears[-1], still)]
    for p in frozen:
        p.requires_grad_(False)
    task = supervised(model, 2, call=two_logits)
    with task.snapshot(0, 0) as snapshot:
        assert isinstance(snapshot.net, CalledHead)
        names = list(snapshot.net.captured)
        rows, _ = snapshot.rows(single_examples(12))
    named = dict(model.named_parameters())
    assert not any(named[n] is p for n in names for p in frozen)
    assert [p.requires_grad for p in frozen] == [False] * len(frozen)
    x, y = task.pool[3]
    loss = nn.functional.cross_entropy(two_logits(model, x[None], "natural"), torch.tensor([y]))
    truth = torch.autograd.grad(loss, cases.parts(model, names))
    assert torch.allclose(rows.full(3), torch.cat([t.flatten() for t in truth]), rtol=0, atol=1e-12)
