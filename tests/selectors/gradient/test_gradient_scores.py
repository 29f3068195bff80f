"""GLISTER, GraNd and LESS equal their definitions."""

import cases
import numpy as np
import oracles
import pytest
import torch
from gradient_rows import natural_gradients, normal

from coreselect import Task, select
from coreselect.selectors import GLISTER, LESS, GraNd


@pytest.mark.parametrize("refresh", [1, 3])
def test_glister_is_algorithm_1_on_natural_cross_entropy(refresh: int) -> None:
    """Picks, gains and first gains are those of the slow loop with single examples and validation's cross-entropy."""
    task = cases.sat_task(18)
    fc, z = task.model.fc, None
    rows, _ = natural_gradients(task)
    handle = fc.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].detach()))
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        task.model(task.validation.x)
    handle.remove()
    z = seen[0]  # [|U|, D] features of validation

    def query(theta: torch.Tensor) -> torch.Tensor:
        here = theta.clone().requires_grad_()
        outputs = z @ here[: fc.weight.numel()].view_as(fc.weight).T + here[fc.weight.numel() :]
        return torch.autograd.grad(oracles.cross_entropy(outputs, task.validation.y).mean(), here)[0]

    theta = oracles.flat([fc.weight.detach(), fc.bias.detach()])
    order, picks, gains, _ = oracles.algorithm_1(
        lambda m: rows[m[0]], query, [[i] for i in range(18)], theta, 0.5, 9, refresh=refresh
    )
    chosen = select(task, GLISTER(eta=0.5, refresh=refresh), 9)
    assert chosen.indices.tolist() == order == picks
    assert chosen.gains == pytest.approx(gains)
    assert chosen.scores == pytest.approx(0.5 * (rows @ query(theta)).numpy())
    assert chosen.nested


def test_grand_is_the_norm_of_the_natural_gradient() -> None:
    """Scores are gradient norms from one backward pass each; the largest come first, ties by index."""
    task = cases.sat_task(20)
    norms = natural_gradients(task)[0].norm(dim=1).numpy()
    chosen = select(task, GraNd(), 7)
    assert chosen.scores == pytest.approx(norms)
    assert chosen.indices.tolist() == sorted(range(20), key=lambda i: -norms[i])[:7]
    tied = Task.from_arrays(gradients=[[1.0, 0], [0, -2.0], [2.0, 0], [0, 1.0], [0, 2.0]])
    assert select(tied, GraNd(), 4).indices.tolist() == [1, 2, 4, 0]


def test_less_is_the_cosine_with_validation() -> None:
    """Scores equal numpy's cosines, also for a model's natural gradients; a zero gradient has cosine 0."""
    task = cases.array_task(24)
    task.gradients[5] = 0
    q = task.validation_gradient
    want = [0.0 if i == 5 else g @ q / np.linalg.norm(g) / np.linalg.norm(q) for i, g in enumerate(task.gradients)]
    chosen = select(task, LESS(), 9)
    assert chosen.scores == pytest.approx(want)
    assert chosen.indices.tolist() == sorted(range(24), key=lambda i: -want[i])[:9]
    model = cases.sat_task(20)
    rows, query = natural_gradients(model)
    cosines = torch.nn.functional.cosine_similarity(rows, query[None]).numpy()
    assert select(model, LESS(), 5).scores == pytest.approx(cosines)


def test_less_breaks_ties_in_float32_by_index() -> None:
    """Equal and parallel gradients (powers of two apart) come in the order of their indices, in float32."""
    g = np.tile(normal(2, 3, 33), (20, 1)).astype(np.float32)
    g[::2] *= 4
    query = normal(3, 33).astype(np.float32)
    chosen = select(Task.from_arrays(gradients=g, validation_gradient=query), LESS(), 45)
    best = int(np.argsort(-chosen.scores[:3])[0])  # type: ignore[index]
    assert chosen.indices[:20].tolist() == list(range(best, 60, 3))
