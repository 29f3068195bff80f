"""Divergences d(h(x̃), h(x)) between representations, adversarial first: KL, Jensen–Shannon, optimal transport.

p̃ = softmax h(x̃), p = softmax h(x), over the C outputs:

    KL(p̃ ‖ p)  = Σ_c p̃_c (log p̃_c − log p_c)                                   per example, nats, ≥ 0
    JS(p̃, p)   = ½ KL(p̃ ‖ m) + ½ KL(p ‖ m),  m = ½ (p̃ + p)                      per example, nats, in [0, log 2]
    OT_ε       = min_P ⟨P, C⟩ + ε KL(P ‖ u uᵀ) over plans with uniform marginals u,  C_ij = 1 − cos(h(x̃_i), h(x_j)), ≥ 0

Source: Xu et al. 2023 name KL, JS and OT as RD's distances; Cuturi 2013 for the entropic plan (solved by POT).
No side is detached: the natural representation moves with the parameters as the adversarial one does.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from coreselect.errors import UnknownNameError, missing_extra
from coreselect.protocols import Divergence


@dataclass(frozen=True)
class KL:
    """KL(softmax h(x̃) ‖ softmax h(x)) per example, in nats: [B, C], [B, C] → [B]."""

    name = "kl"
    fisher: ClassVar[float] = 1.0  # its second derivative at x̃ = x, in units of diag p − p pᵀ
    setwise: ClassVar[bool] = False

    def __call__(self, adversarial: Tensor, natural: Tensor) -> Tensor:
        return F.kl_div(natural.log_softmax(1), adversarial.log_softmax(1), log_target=True, reduction="none").sum(1)


@dataclass(frozen=True)
class JS:
    """Jensen–Shannon divergence of the two softmaxes per example, in nats: [B, C], [B, C] → [B] in [0, log 2]."""

    name = "js"
    fisher: ClassVar[float] = 0.25
    setwise: ClassVar[bool] = False

    def __call__(self, adversarial: Tensor, natural: Tensor) -> Tensor:
        a, n = adversarial.log_softmax(1), natural.log_softmax(1)  # [B, C]
        m = torch.logaddexp(a, n) - torch.log(torch.tensor(2.0, dtype=a.dtype, device=a.device))
        return 0.5 * ((a.exp() * (a - m)).sum(1) + (n.exp() * (n - m)).sum(1))


@dataclass(frozen=True)
class OptimalTransport:
    """Entropic transport between the adversarial and the natural set of a batch: [B, C], [B, C] → scalar, ≥ 0.

    Args:
        epsilon: entropic regularisation, in units of the cosine cost (which lies in [0, 2]); > 0.
        iterations: at most this many Sinkhorn updates.

    It compares sets, not pairs: with few examples or a large ε the plan blurs, so ε and the batch are recorded.
    At the converged plan its gradient in the cost is the plan itself (envelope theorem).

    Raises:
        MissingExtraError: POT is not installed.
    """

    epsilon: float = 0.05
    iterations: int = 1000
    name = "ot"
    fisher: ClassVar[float | None] = None
    setwise: ClassVar[bool] = True

    def __call__(self, adversarial: Tensor, natural: Tensor) -> Tensor:
        try:
            import ot
        except ImportError as why:
            raise missing_extra("POT", "ot", "the optimal-transport divergence") from why
        a, n = F.normalize(adversarial, dim=1), F.normalize(natural, dim=1)  # [B, C]
        cost = 1 - a @ n.T  # [B, B]
        with torch.no_grad():
            even = torch.full((len(a),), 1 / len(a), dtype=a.dtype, device=a.device)  # [B]
            solved: Any = ot.sinkhorn(
                even, even, cost.detach(), self.epsilon, method="sinkhorn_log", numItermax=self.iterations, warn=False
            )  # [B, B]
            plan: Tensor = solved
            blur = self.epsilon * torch.xlogy(plan, plan * len(a) ** 2).sum()  # ε KL(P ‖ u uᵀ)
        return (plan * cost).sum() + blur


DIVERGENCES = {"kl": KL, "js": JS, "ot": OptimalTransport}


def divergence(which: str | Divergence) -> Divergence:
    """Return the divergence of that name, or the callable given.

    Raises:
        UnknownNameError: no divergence has that name.
    """
    if not isinstance(which, str):
        return which
    if which not in DIVERGENCES:
        raise UnknownNameError(f"no divergence is called {which!r}; there are {', '.join(DIVERGENCES)}.")
    return DIVERGENCES[which]()
