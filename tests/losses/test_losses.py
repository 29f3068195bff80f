"""Claims about training losses, each compared with a plain loop."""

import math
from typing import Any

import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coreselect.errors import UnknownNameError
from coreselect.losses import ACL, CL, LOSSES, SAT, TRADES, Divided, loss, nt_xent, nt_xent_each


def z(b: int, d: int, seed: int) -> torch.Tensor:
    """Random outputs [b, d] in float64."""
    return torch.randn(b, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 99), st.sampled_from([0.1, 0.5, 2.0]))
def test_nt_xent_equals_a_double_loop(b: int, d: int, seed: int, t: float) -> None:
    """NT-Xent equals the loop over all ordered pairs of views, in float64 to 1e-10."""
    first, second = z(b, d, seed), z(b, d, seed + 500)
    assert torch.allclose(nt_xent(first, second, t), oracles.nt_xent(first, second, t), rtol=1e-10, atol=1e-10)


def test_nt_xent_of_one_pair_is_zero_with_a_zero_gradient() -> None:
    """With one pair there is nothing to contrast: the value and the gradient are 0 and finite."""
    first, second = z(1, 3, 0).requires_grad_(), z(1, 3, 1).requires_grad_()
    value = nt_xent(first, second)
    assert float(value) == 0
    for slope in torch.autograd.grad(value, (first, second)):
        assert float(slope.abs().max()) == 0


def test_nt_xent_gradient_agrees_with_finite_differences() -> None:
    """The gradient passes gradcheck in both views."""
    assert torch.autograd.gradcheck(nt_xent, (z(3, 4, 0).requires_grad_(), z(3, 4, 1).requires_grad_()))


def test_nt_xent_does_not_depend_on_lengths_or_the_order_of_views() -> None:
    """Scaling an embedding, exchanging the views, or permuting the pairs of both views does not change the loss."""
    first, second = z(5, 4, 0), z(5, 4, 1)
    want = nt_xent(first, second, 0.2)
    assert torch.allclose(nt_xent(7 * first, 0.1 * second, 0.2), want)
    assert torch.allclose(nt_xent(second, first, 0.2), want)
    order = [3, 0, 4, 1, 2]
    assert torch.allclose(nt_xent(first[order], second[order], 0.2), want)


def test_nt_xent_in_half_precision_is_finite() -> None:
    """At temperature 0.05 half-precision embeddings are converted to float32."""
    value = nt_xent(z(4, 3, 0).half(), z(4, 3, 1).half(), 0.05)
    assert value.dtype == torch.float32
    assert bool(torch.isfinite(value))


@pytest.mark.parametrize("omega", [0.0, 0.3, 1.0])
def test_acl_weighs_adversarial_and_natural_terms(omega: float) -> None:
    """ACL = ½[(1+ω)·ℓ(adversarial) + (1−ω)·ℓ(natural)]."""
    a, n = (z(4, 3, 0), z(4, 3, 1)), (z(4, 3, 2), z(4, 3, 3))
    want = 0.5 * ((1 + omega) * oracles.nt_xent(*a, 0.5) + (1 - omega) * oracles.nt_xent(*n, 0.5))
    assert torch.allclose(ACL(omega=omega)(a, n, None), want)
    assert torch.allclose(ACL(omega=omega).ascend(a, n, None), oracles.nt_xent(*a, 0.5))


def anchors(first: torch.Tensor, second: torch.Tensor, t: float) -> list[float]:
    """Compute the mean over the two anchors of each pair, by a loop over all other views."""
    every = [v / v.norm() for v in (*first, *second)]
    b, out = len(first), []
    for k in range(b):
        both = []
        for u, partner in ((k, k + b), (k + b, k)):
            others = sum(math.exp(float(every[u] @ v) / t) for i, v in enumerate(every) if i != u)
            both.append(-math.log(math.exp(float(every[u] @ every[partner]) / t) / others))
        out.append(sum(both) / 2)
    return out


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 99), st.sampled_from([0.1, 0.5, 2.0]))
def test_each_example_adds_the_mean_of_its_two_anchors(b: int, d: int, seed: int, t: float) -> None:
    """`each` equals a loop in float64 to 1e-10, is never negative, and its mean is the loss, in CL and in ACL."""
    a, n = (z(b, d, seed), z(b, d, seed + 500)), (z(b, d, seed + 1000), z(b, d, seed + 1500))
    natural, attacked = (torch.tensor(anchors(*v, t), dtype=torch.float64) for v in (n, a))
    assert torch.allclose(nt_xent_each(*n, t), natural, rtol=1e-10, atol=1e-10)
    for own, want in (
        (CL(t), natural),
        (ACL(t, omega=0.3), 0.5 * (1.3 * attacked + 0.7 * natural)),
    ):
        assert isinstance(own, Divided)
        got = own.each(a, n, None)
        assert torch.allclose(got, want, rtol=1e-10, atol=1e-10)
        assert bool((got >= 0).all())
        assert torch.equal(got.mean(), own(a, n, None))


def test_the_mean_over_examples_has_the_gradient_of_the_mean_over_anchors() -> None:
    """The mean of `each` and the cross-entropy over all 2B anchors have the same value and gradient, up to rounding."""
    views = z(6, 4, 0).requires_grad_(), z(6, 4, 1).requires_grad_()
    unit = torch.nn.functional.normalize(torch.cat(views), dim=1)
    similarity = (unit @ unit.T / 0.5).masked_fill(torch.eye(12, dtype=torch.bool), float("-inf"))
    want = torch.nn.functional.cross_entropy(similarity, torch.arange(12).roll(6))
    got = CL()((), views, None)
    assert torch.allclose(got, want, rtol=1e-14)
    for one, two in zip(torch.autograd.grad(got, views), torch.autograd.grad(want, views), strict=True):
        assert torch.allclose(one, two, rtol=1e-12, atol=1e-15)


def test_cl_reads_only_natural_views() -> None:
    """CL is NT-Xent of the natural views, and has no attack."""
    n = (z(4, 3, 2), z(4, 3, 3))
    assert torch.allclose(CL(0.3)((), n, None), oracles.nt_xent(*n, 0.3))
    assert CL().default_attack is None


def test_sat_is_cross_entropy_per_example() -> None:
    """SAT is CE(h(x̃), y) [B], and its attack raises the sum."""
    h, y = z(5, 4, 0), torch.tensor([0, 3, 1, 1, 2])
    assert torch.allclose(SAT()((h,), (), y), oracles.cross_entropy(h, y))
    assert torch.allclose(SAT().ascend((h,), (), y), oracles.cross_entropy(h, y).sum())


def test_trades_is_natural_cross_entropy_plus_a_robust_term() -> None:
    """TRADES is CE(h(x), y) + β KL(p ‖ p̃) [B] with the natural output first, and its attack raises only the KL."""
    a, n, y = z(5, 4, 0), z(5, 4, 1), torch.tensor([0, 3, 1, 1, 2])
    want = oracles.cross_entropy(n, y) + 6 * oracles.kl(n, a)
    assert torch.allclose(TRADES()((a,), (n,), y), want)
    assert torch.allclose(TRADES().ascend((a,), (n,), y), oracles.kl(n, a).sum())


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_says_what_it_reads(name: str) -> None:
    """Streams have known routes and views below `views`; a loss with adversarial streams has a published attack."""
    own: Any = loss(name)
    assert own.name == name
    assert {route for route, _ in own.streams} <= {"natural", "adversarial"}
    assert {view for _, view in own.streams} == set(range(own.views))
    assert (own.default_attack is not None) == any(route == "adversarial" for route, _ in own.streams)


def test_names() -> None:
    """An object is returned as it is; an unknown name is refused, and the message lists the known names."""
    own = SAT()
    assert loss(own) is own
    with pytest.raises(UnknownNameError, match="sat, trades, cl, acl"):
        loss("mart")
