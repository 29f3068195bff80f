"""What diagnostics say: which inputs are misclassified, and which cosines are a problem."""

from typing import Any

import cases
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coreselect import Diagnostics, select
from coreselect.selectors import RCS


@given(st.floats(-1, 1))
def test_a_cosine_that_is_printed_as_zero_is_no_problem(cosine: float) -> None:
    """It is one exactly where two decimals show a number below zero."""
    for found in (Diagnostics(query_pool_cosine=cosine), Diagnostics(query_loss_cosine=cosine)):
        words = found.trouble()
        assert bool(words) == (float(f"{cosine:.2f}") < 0)
        assert "-0.00" not in " ".join(words)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "100% of the picks are misclassified (pool: 81%)"),
        ({"misclassified_attacked": False}, "100% of the picks are misclassified (pool: 81%)"),
        ({"misclassified_attacked": True}, "100% of the picks are misclassified under the training attack (pool: 81%)"),
        (
            {"misclassified_attacked": True, "misclassified_clean": 0.02, "misclassified_clean_pool": 0.012},
            "100% of the picks are misclassified under the training attack (pool: 81%), 2% without attack (pool: 1%)",
        ),
    ],
)
def test_the_sentence_says_under_which_inputs(more: dict[str, Any], words: str) -> None:
    """Under attack it says so, with the clean figure beside it where that is known; files of older versions say neither."""
    assert Diagnostics(misclassified=1.0, misclassified_pool=0.81, **more).trouble() == (words,)


@pytest.mark.parametrize("loss", ["sat", "trades", "ce"])
@pytest.mark.parametrize("read", [False, True])
def test_the_clean_figure_is_there_where_natural_outputs_are(loss: str, read: bool) -> None:
    """TRADES has them, SAT only if a score has read them; each share is that of the model. No forward pass is made for it."""
    task = cases.sat_task(loss=loss, attack=None if loss == "ce" else cases.WEAK)
    passes: list[int] = []
    with task.snapshot(0, 0) as snapshot:
        if read:
            snapshot.logits()
        hook = snapshot.net.model.conv.register_forward_hook(lambda *_: passes.append(1))
        chosen = RCS(group_size=3).select(snapshot, 8, generator=torch.Generator().manual_seed(0))
        hook.remove()
    plain = len(passes)
    found = chosen.diagnostics
    assert found is not None
    assert found.misclassified_attacked is (loss != "ce")
    assert (found.misclassified_clean is not None) == (loss == "trades" or (loss == "sat" and read))
    with torch.no_grad():
        wrong = torch.stack([task.model(x[None]).argmax() != y for x, y in (task.pool[i] for i in range(24))]).double()
    if found.misclassified_clean is not None:
        assert found.misclassified_clean == pytest.approx(float(wrong[chosen.indices].mean()))
        assert found.misclassified_clean_pool == pytest.approx(float(wrong.mean()))
    if loss == "ce":
        assert found.misclassified_pool == pytest.approx(float(wrong.mean()))
    again = select(task, RCS(group_size=3), 8)
    assert again.indices.tolist() == chosen.indices.tolist()
    assert plain == (passes_of(task))


def passes_of(task: Any) -> int:
    """How many passes the same selection makes when no natural outputs were read before it."""
    passes: list[int] = []
    with task.snapshot(0, 0) as snapshot:
        hook = snapshot.net.model.conv.register_forward_hook(lambda *_: passes.append(1))
        RCS(group_size=3).select(snapshot, 8, generator=torch.Generator().manual_seed(0))
        hook.remove()
    return len(passes)
