"""Invariant regularisation: divergences over the batch, the program's variant of them, and a loss of three views."""

import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from bright_dark import SHORT as ATTACK
from bright_dark import gen
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from coreselect import Task, select
from coreselect.errors import ShapeError, UnknownNameError
from coreselect.losses import ACL
from coreselect.objectives import RD
from coreselect.selectors import RCS
from coreselect_integrations.networks import route_call, small_conv_contrastive
from coreselect_integrations.systems.air import IR, air, sir, with_original
from coreselect_integrations.systems.views import two_views

FORMS = ("kl", "paper", "published")


def outputs(count: int, b: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Random representations [b, d]."""
    return list(torch.randn(count, b, d, dtype=torch.float64, generator=gen(seed)).to(dtype))


def weights(a: Tensor, b: Tensor, t: float) -> list[float]:
    """Softmax over the batch of the matched cosines over t, in python numbers."""
    e = [math.exp(float(x @ y) / math.sqrt(float(x @ x) * float(y @ y)) / t) for x, y in zip(a, b, strict=True)]
    return [one / sum(e) for one in e]


def slow(p: list[float], q: list[float], form: str) -> float:
    """Σ p log(p/q), or Σ q (log q − p)."""
    if form != "published":
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return sum(b * (math.log(b) - a) for a, b in zip(p, q, strict=True))


def slow_sir(z: list[Tensor], t: float, form: str) -> float:
    return slow(weights(z[0], z[1], t), weights(z[0], z[2], t), form)


def slow_air(z: list[Tensor], t: float, form: str) -> float:
    """AIR of z, z_i, z_j, z̃_i, z̃_j; the products are normalised for the divergence only."""
    both = []
    for view, adversarial in ((z[1], z[3]), (z[2], z[4])):
        a = [y * x for y, x in zip(weights(z[0], adversarial, t), weights(adversarial, view, t), strict=True)]
        both.append([one / sum(a) for one in a] if form == "kl" else a)
    return slow(both[0], both[1], form)


@pytest.mark.parametrize("form", FORMS)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 99), st.sampled_from([0.1, 0.5, 2.0]))
def test_terms_equal_a_loop(form: Any, b: int, d: int, seed: int, t: float) -> None:
    """SIR and AIR, in every form, equal the loop over the batch in float64."""
    z = outputs(5, b, d, seed)
    assert float(sir(*z[:3], temperature=t, form=form)) == pytest.approx(slow_sir(z, t, form), abs=1e-10)
    assert float(air(*z, temperature=t, form=form)) == pytest.approx(slow_air(z, t, form), abs=1e-10)


def test_terms_worked_by_hand() -> None:
    """Two items, t = 1, cosines 1 and 0 against 0 and 1: SIR = (e − 1)/(e + 1), and AIR from summed cosines the like."""
    z = torch.eye(2, dtype=torch.float64)
    up = torch.tensor([[1.0, 0], [1, 0]], dtype=torch.float64)  # cosines with z: 1, 0
    down = torch.tensor([[0, 1.0], [0, 1]], dtype=torch.float64)  # 0, 1
    want = math.tanh(0.5)  # p = (e, 1)/(e + 1) and q = (1, e)/(e + 1): Σ p log(p/q) = p₁ − p₂
    assert float(sir(z, up, down, temperature=1.0)) == pytest.approx(want, abs=1e-12)
    assert float(air(z, up, down, up, down, temperature=1.0)) == pytest.approx(want, abs=1e-12)  # both views add 1, 1
    # attacked views are z's own: sums 1 + (1, 0) and 1 + (0, 1)
    assert float(air(z, up, down, z, z, temperature=1.0)) == pytest.approx(want, abs=1e-12)
    # attacked views up and down, natural ones z and z: sums 2·(1, 0) and 2·(0, 1)
    assert float(air(z, z, z, up, down, temperature=1.0)) == pytest.approx(2 * math.tanh(1), abs=1e-12)


@given(st.integers(1, 8), st.integers(0, 99))
def test_the_divergences_are_not_negative_and_vanish_for_views_alike(b: int, seed: int) -> None:
    """The form kl is ≥ 0, and it is 0 with a zero gradient if both views are the same."""
    z = outputs(5, b, 4, seed)
    assert float(sir(*z[:3])) >= -1e-12
    assert float(air(*z)) >= -1e-12
    alike = [z[0].requires_grad_(), z[1].requires_grad_(), z[1], z[3].requires_grad_(), z[3]]
    total = sir(*alike[:3]) + air(*alike)
    assert float(total.detach()) == 0
    for slope in torch.autograd.grad(total, (z[0], z[1], z[3])):
        assert float(slope.abs().max()) < 1e-12


def test_the_published_form_at_uniform_similarities() -> None:
    """For 64 items alike SIR is −log 64 − 1/64 = −4.1745 and AIR −(2·log 64 + 1/64²)/64 = −0.1300, where KL is 0."""
    z = outputs(1, 64, 8, 0)[0]
    assert float(sir(z, z, z, form="published")) == pytest.approx(-math.log(64) - 1 / 64, abs=1e-12)
    assert float(air(z, z, z, z, z, form="published")) == pytest.approx(-(2 * math.log(64) + 1 / 4096) / 64, abs=1e-12)
    assert float(sir(z, z, z)) == 0
    assert float(air(z, z, z, z, z)) == 0


@pytest.mark.parametrize(("d", "first", "second"), [(44, -4.13, None), (16, None, -0.126)])
def test_the_published_form_of_identical_views_is_far_from_zero(
    d: int, first: float | None, second: float | None
) -> None:
    """64 random items, both views the same: SIR is −4.13 at 44 dimensions, AIR −0.126 at 16; a divergence is 0.

    Cosines of random vectors have variance 1/D, exponents σ² = 1/(D·t²). For such a softmax over B, −H ≈ −log B + σ²/2
    and Σ p² ≈ e^{σ²}/B; the product of two, which adds up to 1/B, has exponents of variance 2σ².
    """
    values = []
    for seed in range(40):
        z, view, attacked = outputs(3, 64, d, seed)
        pair = (sir(z, view, view, form="published"), air(z, view, view, attacked, attacked, form="published"))
        values.append(torch.stack(pair))
        assert float(sir(z, view, view)) == float(air(z, view, view, attacked, attacked)) == 0
    got_sir, got_air = torch.stack(values).mean(0).tolist()
    b, v = 64, 1 / (d * 0.25)
    assert got_sir == pytest.approx(-math.log(b) + v / 2 - math.exp(v) / b, abs=0.01)
    assert got_air == pytest.approx((-2 * math.log(b) + v) / b, abs=0.001)
    assert first is None or got_sir == pytest.approx(first, abs=0.005)
    assert second is None or got_air == pytest.approx(second, abs=0.001)


@pytest.mark.parametrize("b", [32, 128])
def test_the_normalised_form_weighs_about_b_times_the_formula_along_the_same_direction(b: int) -> None:
    """The gradient of kl is 0.8 to 1.2 times B that of paper, and nearly parallel to it; published has the size of paper."""
    noise = outputs(4, b, 16, 4)
    base = outputs(1, b, 16, 3)[0]
    z = [base, *(base + 0.7 * n for n in noise)]
    for t in z:
        t.requires_grad_()
    slopes = {}
    for form in FORMS:
        got = torch.autograd.grad(air(*z, form=cast(Any, form)), z)
        slopes[form] = torch.cat([t.flatten() for t in got])
    size = {form: float(t.norm()) for form, t in slopes.items()}
    assert 0.8 * b < size["kl"] / size["paper"] < 1.2 * b
    assert float(slopes["kl"] @ slopes["paper"]) > 0.9 * size["kl"] * size["paper"]
    assert 0.2 < size["published"] / size["paper"] < 5


def test_the_published_form_prefers_a_uniform_view() -> None:
    """Gradient descent on the published SIR makes p_j uniform and leaves p_i; descent on the divergence makes them equal."""
    z, z_i, start = outputs(3, 16, 8, 1)
    p_i = np.array(weights(z, z_i, 0.5))
    spread, apart = {}, {}
    for form in FORMS:
        z_j = start.clone()
        for _ in range(300):
            z_j.requires_grad_()
            slope = torch.autograd.grad(sir(z, z_i, z_j, form=cast(Any, form)), z_j)[0]
            z_j = (z_j - 5 * slope).detach()
        p_j = np.array(weights(z, z_j, 0.5))
        spread[form], apart[form] = float(p_j.std() / p_j.mean()), float(np.abs(p_j - p_i).max())
    assert apart["kl"] < 1e-3
    assert apart["published"] > 0.01
    assert spread["published"] < 0.1 < spread["kl"]


def test_products_that_are_not_distributions_can_have_a_negative_sum() -> None:
    """Σ a·log(a/b) over the unnormalised products is negative for some inputs, so `kl` divides each by its sum."""
    sums = []
    for seed in range(20):
        z = outputs(5, 4, 3, seed)
        a, b = (
            [y * x for y, x in zip(weights(z[0], z[3 + u], 0.5), weights(z[3 + u], z[1 + u], 0.5), strict=True)]
            for u in (0, 1)
        )
        sums.append(slow(a, b, "kl"))
    assert min(sums) < 0


def test_gradients_agree_with_finite_differences() -> None:
    """gradcheck passes on every representation, in every form."""
    z = tuple(one.requires_grad_() for one in outputs(5, 3, 4, 0))
    for form in FORMS:
        assert torch.autograd.gradcheck(lambda *v, form=form: sir(*v, form=form), z[:3])
        assert torch.autograd.gradcheck(lambda *v, form=form: air(*v, form=form), z)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised(dtype: torch.dtype) -> None:
    """Half-precision outputs give the float32 values of the same numbers."""
    z = outputs(5, 64, 8, 0, dtype)
    wide = [one.float() for one in z]
    assert sir(*z[:3], temperature=0.05).dtype == torch.float32
    assert torch.equal(sir(*z[:3], temperature=0.05), sir(*wide[:3], temperature=0.05))
    assert torch.equal(air(*z, temperature=0.05), air(*wide, temperature=0.05))
    value = IR()((z[3], z[4]), (z[0], z[1], z[2]), None)
    assert value.dtype == torch.float32
    assert bool(value.isfinite())


@pytest.mark.parametrize("form", FORMS)
def test_ir_adds_weighed_terms_to_acl(form: Any) -> None:
    """IR equals ACL + ½·(λ₁·SIR + λ₂·AIR) by the loops, and with weights of 0 it is ACL in every form."""
    z = outputs(5, 6, 4, 3)
    adversarial, natural = (z[3], z[4]), (z[0], z[1], z[2])
    base = float(ACL(0.3, omega=0.4)(adversarial, natural[1:], None))
    got = IR(0.3, omega=0.4, sir=0.7, air=0.2, form=form)(adversarial, natural, None)
    want = base + 0.35 * slow_sir(z, 0.3, form) + 0.1 * slow_air(z, 0.3, form)
    assert float(got) == pytest.approx(want, abs=1e-10)
    assert float(IR(0.3, omega=0.4, sir=0, air=0, form=form)(adversarial, natural, None)) == base
    defaults = IR()
    assert (defaults.sir, defaults.air, defaults.omega, defaults.form) == (0.5, 0.5, 0.0, "kl")


@pytest.mark.parametrize("form", FORMS)
def test_each_example_bears_its_share_of_the_batch_s_terms(form: Any) -> None:
    """`each` is that of ACL plus the terms of the batch, the same number for every example; its mean is the loss."""
    z = outputs(5, 6, 4, 3)
    adversarial, natural = (z[3], z[4]), (z[0], z[1], z[2])
    ir = IR(0.3, omega=0.4, sir=0.7, air=0.2, form=form)
    shares = ir.each(adversarial, natural, None) - ACL(0.3, omega=0.4).each(adversarial, natural[1:], None)
    want = 0.35 * slow_sir(z, 0.3, form) + 0.1 * slow_air(z, 0.3, form)
    assert shares.tolist() == pytest.approx([want] * 6, abs=1e-10)
    assert float(ir.each(adversarial, natural, None).mean()) == float(ir(adversarial, natural, None))


def test_with_original_puts_the_image_first() -> None:
    """The result is (x, first, second), with the same views as without it."""
    x = torch.rand(4, 3, 8, 8, generator=gen(1))
    got = with_original(two_views)(x, gen(2))
    assert len(got) == 3
    assert got[0] is x
    assert all(torch.equal(a, b) for a, b in zip(got[1:], two_views(x, gen(2)), strict=True))


def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return small_conv_contrastive(3, 8).double().eval()


def ir_task(n: int, model: nn.Module, **settings: Any) -> Any:
    pool, validation = (
        TensorDataset(torch.rand(m, 3, 8, 8, dtype=torch.float64, generator=gen(s))) for m, s in ((n, 7), (5, 8))
    )
    fixed = {"loss": IR(omega=0.3), "call": route_call, "views": with_original(two_views), "attack": ATTACK}
    return Task.from_model(model, pool, validation, **{**fixed, "head": "head", **settings})


def unit(z: Tensor) -> Tensor:
    """Rows of length one."""
    return z / z.norm(dim=1, keepdim=True)


def test_rows_of_ir_equal_an_autograd_loop() -> None:
    """A group's row is the gradient of the loss written out, at the views and attacked views that the loss names."""
    model = net()
    task = ir_task(6, model)
    seen: list[Any] = []

    class Watching:
        random_start = True

        def __call__(self, ascend: Any, inputs: Any, noise: Any) -> Any:
            hit = ATTACK(ascend, inputs, noise)
            seen.append((inputs, hit))
            return hit

    group = [4, 0, 3]
    with ir_task(6, model, attack=Watching()).snapshot(0, 0) as shot:
        rows, losses = shot.rows([np.array(group)])
        names = shot.layout().names
        row = rows.full(0)
    (first, second), (hit_i, hit_j) = seen[0]
    x = torch.stack([task.pool[i][0] for i in group])
    z = [model(v, "natural") for v in (x, first, second)] + [model(v, "adversarial") for v in (hit_i, hit_j)]
    base = ACL(omega=0.3)((z[3], z[4]), (z[1], z[2]), None)
    p = [(unit(z[0]) * unit(v)).sum(1).mul(2).softmax(0) for v in (z[1], z[2])]
    q = [
        ((unit(z[0]) * unit(a)).sum(1).mul(2).softmax(0) * (unit(a) * unit(v)).sum(1).mul(2).softmax(0))
        for v, a in ((z[1], z[3]), (z[2], z[4]))
    ]
    q = [one / one.sum() for one in q]
    total = base + 0.25 * (p[0] * (p[0] / p[1]).log()).sum() + 0.25 * (q[0] * (q[0] / q[1]).log()).sum()
    known = dict(model.named_parameters())
    slopes = torch.autograd.grad(total, [known[n] for n in names], allow_unused=True)
    want = torch.cat(
        [torch.zeros_like(known[n]).flatten() if g is None else g.flatten() for n, g in zip(names, slopes, strict=True)]
    )
    assert torch.allclose(row, want, rtol=0, atol=1e-10)
    assert losses is not None
    assert float(losses[0]) == pytest.approx(float(total.detach()), abs=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_a_selection_by_ir(form: Any) -> None:
    """RCS selects with this loss without labels, and a second selection is the same."""
    task = ir_task(12, net(), loss=IR(form=form))
    selector = RCS(RD("kl", attack=ATTACK), group_size=4, certify=None)
    chosen = select(task, selector, 8, seed=1)
    assert len(set(chosen.indices.tolist())) == 8
    assert select(task, selector, 8, seed=1).indices.tolist() == chosen.indices.tolist()


def test_refusals() -> None:
    """Different shapes, unknown forms and settings out of range are refused; settings when the loss is made."""
    z, other = outputs(2, 4, 3, 0)
    with pytest.raises(ShapeError, match="one shape"):
        sir(z, z, other[:1])
    with pytest.raises(ShapeError, match="one shape"):
        air(z, z, z, z[:, :2], z)
    with pytest.raises(ShapeError, match="matrices"):
        sir(z[0], z[0], z[0])
    with pytest.raises(UnknownNameError, match="'js'"):
        sir(z, z, z, form=cast(Any, "js"))
    with pytest.raises(UnknownNameError, match="'js'"):
        air(z, z, z, z, z, form=cast(Any, "js"))
    with pytest.raises(UnknownNameError, match="'js'"):
        IR(form=cast(Any, "js"))
    wrong: list[dict[str, Any]] = [{"temperature": 0.0}, {"omega": 1.5}, {"sir": -1.0}, {"air": float("nan")}]
    for bad in wrong:
        with pytest.raises(ShapeError, match="IR needs"):
            IR(**bad)
