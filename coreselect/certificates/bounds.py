"""The mathematics of three certificates for a greedy selection, each with its assumptions.

(a) paper     Theorem 2 of Xu et al. 2023: G(Ŝ) ≥ G* − (G* + kσ)·e^{−γ*}, γ* = 1/(2σ − 1)
(b) instance  f(w) = η aᵀw − ½ η² wᵀ R H Rᵀ w is concave, so for any feasible w₀
                  max f ≤ f(w₀) + max_v ⟨∇f(w₀), v − w₀⟩   over {0 ≤ v ≤ 1, Σv = k},
              where the maximum over v is a sum of k largest entries; Frank–Wolfe steps tighten it (Jaggi 2013)
(c) sampled   γ = min over sampled (L, S) of Σ_{s∈S} [Ĝ(L ∪ s) − Ĝ(L)] / [Ĝ(L ∪ S) − Ĝ(L)]   (Das & Kempe 2011)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from coreselect.errors import RequirementError
from coreselect.types import Certificate


def ratio(value: float, upper: float | None) -> float | None:
    """Return value / upper if both are positive, else None."""
    return value / upper if upper is not None and value > 0 and upper > 0 else None


def theorem_2(rd_after: float, *, size: int, picks: int, lipschitz_sigma: float | None = None) -> Certificate:
    """State Theorem 2 for G = −Σ_U RD (≤ 0), solved for the optimum G*.

        G* ≤ ( G(Ŝ) + kσ·e^{−γ*} ) / ( 1 − e^{−γ*} )

    Args:
        rd_after: mean RD over U after the selection's steps; G(Ŝ) = −size·rd_after.
        size: |U|.
        picks: k of the theorem, the number of groups picked.
        lipschitz_sigma: σ ≥ 1, computed from Lipschitz constants; None: σ = 1, the best case.
    Returns:
        A certificate with value G(Ŝ) and the bound on G*. RD ≥ 0, so a bound ≥ 0 says nothing; it is called vacuous.
    Raises:
        RequirementError: σ is below 1.
    """
    sigma = 1.0 if lipschitz_sigma is None else lipschitz_sigma
    if sigma < 1:
        raise RequirementError(f"Theorem 2 needs σ ≥ 1, got {sigma}.")
    gamma = 1 / (2 * sigma - 1)
    reached = -size * rd_after
    upper = (reached + picks * sigma * math.exp(-gamma)) / (1 - math.exp(-gamma))
    source = (
        "given by the caller"
        if lipschitz_sigma is not None
        else "assumed to be 1, the best case: no Lipschitz constants are known"
    )
    return Certificate(
        method="paper",
        value=reached,
        upper_bound=upper,
        ratio=None,  # G ≤ 0, and a ratio of two such numbers has no meaning
        assumptions=(
            f"σ = {sigma:g}, {source}; γ* = {gamma:.3g}; k counts the {picks} groups picked",
            "the proxy Ĝ = G + kσ is monotone and γ-weakly submodular (Theorem 1)",
            "vacuous: the bound is above 0, and G = −RD is never above 0"
            if upper >= 0
            else "informative: the bound is below 0",
        ),
        details={"sigma": sigma, "gamma": gamma, "vacuous": float(upper >= 0)},
    )


@dataclass(frozen=True)
class Quadratic:
    """f(w) = η aᵀw − ½ η² wᵀ K w over n candidates, with K = R H Rᵀ.

    Attributes:
        gains: η·a [n], float64.
        product: w → η² K w, [n] → [n]; None if no curvature is known and f is linear.
    """

    gains: Tensor
    product: Callable[[Tensor], Tensor] | None

    def curvature(self, w: Tensor) -> Tensor:
        """Return η² K w [n]."""
        return torch.zeros_like(self.gains) if self.product is None else self.product(w).double()

    def value(self, w: Tensor) -> float:
        """Return f(w)."""
        return float(self.gains @ w - 0.5 * w @ self.curvature(w))


def bound_maximum(f: Quadratic, w0: Tensor, k: int, *, steps: int = 15, rounding: float = 0.0) -> tuple[float, float]:
    """Return f(w₀), and an upper bound on max f over {0 ≤ w ≤ 1, Σw = k}.

    Args:
        w0: feasible, [n]; 1 for what was chosen and 0 elsewhere.
        k: how many candidates are chosen.
        steps: Frank–Wolfe steps, one product with K each; more steps can only tighten the bound.
        rounding: relative rounding of the products, added to the bound.
    """
    w, Kw = w0.double(), f.curvature(w0.double())
    start = float(f.gains @ w - 0.5 * w @ Kw)
    upper = math.inf
    for step in range(steps + 1):
        slope = f.gains - Kw  # ∇f(w) [n]
        top = slope.topk(k).indices
        here = float(f.gains @ w - 0.5 * w @ Kw)
        gap = float(slope[top].sum() - slope @ w)
        upper = min(upper, here + gap + rounding * (abs(here) + abs(gap) + float(f.gains.abs() @ w)))
        if step == steps or f.product is None or gap <= 1e-3 * abs(here):
            break
        v = torch.zeros_like(w)
        v[top] = 1.0
        d = v - w
        Kd = f.curvature(v) - Kw  # η² K (v − w)
        curvature = float(d @ Kd)
        t = 1.0 if curvature <= 0 else min(1.0, gap / curvature)
        w, Kw = w + t * d, Kw + t * Kd
    return start, upper


def submodularity_ratio(
    decrease: Callable[[list[int]], float],
    candidates: int,
    *,
    size: int,
    samples: int,
    sigma: float,
    generator: torch.Generator,
) -> tuple[float, int]:
    """Estimate Ĝ's submodularity ratio from sampled disjoint sets L, S of up to `size` candidates.

    Args:
        decrease: G(set) − G(∅), true values.
        sigma: σ of Ĝ = G + |S|·σ.
        samples: how many pairs L, S are drawn.
    Returns:
        The smallest ratio seen, and how many samples had a positive denominator. It is an estimate, not a bound.
    """

    def proxy(members: list[int]) -> float:
        return decrease(members) + sigma * len(members)

    smallest, counted = math.inf, 0
    most = max(1, min(size, candidates // 2))
    for _ in range(samples):
        order = torch.randperm(candidates, generator=generator).tolist()
        low, high = (int(torch.randint(1, most + 1, (), generator=generator)) for _ in range(2))
        base, added = order[: low - 1], order[low : low + high]
        start = proxy(base)
        together = proxy(base + added) - start
        if together <= 0 or not added:
            continue
        counted += 1
        smallest = min(smallest, sum(proxy([*base, s]) - start for s in added) / together)
    return smallest, counted
