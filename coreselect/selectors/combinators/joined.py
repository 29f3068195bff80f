"""One certificate of parts that were chosen apart, each with its own: the sums of their values and of their upper bounds.

    f(S) = Σ_w f_w(S ∩ W_w)  ≤  Σ_w max {f_w(S_w) : |S_w| = k_w}  ≤  Σ_w u_w

f_w is what the certificate of part w is about, u_w its upper bound and k_w its share of the budget. So the sum of the bounds
holds for every set with these shares, of the sum of the f_w. What steps of different parts do together is in no f_w.
"""

from collections.abc import Sequence

from coreselect.certificates.bounds import ratio
from coreselect.types import Certificate


def joined(parts: Sequence[Certificate | None], what: str) -> Certificate | None:
    """Join the `instance` certificates of parts, in order; None if a part has none, or another one. One part keeps its own.

    The values of the others are no decreases of one part alone, so their sum would say nothing.

    Args:
        what: what the parts are, in the plural: "windows".
    """
    if len(parts) == 1:
        return parts[0]
    known = [p for p in parts if p is not None and p.method == "instance" and p.upper_bound is not None]
    if not known or len(known) < len(parts):
        return None
    value, upper = sum(p.value for p in known), sum(p.upper_bound or 0.0 for p in known)
    ratios = [p.ratio for p in known if p.ratio is not None]
    assumptions = (
        f"sums of the values and of the upper bounds of {len(known)} {what}; the bound is for every set that has as many "
        "examples in each as this one",
        f"each of the {what} steps from θ by itself: what their steps do together is neither in the value nor in the bound",
        *(a for a in known[0].assumptions if all(a in p.assumptions for p in known)),
    )
    details = {"parts": float(len(known))}
    if ratios:
        details |= {"smallest_ratio": min(ratios), "largest_ratio": max(ratios)}
    return Certificate("instance", value, upper, ratio(value, upper), assumptions, details)
