"""Certificates: bounds hold, estimates are called estimates, and each certificate can be computed again later."""

import itertools
import math

import cases
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coreselect import certify, select
from coreselect.certificates.bounds import Quadratic, bound_maximum, ratio, submodularity_ratio, theorem_2
from coreselect.certificates.lipschitz import Lipschitz
from coreselect.errors import RequirementError, ShapeError
from coreselect.selectors import RCS


@given(st.integers(2, 11), st.integers(0, 999), st.integers(0, 12), st.floats(0.01, 3.0), st.integers(1, 6))
def test_the_bound_is_never_below_the_best_of_all_subsets(
    n: int, seed: int, steps: int, bend: float, rank: int
) -> None:
    """For random gains and random positive semi-definite curvature the bound holds at every k and for any starting set."""
    own = torch.Generator().manual_seed(seed)
    gains = torch.randn(n, dtype=torch.float64, generator=own)
    root = bend * torch.randn(n, rank, dtype=torch.float64, generator=own)
    K = root @ root.T
    f = Quadratic(gains, lambda w: K @ w)
    for k in range(1, n + 1):
        w = torch.zeros(n, dtype=torch.float64)
        w[torch.randperm(n, generator=own)[:k]] = 1
        value, upper = bound_maximum(f, w, k, steps=steps)
        assert value == pytest.approx(float(gains @ w - 0.5 * w @ K @ w), abs=1e-10)
        assert upper >= oracles.best_of_all_subsets(gains, K, k) - 1e-9
        assert upper >= value - 1e-12


@given(st.integers(2, 10), st.integers(0, 99))
def test_steps_only_tighten(n: int, seed: int) -> None:
    """More Frank–Wolfe steps never raise the bound."""
    own = torch.Generator().manual_seed(seed)
    gains = torch.randn(n, dtype=torch.float64, generator=own)
    root = torch.randn(n, n, dtype=torch.float64, generator=own)
    f = Quadratic(gains, lambda w: root @ (root.T @ w))
    k = max(1, n // 2)
    w = torch.zeros(n, dtype=torch.float64)
    w[:k] = 1
    uppers = [bound_maximum(f, w, k, steps=s)[1] for s in (0, 1, 3, 10, 40)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(uppers))


def test_without_curvature_the_bound_is_exact() -> None:
    """If f is linear the bound is the sum of the k largest gains, for any starting set."""
    gains = torch.tensor([3.0, -1.0, 2.0, 5.0, 0.0], dtype=torch.float64)
    w = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    assert bound_maximum(Quadratic(gains, None), w, 2) == (-1.0, 8.0)


def test_sigma_follows_from_lipschitz_constants_as_in_the_theorem() -> None:
    """σ = 1 + ηM·L₂·(L₁ + ηkN(L₁L₄ + L₂L₃)), by hand; without a training loss that moves, σ is 1."""
    constants = Lipschitz(2.0, 3.0, 5.0, 7.0, 11)
    assert constants.sigma(0.1, 4) == pytest.approx(1 + 0.1 * 11 * 3 * (2 + 0.1 * 4 * (2 * 7 + 3 * 5)))
    assert Lipschitz(2.0, 0.0, 5.0, 7.0, 11).sigma(0.1, 4) == 1.0
    for wrong in ((-1, 1, 1, 1, 1), (1, math.inf, 1, 1, 1), (1, 1, 1, math.nan, 1), (1, 1, 1, 1, 0)):
        with pytest.raises(RequirementError, match="L₁…L₄ of at least 0"):
            Lipschitz(*wrong)


def test_a_selection_states_the_theorem_with_constants_that_were_given() -> None:
    """As a number or as Lipschitz constants; a saved selection is certified again with the same ones."""
    constants = Lipschitz(0.1, 0.2, 0.3, 0.4, 5)
    task = cases.sat_task(24)
    for sigma in (1.5, constants):
        chosen = select(task, cases.rcs(certify="paper", sigma=sigma), 7)
        picks = len(set(chosen.groups.tolist()))
        want = sigma if isinstance(sigma, float) else constants.sigma(chosen.provenance.settings["eta"], picks)
        assert chosen.certificate is not None
        assert chosen.certificate.details["sigma"] == pytest.approx(want)
        assert "given by the caller" in chosen.certificate.assumptions[0]
        again = certify(chosen, task, "paper")
        assert again is not None
        assert again.details["sigma"] == pytest.approx(want)
    for wrong in (0.5, math.inf):
        with pytest.raises(ShapeError, match="sigma must be at least 1"):
            RCS(sigma=wrong)


def test_a_ratio_needs_two_positive_numbers() -> None:
    """A ratio is given only if value and bound are positive."""
    assert ratio(1.0, 2.0) == 0.5
    for value, upper in ((-1.0, 2.0), (0.0, 2.0), (1.0, None), (-2.0, -1.0), (1.0, 0.0)):
        assert ratio(value, upper) is None


class TestPaper:
    """Theorem 2, from σ."""

    def test_states_the_theorem(self) -> None:
        """G* ≤ (G + kσ e^{−γ}) / (1 − e^{−γ}), γ = 1/(2σ − 1): by hand for σ = 1 and σ = 2."""
        c = theorem_2(0.5, size=100, picks=4)
        assert c.value == -50
        assert c.upper_bound == pytest.approx((-50 + 4 * math.exp(-1)) / (1 - math.exp(-1)))
        assert any("informative" in a for a in c.assumptions)
        c = theorem_2(0.01, size=10, picks=4, lipschitz_sigma=2.0)
        assert c.details["gamma"] == pytest.approx(1 / 3)
        assert c.upper_bound == pytest.approx((-0.1 + 8 * math.exp(-1 / 3)) / (1 - math.exp(-1 / 3)))
        assert any("vacuous" in a for a in c.assumptions)
        assert c.ratio is None

    def test_sigma_below_one_is_refused(self) -> None:
        """The theorem needs σ ≥ 1, and a smaller σ raises an error."""
        with pytest.raises(RequirementError, match="σ"):
            theorem_2(0.1, size=3, picks=2, lipschitz_sigma=0.5)

    def test_comes_with_a_selection(self) -> None:
        """In a selection by RCS it counts the groups picked and |U|."""
        chosen = select(cases.sat_task(24), cases.rcs(certify="paper"), 7)
        assert chosen.certificate is not None
        assert chosen.certificate.method == "paper"
        assert chosen.diagnostics is not None
        assert chosen.diagnostics.rd_after_held is not None
        assert chosen.certificate.value == pytest.approx(-10 * chosen.diagnostics.rd_after_held, rel=1e-9)


class TestSampled:
    """The estimated submodularity ratio."""

    def test_a_modular_function_has_ratio_one(self) -> None:
        """For G(S) = Σ values, the sum of single gains is the joint gain, so the ratio is 1."""
        got, counted = submodularity_ratio(
            lambda members: sum(0.1 * (m + 1) for m in members),
            12,
            size=4,
            samples=30,
            sigma=1.0,
            generator=torch.Generator().manual_seed(0),
        )
        assert got == pytest.approx(1.0)
        assert counted == 30

    def test_a_supermodular_function_lies_below_one_and_above_the_truth(self) -> None:
        """For G(S) = |S|² the sampled minimum is at least the exhaustive one, and below 1."""
        got, _ = submodularity_ratio(
            lambda members: float(len(members)) ** 2,
            8,
            size=3,
            samples=50,
            sigma=0.0,
            generator=torch.Generator().manual_seed(0),
        )
        truth = min(s * ((l + 1) ** 2 - l**2) / ((l + s) ** 2 - l**2) for l in range(3) for s in range(1, 4))
        assert truth - 1e-12 <= got < 1

    def test_says_that_it_is_an_estimate(self) -> None:
        """It gives no upper bound, and states this and the number of samples."""
        c = select(cases.sat_task(24), cases.rcs(certify="sampled"), 7).certificate
        assert c is not None
        assert c.upper_bound is None
        assert c.ratio is None
        assert any("not a bound" in a for a in c.assumptions)
        assert c.details["samples"] > 0
