"""What the diagnostics of a selection say is wrong with it, in one sentence for each problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coreselect.types import Diagnostics


def trouble(found: Diagnostics) -> tuple[str, ...]:
    """Describe each problem in one sentence; empty if there is none."""
    out: list[str] = []
    if _negative(found.query_pool_cosine):
        out.append(
            f"the objective's gradient opposes the pool's mean gradient (cosine {found.query_pool_cosine:+.2f}): "
            "lowering the objective raises the training loss"
        )
    if _negative(found.query_loss_cosine):
        out.append(
            f"the objective's gradient opposes the adversarial loss on validation (cosine {found.query_loss_cosine:+.2f})"
        )
    if found.misclassified is not None and found.misclassified_pool is not None:
        worse = found.misclassified - found.misclassified_pool
        if found.misclassified > 0.9 or worse > 0.15:
            out.append(_misclassified(found, found.misclassified, found.misclassified_pool))
    if found.effective_classes is not None and found.classes and found.effective_classes < 0.7 * found.classes:
        out.append(f"the picks cover {found.effective_classes:.1f} effective classes of {found.classes}")
    if found.gain_loss_correlation is not None and found.gain_loss_correlation > 0.5:
        out.append(f"gain mostly ranks by loss (rank correlation {found.gain_loss_correlation:.2f})")
    if found.rd_before and found.rd_after_recrafted is not None and found.rd_after_recrafted > found.rd_before:
        out.append(
            f"with attacks re-crafted the objective rises ({found.rd_before:.4g} → {found.rd_after_recrafted:.4g}): "
            "a smaller eta, or recraft, is needed"
        )
    return tuple(out)


def _negative(cosine: float | None) -> bool:
    """Whether a cosine is negative as it is printed: -0.004 is printed as -0.00, and is no problem."""
    return cosine is not None and round(cosine, 2) < 0


def _misclassified(found: Diagnostics, picks: float, pool: float) -> str:
    words = f"{picks:.0%} of the picks are misclassified"
    words += " under the training attack" if found.misclassified_attacked else ""
    words += f" (pool: {pool:.0%})"
    if found.misclassified_clean is not None and found.misclassified_clean_pool is not None:
        words += f", {found.misclassified_clean:.0%} without attack (pool: {found.misclassified_clean_pool:.0%})"
    return words
