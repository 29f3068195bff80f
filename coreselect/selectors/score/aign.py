"""Average input gradient norm: Ramesh, Roy, Ravikumar, Roy, Srinivasan, "The Easy Path to Robustness: Coreset Selection
using Sample Hardness" (EasyCore), arXiv:2510.11018, 2025.

    AIGN_i = (1/T) Σ_t ‖∇_x ℓ(x_i, y_i; θ_t)‖₂,   keep lowest

ℓ is the cross-entropy of the natural input. T = 1, the current model, unless training has recorded input gradients
(`History.record_input_norms`).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from coreselect.errors import RequirementError
from coreselect.gradients.inputs import refuse_labels
from coreselect.planning.needs import NO_WORK, Need, OwnPasses, OwnWork, Sizes
from coreselect.selectors.checks import finite_array
from coreselect.selectors.score.predictions import training_record
from coreselect.selectors.score.ranking import End, Ranked, Scores
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64


@dataclass(frozen=True)
class AIGN(Ranked):
    """Keep the easy examples: those whose loss depends least on the input.

    Args:
        from_history: score by the mean that training has recorded; else by the current model.
    """

    from_history: bool = False
    name = "aign"

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"history"} if self.from_history else {"inputs", "labels"})

    @property
    def end(self) -> End:
        return "lowest"

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what a selection needs: one pass forward and one backward, or nothing where training has recorded it."""
        return () if self.from_history else (OwnPasses(sizes.n, 1, 1),)

    def work(self, sizes: Sizes) -> OwnWork:
        """Return no work beside the passes: it is the norm of a gradient, while its batch is passed."""
        return NO_WORK

    def score(self, snapshot: Snapshot) -> Scores:
        if self.from_history:
            record, notes = training_record(snapshot)
            return Scores(record.input_norm, notes)
        with snapshot.clock("input gradients"):
            return Scores(input_norms(snapshot))


def input_norms(snapshot: Snapshot) -> Float64:
    """Return ‖∇_x CE(h(x_i), y_i)‖₂ of every example, [n]."""

    def measure(positions: Int64, x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        if y is None:
            raise RequirementError("aign needs labels, and this pool's items have none: give (x, y) items.")
        x = x.detach().requires_grad_()
        logits = snapshot.outputs(x)  # [B, C]
        refuse_labels(positions, y, logits.shape[1])
        (slopes,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), x)
        norms = slopes.flatten(1).double().norm(dim=1)  # [B]
        finite_array(norms, "input gradients", positions)
        return {"norms": norms}

    return snapshot.measured("aign", {}, measure, part="input gradients")["norms"].cpu().numpy()
