"""LARS and SGD move parameters as their formulas say."""

import pytest
import torch
from torch import nn

from coreselect.errors import UnknownNameError
from coreselect_integrations.training.optimisers import optimiser


def test_lars_scales_matrices_by_their_norms_and_leaves_vectors_alone() -> None:
    """Two steps equal the formula in float64: λ = c‖w‖/(‖g‖ + wd‖w‖) for a matrix, plain momentum for a vector."""
    pytest.importorskip("pytorch_optimizer")
    g = torch.Generator().manual_seed(0)
    w = nn.Parameter(torch.randn(3, 4, generator=g, dtype=torch.float64))
    b = nn.Parameter(torch.randn(3, generator=g, dtype=torch.float64))
    slow_w, slow_b = w.detach().clone(), b.detach().clone()
    v_w, v_b = torch.zeros_like(slow_w), torch.zeros_like(slow_b)
    optimizer = optimiser("lars", [w, b], lr=2.0, weight_decay=0.01, momentum=0.9)
    for _ in range(2):
        w.grad, b.grad = torch.randn(3, 4, generator=g, dtype=torch.float64), torch.randn(3, generator=g).double()
        ratio = 1e-3 * slow_w.norm() / (w.grad.norm() + 0.01 * slow_w.norm())
        v_w = 0.9 * v_w + ratio * (w.grad + 0.01 * slow_w)
        v_b = 0.9 * v_b + b.grad
        slow_w, slow_b = slow_w - 2.0 * v_w, slow_b - 2.0 * v_b
        optimizer.step()
    torch.testing.assert_close(w.detach(), slow_w)
    torch.testing.assert_close(b.detach(), slow_b)


def test_an_unknown_optimiser_is_refused() -> None:
    """The message lists the known optimisers."""
    with pytest.raises(UnknownNameError, match="sgd and lars"):
        optimiser("adamish", [nn.Parameter(torch.zeros(1))], lr=0.1, weight_decay=0.0)
