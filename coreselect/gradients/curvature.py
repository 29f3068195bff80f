"""The Gauss–Newton curvature of RD at θ:

    H = c · (1/|U|) Σ_u (J̃_u − J_u)ᵀ (diag p_u − p_u p_uᵀ) (J̃_u − J_u),    p_u = softmax h(x_u)

J̃, J the Jacobians of the outputs at x̃ and x in the captured parameters; c = 1 for KL, ¼ for JS. Positive semi-definite.
One product is one JVP and one VJP over U, both by reverse mode.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from coreselect.network.layout import Layout
from coreselect.objectives.held import Held


def curvature(held: Held, layout: Layout, theta: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Return v [P] → H v [P], or None where the objective has no such form (optimal transport, cross-entropy, callables)."""
    scale = held.objective.fisher
    if scale is None:
        return None

    def product(v: Tensor) -> Tensor:
        v = v.to(theta)
        total = torch.zeros_like(theta)
        for part in held.parts:
            at = theta.detach().requires_grad_()
            with torch.enable_grad():
                adversarial, natural = held.outputs(layout.unflatten(at), part)  # [B, C] each
                gap = adversarial - natural
                u = torch.zeros_like(gap, requires_grad=True)
                pull = torch.autograd.grad(gap, at, u, create_graph=True)[0]  # (J̃ − J)ᵀ u, linear in u
            moved = torch.autograd.grad(pull, u, v, retain_graph=True)[0]  # its slope in u along v: (J̃ − J) v
            p = natural.detach().softmax(1)
            pulled = p * (moved - (p * moved).sum(1, keepdim=True))  # (diag p − p pᵀ) (J̃ − J) v
            total += torch.autograd.grad(gap, at, pulled)[0]
        return scale / held.size * total

    return product
