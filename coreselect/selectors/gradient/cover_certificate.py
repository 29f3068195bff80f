"""The certificate of CRAIG: F(S), and how far the weighted sum of its picks' gradients can be from that of all.

    ‖Σ_i g_i − Σ_{j ∈ S} γ_j g_j‖ ≤ Σ_i d_{i,j(i)} ≤ Σ_i √(d̂_i² + e_i),   e_i = 2 σ_i max ‖g‖

j(i) is the pick that stands for i, and d̂_i the computed distance to it, from norms and a product whose error is at most σ_i ‖g_j‖
(`Rows.slack`).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from coreselect.gradients.rows import Rows
from coreselect.solvers.coverage import CoverResult
from coreselect.solvers.omp import row_of
from coreselect.types import Certificate, Float64, Int64

FEW = 0.1  # a note says when distances below √u·‖g‖, which are rounding, are more than this share of the largest


def cover_certificate(
    rows: Rows, total: Tensor, picks: Int64, counts: Int64, near: Float64, covered: Int64, parts: Sequence[CoverResult]
) -> tuple[Certificate, list[str]]:
    """Return the certificate, and a note if distances hold few digits.

    Args:
        total: Σ g_i of what is covered, [W].
        picks, counts: j and γ_j, int64 [k].
        near: d̂_i, float64 [n].
        covered: i, rows, int64 [n].
        parts: of each class.
    """
    error = total
    for j, count in zip(picks.tolist(), counts.tolist(), strict=True):
        error = error - count * row_of(rows, j).to(error)
    longest = float(rows.norms().max())
    slack = rows.slack.double().cpu().numpy()[covered]  # σ [n]
    lost = np.where(np.isin(covered, picks), 0.0, 2 * slack * longest)  # e [n]; a pick is its own
    u = torch.finfo(row_of(rows, 0).dtype).eps  # d̂ itself is rounded
    value, bound = sum(p.value for p in parts), sum(p.upper for p in parts)
    certificate = Certificate(
        method="craig",
        value=value,
        upper_bound=bound,
        ratio=value / bound if value > 0 else None,
        assumptions=(
            "value is F(S), bounded over every set with as many picks of each class; c is the class's largest distance",
            "gradient_error = ‖Σ g_i − Σ γ_j g_j‖ is at most distance_bound = Σ_i min_j ‖g_i − g_j‖, rounded up, by the triangle "
            "inequality",
        ),
        details={
            "gradient_error": float(error.norm()),
            "distance_bound": float(np.sqrt(near**2 * (1 + 4 * u) + lost).sum()),
        },
    )
    apart, rounding = (value + float(near.sum())) / len(near), 2 * u**0.5 * longest  # c on average
    if rounding <= FEW * apart:
        return certificate, []
    return certificate, [
        f"distances between gradients hold few digits: they are at most about {apart:.3g}, and gradients are up to {longest:.3g} "
        "long; subtract what all gradients share, or compute them in float64"
    ]
