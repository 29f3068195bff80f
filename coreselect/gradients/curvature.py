"""The Gauss–Newton curvature H of RD at θ, as a product with a vector.

    H = c · (1/|U|) Σ_u (J̃_u − J_u)ᵀ (diag p_u − p_u p_uᵀ) (J̃_u − J_u),    p_u = softmax h(x_u)

J̃ and J are the Jacobians of the outputs at x̃ and x in the captured parameters; c = 1 for KL and ¼ for JS. H is positive
semi-definite. One product takes one JVP and one VJP over U, both computed in reverse mode.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from coreselect.network.layout import Layout
from coreselect.objectives.on_validation import ValidationObjective


def curvature(objective: ValidationObjective, layout: Layout, theta: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Return the function v [P] → H v [P], or None for an objective without this form.

    Optimal transport, cross-entropy and callables do not have it.
    """
    scale = objective.objective.fisher
    if scale is None:
        return None

    def product(v: Tensor) -> Tensor:
        v = v.to(theta)
        total = torch.zeros_like(theta)
        for part in objective.parts:
            at = theta.detach().requires_grad_()
            with torch.enable_grad():
                adversarial, natural = objective.outputs(layout.unflatten(at), part)  # [B, C] each
                gap = adversarial - natural
                u = torch.zeros_like(gap, requires_grad=True)
                pull = torch.autograd.grad(gap, at, u, create_graph=True)[0]  # (J̃ − J)ᵀ u, linear in u
            moved = torch.autograd.grad(pull, u, v, retain_graph=True)[0]  # its derivative in u along v: (J̃ − J) v
            p = natural.detach().softmax(1)
            pulled = p * (moved - (p * moved).sum(1, keepdim=True))  # (diag p − p pᵀ) (J̃ − J) v
            total += torch.autograd.grad(gap, at, pulled)[0]
        return scale / objective.size * total

    return product
