"""The Gauss–Newton curvature of RD at θ:

    H = c · (1/|U|) Σ_u (J̃_u − J_u)ᵀ (diag p_u − p_u p_uᵀ) (J̃_u − J_u),    p_u = softmax h(x_u)

J̃, J the Jacobians of the outputs at x̃ and x in the captured parameters; c = 1 for KL, ¼ for JS. Positive semi-definite.
One product is one JVP and one VJP over U.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp, vjp

from coreselect.layout import Layout
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

            def gap(at: Tensor, part: Tensor = part) -> tuple[Tensor, Tensor]:
                adversarial, natural = held.outputs(layout.unflatten(at), part)
                return adversarial - natural, natural  # [B, C] each

            natural, moved = _pushed(gap, theta, v)
            p = natural.softmax(1)
            pulled = p * (moved - (p * moved).sum(1, keepdim=True))  # (diag p − p pᵀ) (J̃ − J) v
            pull = vjp(lambda at, gap=gap: gap(at)[0], theta)[1]
            total += pull(pulled)[0]
        return scale / held.size * total

    return product


def _pushed(gap: Callable[[Tensor], tuple[Tensor, Tensor]], theta: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return (natural outputs, (J̃ − J) v): forward mode, or two reverse passes where an operation has no forward one."""
    try:
        (_, natural), (moved, _) = jvp(gap, (theta,), (v,))[:2]
    except NotImplementedError:
        with torch.enable_grad():
            (_, natural), (moved, _) = torch.autograd.functional.jvp(gap, theta, v)
    return natural.detach(), moved.detach()
