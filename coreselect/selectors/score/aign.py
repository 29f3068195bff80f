"""Average input gradient norm: Ramesh, Roy, Ravikumar, Roy, Srinivasan, "The Easy Path to Robustness: Coreset Selection
using Sample Hardness" (EasyCore), arXiv:2510.11018, 2025.

    AIGN_i = (1/T) Σ_t ‖∇_x ℓ(x_i, y_i; θ_t)‖₂,   keep lowest

ℓ is the cross-entropy of the natural input; T = 1, the present model, unless training has recorded input gradients
(`History.record_input_norms`).
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from coreselect.errors import RequirementError
from coreselect.gradients.inputs import refuse_labels
from coreselect.selectors.score.ranking import End, Ranked, Scores, finite, recorded
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64


@dataclass(frozen=True)
class AIGN(Ranked):
    """Keep the easy examples: those whose loss depends least on the input.

    Args:
        from_history: the mean over what training has recorded; else of the present model.
    """

    from_history: bool = False
    name = "aign"

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"history"} if self.from_history else {"inputs", "labels"})

    @property
    def end(self) -> End:
        return "lowest"

    def score(self, shot: Snapshot) -> Scores:
        if self.from_history:
            record, notes = recorded(shot)
            return Scores(record.input_norm, notes)
        with shot.clock("input gradients"):
            return Scores(input_norms(shot))


def input_norms(shot: Snapshot) -> Float64:
    """Return ‖∇_x CE(h(x_i), y_i)‖₂ of every example, [n]."""
    out = np.zeros(shot.n)
    for at, x, y in shot.inputs():
        if y is None:
            raise RequirementError("aign needs labels, and this pool's items carry none: give items that are (x, y).")
        x = x.detach().requires_grad_()
        logits = shot.outputs(x)  # [B, C]
        refuse_labels(shot.positions[at], y, logits.shape[1])
        (slopes,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), x)
        out[at] = finite(slopes.flatten(1).double().norm(dim=1), "input gradients", shot.positions[at])
        shot.shared.progress("input gradients", int(at[-1]) + 1, shot.n)
    return out
