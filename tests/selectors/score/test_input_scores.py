"""DeepFool and AIGN, which take gradients of inputs."""

import cases
import numpy as np
import pytest
import torch
from score_formulas import Linear, N, ranked, select

from coreselect.selectors import (
    AIGN,
    DeepFool,
)


@pytest.mark.parametrize("overshoot", [0.0001, 0.02])
def test_deepfool_of_a_linear_model_is_the_distance(overshoot: float) -> None:
    """For a linear model one step gives (1 + η) times the Euclidean distance to the nearest plane f_c = f_k₀."""
    model = cases.built(Linear)
    chosen = select(cases.sat_task(N, model=model), DeepFool(overshoot=overshoot), 5)
    W = model.fc.weight.detach()  # type: ignore[union-attr]
    for i, x in enumerate(cases.images(N)):
        f = model(x[None])[0].detach()
        own = int(f.argmax())
        want = min(float((f[own] - f[c]) / (W[own] - W[c]).norm()) for c in range(4) if c != own)
        assert chosen.scores is not None
        assert chosen.scores[i] == pytest.approx((1 + overshoot) * want, rel=1e-9)
    assert chosen.indices.tolist() == ranked(chosen.scores, "lowest", 5)
    assert not chosen.provenance.notes


def test_deepfool_crosses_and_counts_what_does_not() -> None:
    """On a network every perturbation changes the prediction; with one iteration, a note counts those that do not."""
    task = cases.sat_task(N)
    with task.snapshot(0, 0) as snapshot:
        at, x, _ = next(snapshot.inputs())
        r, crossed = DeepFool().perturb(snapshot, x, at)
        assert bool(crossed.all())
        assert bool((snapshot.outputs(x + r).argmax(1) != snapshot.outputs(x).argmax(1)).all())
        short, done = DeepFool(iterations=1).perturb(snapshot, x, at)
    left = int((~done).sum())
    notes = select(task, DeepFool(iterations=1), 5).provenance.notes
    assert notes == ((f"{left} of {N} examples did not cross the boundary in 1 iterations",) if left else ())
    assert bool(torch.isfinite(short).all())


def test_deepfool_without_a_slope_is_infinite() -> None:
    """A model with constant output has no boundary: distances are infinite, the lowest indices are picked, and a note says so."""
    model = cases.built(Linear)
    with torch.no_grad():
        model.fc.weight.zero_()  # type: ignore[union-attr]
    chosen = select(cases.sat_task(N, model=model), DeepFool(), 4)
    assert chosen.indices.tolist() == [0, 1, 2, 3]
    assert np.isinf(chosen.scores).all()  # type: ignore[arg-type]
    assert f"{N} of {N}" in chosen.provenance.notes[0]


def test_aign_of_a_linear_model() -> None:
    """‖Wᵀ(p − e_y)‖₂, lowest kept."""
    model = cases.built(Linear)
    chosen = select(cases.sat_task(N, model=model), AIGN(), 5)
    W, want = model.fc.weight.detach(), []  # type: ignore[union-attr]
    for x, y in zip(cases.images(N), cases.classes(N), strict=True):
        residual = model(x[None])[0].detach().softmax(0)
        residual[y] -= 1
        want.append(float((W.T @ residual).norm()))
    np.testing.assert_allclose(chosen.scores, want, rtol=1e-10)
    assert chosen.indices.tolist() == ranked(chosen.scores, "lowest", 5)
