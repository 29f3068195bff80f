"""Numbers become statements: three certificates for a greedy selection, each with what it assumes.

(a) paper     Theorem 2 of Xu et al. 2023: G(Ŝ) ≥ G* − (G* + kσ)·e^{−γ*}, γ* = 1/(2σ − 1)
(b) instance  f(w) = η aᵀw − ½ η² wᵀ R H Rᵀ w is concave, so for any feasible w₀
                  max f ≤ f(w₀) + max_v ⟨∇f(w₀), v − w₀⟩   over {0 ≤ v ≤ 1, Σv = k},
              the inner maximum being the sum of the k largest entries; Frank–Wolfe steps tighten it (Jaggi 2013)
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
    """value / upper where both are positive, else None."""
    return value / upper if upper is not None and value > 0 and upper > 0 else None


def paper(rd_after: float, *, size: int, picks: int, lipschitz_sigma: float | None = None) -> Certificate:
    """State Theorem 2 for G = −Σ_U RD (≤ 0), solved for the optimum G*.

        G* ≤ ( G(Ŝ) + kσ·e^{−γ*} ) / ( 1 − e^{−γ*} )

    Args:
        rd_after: mean RD over U after the selection's steps; G(Ŝ) = −size·rd_after.
        size: |U|.
        picks: k of the theorem, the number of groups picked.
        lipschitz_sigma: σ ≥ 1 from the caller's Lipschitz constants; None: σ = 1, its best case.
    Returns:
        value G(Ŝ) and the bound on G*; a bound ≥ 0 says nothing, since RD ≥ 0, and is called vacuous.
    """
    sigma = 1.0 if lipschitz_sigma is None else lipschitz_sigma
    if sigma < 1:
        raise RequirementError(f"Theorem 2 has σ ≥ 1, got {sigma}.")
    gamma = 1 / (2 * sigma - 1)
    reached = -size * rd_after
    upper = (reached + picks * sigma * math.exp(-gamma)) / (1 - math.exp(-gamma))
    source = (
        "given by the caller"
        if lipschitz_sigma is not None
        else "taken as 1, its best case: no Lipschitz constants are known"
    )
    return Certificate(
        method="paper",
        value=reached,
        upper_bound=upper,
        ratio=None,  # G ≤ 0: a ratio of two such numbers means nothing
        assumptions=(
            f"σ = {sigma:g}, {source}; γ* = {gamma:.3g}; k counts the {picks} groups picked",
            "the proxy Ĝ = G + kσ is monotone and γ-weakly submodular (Theorem 1)",
            "vacuous: the bound lies above 0, which G = −RD cannot pass" if upper >= 0 else "the bound says something",
        ),
        details={"sigma": sigma, "gamma": gamma, "vacuous": float(upper >= 0)},
    )


@dataclass(frozen=True)
class Quadratic:
    """f(w) = η aᵀw − ½ η² wᵀ K w over n candidates, K = R H Rᵀ given as a product.

    `gains` is η·a [n], float64; `curve(w)` is η²·K w [n], or None where no curvature is known and f is linear.
    """

    gains: Tensor
    curve: Callable[[Tensor], Tensor] | None

    def bend(self, w: Tensor) -> Tensor:
        """η² K w [n]."""
        return torch.zeros_like(self.gains) if self.curve is None else self.curve(w).double()

    def value(self, w: Tensor) -> float:
        """f(w)."""
        return float(self.gains @ w - 0.5 * w @ self.bend(w))


def instance(f: Quadratic, w0: Tensor, k: int, *, steps: int = 15, rounding: float = 0.0) -> tuple[float, float]:
    """Return (f(w₀), an upper bound on max f over {0 ≤ w ≤ 1, Σw = k}).

    Args:
        w0: feasible [n]; the selection's own indicator.
        k: how many candidates are chosen.
        steps: Frank–Wolfe steps, each one product with K; more can only tighten.
        rounding: relative rounding of the products, added to the bound.
    """
    w, bent = w0.double(), f.bend(w0.double())
    start = float(f.gains @ w - 0.5 * w @ bent)
    upper = math.inf
    for step in range(steps + 1):
        slope = f.gains - bent  # ∇f(w) [n]
        top = slope.topk(k).indices
        here = float(f.gains @ w - 0.5 * w @ bent)
        gap = float(slope[top].sum() - slope @ w)
        upper = min(upper, here + gap + rounding * (abs(here) + abs(gap) + float(f.gains.abs() @ w)))
        if step == steps or f.curve is None or gap <= 1e-3 * abs(here):
            break
        v = torch.zeros_like(w)
        v[top] = 1.0
        toward = v - w
        turn = f.bend(v) - bent  # η² K (v − w)
        sharp = float(toward @ turn)
        t = 1.0 if sharp <= 0 else min(1.0, gap / sharp)
        w, bent = w + t * toward, bent + t * turn
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
    Returns:
        (smallest ratio seen, how many samples had a positive denominator); an estimate, not a bound.
    """

    def proxy(members: list[int]) -> float:
        return decrease(members) + sigma * len(members)

    smallest, counted = math.inf, 0
    most = max(1, min(size, candidates // 2))
    for _ in range(samples):
        order = torch.randperm(candidates, generator=generator).tolist()
        low, high = (int(torch.randint(1, most + 1, (), generator=generator)) for _ in range(2))
        base, added = order[: low - 1], order[low : low + high]
        at = proxy(base)
        whole = proxy(base + added) - at
        if whole <= 0 or not added:
            continue
        counted += 1
        smallest = min(smallest, sum(proxy([*base, s]) - at for s in added) / whole)
    return smallest, counted
