"""What GreeDi promises: in expectation over the random parts, a share of the best value, for a weakly submodular function.

    E f(Ŝ) ≥ (ν / 2)·(1 − e^{−γ})·max f           Khanna et al., AISTATS 2017; (1 − 1/e) / 2 where f is submodular: ν = γ = 1

f is monotone with f(∅) = 0, γ its submodularity ratio, and ν its subadditivity ratio, min of (f(A) + f(B)) / f(A ∪ B). If every
marginal gain of f lies between two positive numbers whose ratio is γ*, both are at least γ*: sums of marginal gains differ by no
more than that. For RCS, f is the paper's proxy, the decrease of the sum of RD over U plus σ for each pick, and γ* = 1/(2σ − 1).
"""

import math

from coreselect.types import Certificate


def share(gamma: float) -> float:
    """Return (γ/2)·(1 − e^{−γ}), the share of the best value that is promised, for ν ≥ γ."""
    return gamma / 2 * (1 - math.exp(-gamma))


def greedi_certificate(
    value: float,
    *,
    linear: bool,
    partitions: int,
    picks: int,
    lipschitz_sigma: float | None,
    of_union: float,
    of_parts: float,
) -> Certificate:
    """State the guarantee of a selection in two rounds.

    Args:
        value: by how much the selection lowers the objective.
        linear: whether the objective is linear, because only its gradient is known.
        partitions: P.
        picks: how many groups were picked.
        lipschitz_sigma: σ ≥ 1, computed from Lipschitz constants; None: 1, the best case.
        of_union, of_parts: the values that the second round, and the best part alone, have reached; the larger one is `value`.
    """
    details = {"partitions": float(partitions), "value_of_union": of_union, "best_value_of_a_part": of_parts}
    if linear:
        return Certificate(
            "greedi", value, value, 1.0 if value > 0 else None,
            (
                f"without a model f is linear, so {partitions} parts and their union hold the {picks} largest gains",
                "groups of one size; of others, and of a group that is trimmed, the value is not the largest",
            ),
            {**details, "guarantee": 1.0},
        )  # fmt: skip
    sigma = 1.0 if lipschitz_sigma is None else lipschitz_sigma
    gamma = 1 / (2 * sigma - 1)
    source = "given by the caller" if lipschitz_sigma is not None else "assumed to be 1, the best case"
    return Certificate(
        "greedi", value, None, None,
        (
            f"the proxy f, the decrease summed over validation plus σ for each pick, is in expectation at least {share(gamma):.3g} "
            "of its maximum: (γ*/2)(1 − e^{−γ*}), Khanna et al. 2017",
            f"over the random deal of the groups into {partitions} parts; this one deal may be worse",
            f"marginal gains of f lie between positive numbers of ratio γ* = 1/(2σ − 1) = {gamma:.3g}; σ = {sigma:g}, {source}",
            "each part picks by the largest first-order gain, not by the largest marginal gain of f",
            "not promised: how near the decrease itself is to that of one greedy, or of the best set",
        ),
        {**details, "guarantee": share(gamma), "sigma": sigma, "gamma": gamma},
    )  # fmt: skip
