"""Smallest distance to the decision boundary: Ducoffe, Precioso, "Adversarial Active Learning for Deep Networks: a Margin
Based Approach", arXiv:1802.09841, 2018. The distance is that of DeepFool: Moosavi-Dezfooli, Fawzi, Frossard,
"DeepFool: a simple and accurate method to fool deep neural networks", CVPR 2016, Algorithm 2.

    k₀ = argmax_c f_c(x);   until argmax_c f_c(x + (1+η)r) ≠ k₀:
    w_c = ∇f_c − ∇f_{k₀},  f′_c = f_c − f_{k₀};   ĉ = argmin_{c≠k₀} |f′_c| / ‖w_c‖₂;   r ← r + |f′_ĉ| / ‖w_ĉ‖₂² · w_ĉ

The score is ‖(1+η)r‖₂, and the smallest are kept. No label is read.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from coreselect.errors import ShapeError
from coreselect.planning.needs import NO_WORK, Need, OwnPasses, OwnWork, Sizes
from coreselect.selectors.checks import finite_array
from coreselect.selectors.score.ranking import Ranked, Scores
from coreselect.support.records import settings_of
from coreselect.task.snapshot import Snapshot
from coreselect.types import Int64


@dataclass(frozen=True)
class DeepFool(Ranked):
    """Keep the examples that need the smallest perturbation (Euclidean norm) to cross the decision boundary.

    It takes at most iterations · (classes − 1) backward passes over the pool.

    Args:
        iterations: ≥ 1; published 50. An example that has not crossed by then scores the length of its perturbation so far;
            an example whose gradients are zero scores infinity. A note counts both.
        classes: ≥ 2, how many of the most likely classes at x are tried, including k₀; published 10.
        overshoot: η ≥ 0; published 0.02.
    """

    iterations: int = 50
    classes: int = 10
    overshoot: float = 0.02
    name = "deepfool"
    needs = frozenset({"inputs", "logits"})  # the logits of classes, between which the boundary lies
    hard = "lowest"

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.classes < 2 or not 0 <= self.overshoot < math.inf:
            raise ShapeError(
                f"deepfool needs iterations ≥ 1, classes ≥ 2 and overshoot ≥ 0, got {self.iterations}, {self.classes} and "
                f"{self.overshoot}."
            )

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return the most passes that a selection makes: no example crosses, and all classes are tried."""
        return (OwnPasses(sizes.n, 2 + self.iterations, self.iterations * (self.classes - 1), at_most=True),)

    def work(self, sizes: Sizes) -> OwnWork:
        """Return no work beside the passes: it is the length of a perturbation, while its batch is passed."""
        return NO_WORK

    def score(self, snapshot: Snapshot) -> Scores:
        def measure(positions: Int64, x: Tensor, _: Tensor | None) -> dict[str, Tensor]:
            r, crossed = self.perturb(snapshot, x, positions)
            return {"norms": r.flatten(1).double().norm(dim=1), "crossed": crossed}  # [B] each

        with snapshot.clock("boundary"):
            found = snapshot.measured(self.name, settings_of(self), measure, part="boundary")
        short = snapshot.n - int(found["crossed"].sum())
        note = f"{short} of {snapshot.n} examples did not cross the boundary in {self.iterations} iterations"
        return Scores(found["norms"].cpu().numpy(), (note,) if short else ())

    def perturb(self, snapshot: Snapshot, x: Tensor, positions: Int64) -> tuple[Tensor, Tensor]:
        """Inputs x [B, …] → the perturbation (1+η)r [B, …], infinite where gradients are zero, and whether it crosses, bool [B]."""
        scale, x = 1 + self.overshoot, x.detach()
        with torch.no_grad():
            z = snapshot.outputs(x)  # [B, C]
        finite_array(z, "logits", positions)
        tried = z.topk(min(self.classes, z.shape[1]), dim=1).indices  # [B, c], the most likely first
        own, others = tried[:, :1], tried[:, 1:]
        r, crossed = torch.zeros_like(x), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        active = torch.arange(len(x), device=x.device)  # not across yet
        for step in range(self.iterations + 1):
            moved = (x[active] + scale * r[active]).requires_grad_()
            z = snapshot.outputs(moved)  # [A, C]
            across = z.argmax(1) != own[active, 0]
            crossed[active[across]] = True
            if step == self.iterations or bool(across.all()) or not others.shape[1]:
                break
            f = z.gather(1, others[active]) - z.gather(1, own[active])  # f′ [A, c − 1]
            best, direction = (
                torch.full_like(f[:, 0], math.inf),
                torch.zeros_like(moved),
            )  # smallest |f′|/‖w‖, and its w/‖w‖
            for c in range(f.shape[1]):
                (w,) = torch.autograd.grad(f[:, c].sum(), moved, retain_graph=c + 1 < f.shape[1])
                norm = w.flatten(1).norm(dim=1)  # [A]
                distance = f[:, c].detach().abs() / norm
                nearer = (distance < best) & (norm > 0)
                best = torch.where(nearer, distance, best)
                direction[nearer] = w[nearer] / _column(norm[nearer], w)
            r[active[~across & torch.isinf(best)]] = math.inf
            go = ~across & torch.isfinite(best)
            active, best, direction = active[go], best[go], direction[go]
            if not len(active):
                break
            r[active] += _column(best, direction) * direction
        return scale * r, crossed


def _column(values: Tensor, like: Tensor) -> Tensor:
    """[A] → [A, 1, …], with as many dimensions as `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))
