"""Claims about divergences, compared with their definitions."""

from typing import Any

import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from coreselect.divergences import DIVERGENCES, JS, KL, OptimalTransport, divergence
from coreselect.errors import UnknownNameError


def outputs(b: int, c: int, seed: int, scale: float = 1.0) -> Tensor:
    """Draw random outputs [b, c] in float64."""
    return scale * torch.randn(b, c, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


sizes = st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(0, 99), st.floats(0.01, 8.0))


@given(sizes)
def test_kl_and_js_equal_their_definitions(drawn: tuple[int, int, int, float]) -> None:
    """Both equal the sum of the textbook formula over outputs, adversarial first, in float64 to 1e-12."""
    b, c, seed, scale = drawn
    a, n = outputs(b, c, seed, scale), outputs(b, c, seed + 1000, scale)
    assert torch.allclose(KL()(a, n), oracles.kl(a, n), rtol=1e-10, atol=1e-12)
    assert torch.allclose(JS()(a, n), oracles.js(a, n), rtol=1e-10, atol=1e-12)


@given(sizes)
def test_they_vanish_only_at_equality_and_stay_in_range(drawn: tuple[int, int, int, float]) -> None:
    """d(h, h) = 0, d ≥ 0, JS ≤ log 2 and symmetric; a shift of all outputs changes nothing."""
    b, c, seed, scale = drawn
    a, n = outputs(b, c, seed, scale), outputs(b, c, seed + 1000, scale)
    for d in (KL(), JS()):
        assert float(d(a, a).abs().max()) < 1e-13
        assert float(d(a, n).min()) > -1e-13
        assert torch.allclose(d(a + 3, n - 2), d(a, n), atol=1e-11)
    assert float(JS()(a, n).max()) <= 0.6931471805599454
    assert torch.allclose(JS()(a, n), JS()(n, a), atol=1e-13)


def test_kl_is_not_symmetric_and_its_first_argument_is_the_adversarial_one() -> None:
    """KL(a ‖ n) = Σ a log(a/n), as computed by hand for (½, ½) and (¼, ¾)."""
    a, n = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 3.0]]).log()
    assert KL()(a, n).item() == pytest.approx(0.5 * torch.log(torch.tensor(4 / 3)).item(), rel=1e-5)
    assert KL()(n, a).item() == pytest.approx(0.25 * 2**0 * -0.6931472 + 0.75 * 0.4054651, rel=1e-5)


@pytest.mark.parametrize("d", [KL(), JS()])
def test_gradients_agree_with_finite_differences_on_both_sides(d: Any) -> None:
    """No side is detached: gradcheck passes in the adversarial and in the natural outputs."""
    a, n = outputs(3, 4, 0).requires_grad_(), outputs(3, 4, 1).requires_grad_()
    assert torch.autograd.gradcheck(d, (a, n))


@pytest.mark.parametrize("d", [KL(), JS()])
def test_extreme_outputs_stay_finite(d: Any) -> None:
    """Outputs of ±300 give finite values and gradients."""
    a = torch.tensor([[300.0, -300.0], [0.0, 0.0]], requires_grad=True)
    n = torch.tensor([[-300.0, 300.0], [300.0, -300.0]], requires_grad=True)
    value = d(a, n)
    assert bool(torch.isfinite(value).all())
    for slope in torch.autograd.grad(value.sum(), (a, n)):
        assert bool(torch.isfinite(slope).all())


@pytest.mark.parametrize("d", [KL(), JS()])
def test_fisher_is_the_second_derivative_at_equality(d: Any) -> None:
    """At a = n the Hessian in a is fisher · (diag p − p pᵀ)."""
    n = outputs(1, 4, 2)
    hessian = torch.autograd.functional.hessian(lambda a: d(a[None], n).sum(), n[0].clone())
    p = oracles.softmax(n)[0]
    assert torch.allclose(hessian, d.fisher * (torch.diag(p) - p[:, None] * p[None]), atol=1e-10)


class TestOptimalTransport:
    """Entropic transport between two sets."""

    ot = pytest.importorskip("ot", reason="POT is not installed")

    @pytest.mark.parametrize("epsilon", [0.05, 0.3])
    def test_equals_a_plain_sinkhorn_loop(self, epsilon: float) -> None:
        """The value equals ⟨P, C⟩ + ε KL(P ‖ u uᵀ) of a plain scaling loop after convergence."""
        a, n = outputs(5, 4, 0), outputs(5, 4, 1)
        got = float(OptimalTransport(epsilon)(a, n))
        assert got == pytest.approx(oracles.entropic_transport(a, n, epsilon), rel=1e-6)

    def test_gradient_agrees_with_finite_differences(self) -> None:
        """At the converged plan the gradient is that of the plan (envelope theorem), on both sides."""
        a, n = outputs(4, 3, 0).requires_grad_(), outputs(4, 3, 1).requires_grad_()
        d = OptimalTransport(0.3, iterations=20000)
        slopes = torch.autograd.grad(d(a, n), (a, n))
        for side, slope in enumerate(slopes):
            base = [a.detach(), n.detach()]

            def value(flat: Tensor, side: int = side, base: list[Tensor] = base) -> float:
                moved = list(base)
                moved[side] = flat.view_as(base[side])
                return float(d(*moved))

            want = oracles.central_differences(value, base[side].reshape(-1), 1e-5)
            assert torch.allclose(slope.reshape(-1), want, atol=2e-6)

    def test_is_not_negative_and_does_not_depend_on_order(self) -> None:
        """It compares sets, so a permutation of one side does not change it; it is ≥ 0."""
        a, n = outputs(6, 4, 3), outputs(6, 4, 4)
        d = OptimalTransport(0.1)
        assert float(d(a, n)) >= 0
        assert float(d(a[[3, 1, 5, 0, 2, 4]], n)) == pytest.approx(float(d(a, n)), rel=1e-7)

    def test_one_pair_is_its_cosine_distance(self) -> None:
        """With one example on each side the plan has one entry, and the value is 1 − cos."""
        a, n = outputs(1, 4, 5), outputs(1, 4, 6)
        want = 1 - float(torch.nn.functional.cosine_similarity(a, n))
        assert float(OptimalTransport()(a, n)) == pytest.approx(want, abs=1e-12)


def test_names() -> None:
    """A known name gives its divergence, a callable is returned as it is, and an unknown name is refused with a list of names."""
    assert [divergence(n).name for n in DIVERGENCES] == list(DIVERGENCES)
    own = KL()
    assert divergence(own) is own
    with pytest.raises(UnknownNameError, match="kl, js, ot"):
        divergence("wasserstein")
