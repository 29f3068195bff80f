"""Claims about PGD, compared with a second transcription."""

from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from coreselect.attacks import PGD
from coreselect.errors import HeadError, ShapeError
from coreselect.support.seeding import noise, seeds

X = cases.images(5)
Y = cases.classes(5)
MODEL = cases.built(cases.ConvNet)
NOISE = oracles.noise_one_by_one((1, 6, 6), torch.float64, 0, "test", indices=range(5))


def loss(at: Tensor) -> Tensor:
    """Compute the summed cross-entropy of the fixed labels."""
    return oracles.cross_entropy(MODEL(at), Y).sum()


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("start", [True, False])
def test_linf_equals_a_second_transcription(steps: int, start: bool) -> None:
    """l∞ PGD equals the textbook loop, with and without random start."""
    got = PGD(0.1, 0.04, steps, random_start=start)(lambda v: loss(v[0]), (X,), (NOISE,))[0]
    want = oracles.pgd_linf(loss, X, NOISE, 0.1, 0.04, steps, start=start)
    assert torch.allclose(got, want, rtol=0, atol=1e-14)


@pytest.mark.parametrize("steps", [1, 4])
def test_l2_equals_a_second_transcription(steps: int) -> None:
    """l₂ PGD from the centre equals the textbook loop."""
    got = PGD(0.5, 0.2, steps, norm="l2", random_start=False)(lambda v: loss(v[0]), (X,), (NOISE,))[0]
    assert torch.allclose(got, oracles.pgd_l2(loss, X, 0.5, 0.2, steps), rtol=0, atol=1e-12)


@given(st.floats(0, 0.6), st.floats(0.001, 2.0), st.integers(0, 3), st.sampled_from(["linf", "l2"]))
def test_stays_in_the_ball_and_in_the_bounds(radius: float, step: float, steps: int, norm: Any) -> None:
    """For any radius, step and norm, each example stays in its ball and in [0, 1]."""
    got = PGD(radius, step, steps, norm=norm)(lambda v: loss(v[0]), (X,), (NOISE,))[0]
    away = (got - X).flatten(1)
    far = away.abs().amax(1) if norm == "linf" else away.norm(dim=1)
    assert bool((far <= radius + 1e-12).all())
    assert float(got.min()) >= 0
    assert float(got.max()) <= 1


def test_raises_the_loss() -> None:
    """Four steps raise the loss of every example above that of the random start."""
    before = oracles.cross_entropy(MODEL(PGD(0.1, 0.02, 0)(lambda v: loss(v[0]), (X,), (NOISE,))[0]), Y)
    after = oracles.cross_entropy(MODEL(PGD(0.1, 0.02, 8)(lambda v: loss(v[0]), (X,), (NOISE,))[0]), Y)
    assert bool((after > before).all())


def test_examples_do_not_depend_on_each_other() -> None:
    """An example that is attacked by itself gives the same as in a batch."""
    together = PGD(0.1, 0.04, 3)(lambda v: loss(v[0]), (X,), (NOISE,))[0]
    for i in range(len(X)):
        alone = PGD(0.1, 0.04, 3)(
            lambda v, i=i: oracles.cross_entropy(MODEL(v[0]), Y[i : i + 1]).sum(), (X[i : i + 1],), (NOISE[i : i + 1],)
        )[0]
        assert torch.allclose(alone[0], together[i], atol=1e-12)


def test_views_are_attacked_jointly() -> None:
    """With two views, one gradient of one scalar changes both, as the transcription on their concatenation does."""
    other = cases.images(5, seed=3)

    def joint(both: Tensor) -> Tensor:
        return oracles.nt_xent(MODEL(both[:5]), MODEL(both[5:]), 0.5) * 5

    got = PGD(0.1, 0.04, 3)(lambda v: joint(torch.cat(v)), (X, other), (NOISE, -NOISE))
    want = oracles.pgd_linf(joint, torch.cat([X, other]), torch.cat([NOISE, -NOISE]), 0.1, 0.04, 3)
    assert torch.allclose(torch.cat(got), want, atol=1e-13)


def test_only_inputs_are_differentiated() -> None:
    """Parameters with requires_grad get no gradient, and the attacked inputs are detached."""
    model = cases.built(cases.ConvNet)
    got = PGD(0.1, 0.04, 2)(lambda v: model(v[0]).pow(2).sum(), (X,), (NOISE,))[0]
    assert not got.requires_grad
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_works_with_gradients_switched_off_outside(mode: Any) -> None:
    """Under no_grad the attack is the same."""
    want = PGD(0.1, 0.04, 2)(lambda v: loss(v[0]), (X,), (NOISE,))[0]
    with mode():
        assert torch.equal(PGD(0.1, 0.04, 2)(lambda v: loss(v[0]), (X,), (NOISE,))[0], want)


def test_radius_zero_leaves_the_input() -> None:
    """A ball of radius zero is its centre."""
    for norm in ("linf", "l2"):
        assert torch.equal(PGD(0.0, 0.1, 3, norm=norm)(lambda v: loss(v[0]), (X,), (NOISE,))[0], X)  # type: ignore[arg-type]


def test_without_bounds_nothing_is_clamped() -> None:
    """bounds=None lets inputs leave [0, 1] by up to the radius."""
    got = PGD(0.5, 0.5, 2, bounds=None)(lambda v: loss(v[0]), (X,), (NOISE,))[0]
    assert float(got.max()) > 1


def test_a_flat_loss_gives_no_nan() -> None:
    """Where the gradient is zero, l₂ steps stay where they are."""
    for norm in ("linf", "l2"):
        got = PGD(0.3, 0.1, 2, norm=norm)(lambda v: (v[0] * 0).sum(), (X,), (NOISE,))[0]  # type: ignore[arg-type]
        assert bool(torch.isfinite(got).all())


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_l2_start_is_uniform_in_the_ball(d: int) -> None:
    """The mean start is the centre, and the share of starts inside half the radius is 2^−d."""
    n = 20000
    like = torch.zeros(n, d, dtype=torch.float64)
    u = noise(like, seeds(0, "uniform", indices=np.arange(n)))
    start = PGD(1.0, 0.1, 0, norm="l2", bounds=None)(lambda v: v[0].sum(), (like,), (u,))[0]
    lengths = start.norm(dim=1)
    assert float(lengths.max()) <= 1 + 1e-9
    assert float(start.mean(0).abs().max()) < 4 / n**0.5  # the standard deviation of a coordinate is at most 1
    assert abs(float((lengths < 0.5).double().mean()) - 0.5**d) < 4 * 0.5 / n**0.5


def test_the_noise_is_drawn_per_index() -> None:
    """Noise equals that of one generator for each index, for any batch, and is in [−1, 1)."""
    like = torch.zeros(6, 2, 3, dtype=torch.float64)
    ids = np.array([9, 2, 100000, 0, 7, 3])
    got = noise(like, seeds(5, "attack", 2, 0, indices=ids))
    assert torch.equal(got, oracles.noise_one_by_one((2, 3), torch.float64, 5, "attack", 2, 0, indices=ids.tolist()))
    assert torch.equal(got[2:4], noise(like[2:4], seeds(5, "attack", 2, 0, indices=ids[2:4])))
    assert float(got.min()) >= -1
    assert float(got.max()) < 1


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"radius": -0.1, "step": 0.1, "steps": 1}, "radius"),
        ({"radius": 0.1, "step": 0.0, "steps": 1}, "step"),
        ({"radius": 0.1, "step": 0.1, "steps": -1}, "steps"),
        ({"radius": float("nan"), "step": 0.1, "steps": 1}, "radius"),
        ({"radius": 0.1, "step": 0.1, "steps": 1, "norm": "l1"}, "l1"),
        ({"radius": 0.1, "step": 0.1, "steps": 1, "bounds": (1.0, 0.0)}, "bounds"),
    ],
)
def test_impossible_settings_are_refused(settings: Any, word: str) -> None:
    """Each impossible setting is refused by name when the attack is made."""
    with pytest.raises(ShapeError, match=word):
        PGD(**settings)


@given(st.integers(-38, 37), st.integers(1, 2), st.sampled_from([torch.float32, torch.float64]))
def test_slopes_of_any_size_give_steps_of_one_length(power: int, steps: int, dtype: torch.dtype) -> None:
    """l₂ steps are as long for slopes of 1e-38 as of 1e37, whose squares vanish or overflow in float32."""
    x = X.to(dtype)
    direction = (torch.rand(x.shape, generator=torch.Generator().manual_seed(2), dtype=dtype) + 0.1) * 10.0**power
    attack = PGD(1.0, 0.2, steps, norm="l2", random_start=False, bounds=None)
    got = attack(lambda v: (v[0] * direction).sum(), (x,), (x,))[0]
    assert torch.allclose((got - x).flatten(1).norm(dim=1), torch.full((5,), 0.2 * steps, dtype=dtype), rtol=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_one_bad_slope_moves_no_other_entry(norm: Any, bad: float) -> None:
    """A NaN entry counts as 0, so its pixel stays and the others step; an infinite one is the largest; zeros do not step."""
    slope = torch.ones_like(X)
    slope[1, 0, 2, 3] = bad
    slope[2] = 0

    class Slopes(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.sum()

        @staticmethod
        def backward(ctx: Any, *_: Any) -> Any:
            return slope

    attack = PGD(1.0, 0.2, 1, norm=norm, random_start=False, bounds=None)
    moved = attack(lambda v: Slopes.apply(v[0]), (X,), (NOISE,))[0] - X
    assert bool(moved.isfinite().all())
    assert float(moved[2].abs().max()) == 0
    at, others = float(moved[1, 0, 2, 3]), torch.cat([moved[1].flatten()[:15], moved[1].flatten()[16:]])
    assert float(moved[0].abs().min()) > 0
    if bad != bad:
        assert at == 0
        assert float(others.min()) > 0
    elif norm == "linf":
        assert at == pytest.approx(0.2 if bad > 0 else -0.2)
        assert float(others.min()) == pytest.approx(0.2)
    else:
        assert at == pytest.approx(0.2 if bad > 0 else -0.2)


@pytest.mark.parametrize("cut", [lambda z: z.detach(), lambda z: z.detach() * next(MODEL.parameters()).sum()])
def test_a_model_through_which_no_gradient_flows_is_refused(cut: Any) -> None:
    """Nothing can be raised by moving its inputs, whether or not parameters have a gradient: one sentence says so."""
    with pytest.raises(HeadError, match="no gradient flows from the model's output to its inputs"):
        PGD(0.1, 0.04, 1)(lambda v: cut(loss(v[0])), (X,), (NOISE,))
