"""What selectors beside RCS read off a snapshot: inner products of rows, other losses' rows, attacked logits, inputs."""

from typing import Any

import cases
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from coreselect import Task, get_selector, select
from coreselect.errors import RequirementError
from coreselect.gradients.rows import single_examples
from coreselect.losses import CE

N = 18


@pytest.mark.parametrize("capture", [None, "all"])
def test_inner_products_and_norms_are_those_of_the_rows(capture: Any) -> None:
    """Factored (a head) and dense (the whole model, unsketched): gram and norms equal the rows' written out, to 1e-10."""
    with cases.sat_task(N, capture=capture).snapshot(0, 0) as shot:
        rows, _ = shot.rows(single_examples(shot.n))
        R = torch.stack([rows.full(i) for i in range(shot.n)])  # [N, P]
        a, b = torch.tensor([3, 0, 7]), torch.arange(shot.n)
        torch.testing.assert_close(rows.gram(a, b), R[a] @ R.T, rtol=0, atol=1e-10)
        torch.testing.assert_close(rows.norms(), R.norm(dim=1), rtol=0, atol=1e-10)


def test_under_another_loss_rows_are_of_natural_inputs() -> None:
    """CE: row i is the gradient of the cross-entropy of x_i as it is; the attacked rows stay what they were."""
    task = cases.sat_task(N)
    with task.snapshot(0, 0) as shot:
        attacked, _ = shot.rows(single_examples(shot.n))
        before = attacked.full(2).clone()
        rows, losses = shot.under(CE()).rows(single_examples(shot.n))
        natural, names = [rows.full(i) for i in (0, 5)], shot.layout().names
        assert torch.equal(attacked.full(2), before)
        assert not torch.allclose(rows.full(2), before)
    known = dict(task.model.named_parameters())
    assert losses is not None
    for i, row in zip((0, 5), natural, strict=True):
        x, y = task.pool[i]
        loss = F.cross_entropy(task.model(x[None]), torch.tensor([y]))
        slopes = torch.autograd.grad(loss, [known[n] for n in names])
        torch.testing.assert_close(row, torch.cat([s.flatten() for s in slopes]), rtol=0, atol=1e-10)
        assert float(losses[i]) == pytest.approx(loss.item(), abs=1e-10)


@pytest.mark.parametrize("capture", [None, "all"])
def test_attacked_logits_are_of_the_inputs_that_the_loss_trains_on(capture: Any) -> None:
    """Their cross-entropies are the losses of the rows."""
    with cases.sat_task(N, capture=capture).snapshot(0, 0) as shot:
        _, losses = shot.rows(single_examples(shot.n))
        z, y = shot.attacked_logits(), torch.from_numpy(shot.labels())
        torch.testing.assert_close(F.cross_entropy(z, y, reduction="none"), losses, rtol=0, atol=1e-10)


def test_inputs_come_in_order_and_outputs_let_gradients_through() -> None:
    """A restricted snapshot counts them anew; labels come along; the slope with respect to x is autograd's."""
    task = cases.sat_task(N)
    with task.snapshot(0, 0) as shot:
        part = shot.restrict([4, 1, 9])
        read = list(part.inputs())
        assert np.concatenate([p for p, _, _ in read]).tolist() == [0, 1, 2]
        x = torch.cat([x for _, x, _ in read])
        assert torch.equal(x, torch.stack([task.pool[i][0] for i in (4, 1, 9)]))
        y = read[0][2]
        assert y is not None
        assert y[0] == task.pool[4][1]
        x.requires_grad_()
        with torch.enable_grad():
            slope = torch.autograd.grad(shot.outputs(x).square().sum(), x)[0]
        assert slope.abs().sum() > 0


def test_arrays_have_no_inputs_and_keep_their_rows() -> None:
    """Refusals say what to give; `under` leaves rows as they came."""
    with Task.from_arrays(gradients=np.eye(4)).snapshot(0, 0) as shot:
        assert shot.under(CE()) is shot
        for ask in (shot.attacked_logits, lambda: shot.inputs(), lambda: shot.outputs(torch.zeros(1))):
            with pytest.raises(RequirementError, match="model"):
                ask()


def test_a_network_trained_without_labels_has_no_classes() -> None:
    """Under ACL its outputs are no logits: methods that read classes are refused in one sentence, before any sweep."""
    task = cases.acl_task(12)
    assert "logits" not in task.provides
    with pytest.raises(RequirementError, match="supervised loss"):
        select(task, get_selector("entropy"), 4)
    with task.snapshot(0, 0) as shot, pytest.raises(RequirementError, match="trained without labels"):
        shot.under(CE())
