"""A plain program of the paper's procedure: Xu et al., NeurIPS 2023, Algorithm 1, without any optimisation.

    for every batch B_m:   x̃ ← PGD on CE,  r_m ← ∇ CE(h(x̃), y)                       at θ
    until enough:          for every validation batch: x̃ ← PGD on RD at θ′,  q += ∇ KL(h(x̃) ‖ h(x))
                           m ← argmax ⟨r_m, q⟩,   θ′ ← θ′ − η r_m

* attacks call `loss.backward()` on the whole model, so the gradients of all weights are computed and not used;
* every pick attacks validation again and computes natural outputs again; nothing is cached;
* inner products are full, with gradients of the last linear layer, as published.

Two things make it faster than the plainest program: rows and queries differentiate only the last layer, and validation images
are read once. Groups, attack steps and starts are given, so that its picks can be compared. Nothing else comes from the
library.
"""

import copy
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

Int64 = NDArray[np.int64]
TrainStart = Callable[[Tensor, Int64], Tensor]  # (x [B, …], pool positions [B]) → [B, …] in [−1, 1)
ValidationStart = Callable[[Tensor, Int64, int], Tensor]  # … and the number of the attack, from 0


@dataclass(frozen=True)
class Steps:
    """An l∞ attack: radius and step in units of pixels in [0, 1]."""

    radius: float
    step: float
    steps: int


@dataclass(frozen=True)
class Picked:
    """The result: picked groups in order, the number of examples of each, and the rows of all groups [M, P]."""

    order: tuple[int, ...]
    kept: tuple[int, ...]
    rows: Tensor


@dataclass(frozen=True)
class Plain:
    """One selection.

    Args:
        model: [B, C, H, W] → logits; copied, in evaluation mode.
        head: name of its last linear layer.
        pool: items (x, y); validation: items whose first entry is x.
        groups: candidate batches of pool positions.
        budget: the number of examples; the last batch is cut to meet it.
        batch_size: of validation.
        device: of the model.
    """

    model: nn.Module
    head: str
    pool: Any
    validation: Any
    groups: Sequence[Int64]
    budget: int
    eta: float
    train: Steps
    rd: Steps
    train_start: TrainStart
    validation_start: ValidationStart
    batch_size: int = 256
    device: torch.device = torch.device("cpu")  # noqa: RUF009  # immutable

    def choose(self) -> Generator[float, None, Picked]:
        """Select, and yield the share of the work done; an attack step counts as four forward passes."""
        model = copy.deepcopy(self.model).eval().requires_grad_(True)
        head = list(model.get_submodule(self.head).parameters())
        u = torch.stack([self.validation[i][0] for i in range(len(self.validation))]).to(self.device)
        picks = -(-self.budget // max(len(g) for g in self.groups))
        rows_work = sum(len(g) for g in self.groups) * (4 * self.train.steps + 1)
        work = rows_work + picks * len(u) * (4 * self.rd.steps + 3)
        done = 0
        made = []
        for group in self.groups:
            made.append(self.row(model, group))
            done += len(group) * (4 * self.train.steps + 1)
            yield done / work
        rows = torch.stack(made)
        order: list[int] = []
        kept: list[int] = []
        while sum(kept) < self.budget:
            query = torch.zeros_like(rows[0])
            for at in range(0, len(u), self.batch_size):
                part = np.arange(at, min(at + self.batch_size, len(u)))
                query += self.query(model, u[part], part, len(order)) / len(u)
                done += len(part) * (4 * self.rd.steps + 3)
                yield min(0.999, done / work)
            gains = [float(r @ query) if m not in order else -np.inf for m, r in enumerate(rows)]
            best = int(np.argmax(gains))
            order.append(best)
            kept.append(min(len(self.groups[best]), self.budget - sum(kept)))
            with torch.no_grad():  # θ′ ← θ′ − η r; a cut batch is the last pick
                at = 0
                for p in head:
                    p -= self.eta * rows[best][at : at + p.numel()].view_as(p)
                    at += p.numel()
        return Picked(tuple(order), tuple(kept), rows)

    def row(self, model: nn.Module, members: Int64) -> Tensor:
        """Return the gradient in the last layer [P] of the mean cross-entropy of some attacked pool examples."""
        items = [self.pool[int(i)] for i in members]
        x = torch.stack([item[0] for item in items]).to(self.device)
        y = torch.tensor([int(item[1]) for item in items], device=self.device)
        start = self.train_start(x, members)
        adversarial = attacked(model, x, start, self.train, lambda out: F.cross_entropy(out, y, reduction="sum"))
        loss = F.cross_entropy(model(adversarial), y)
        return self._last_layer(model, loss)

    def query(self, model: nn.Module, x: Tensor, positions: Int64, crafting: int) -> Tensor:
        """Return the gradient in the last layer [P] of the summed RD of some validation images, attacked at the current model."""
        with torch.no_grad():
            natural = model(x)
        start = self.validation_start(x, positions, crafting)
        adversarial = attacked(model, x, start, self.rd, lambda out: kl(out, natural))
        return self._last_layer(model, kl(model(adversarial), model(x)))

    def _last_layer(self, model: nn.Module, loss: Tensor) -> Tensor:
        slopes = torch.autograd.grad(loss, list(model.get_submodule(self.head).parameters()))
        return torch.cat([s.flatten() for s in slopes])


def attacked(model: nn.Module, x: Tensor, start: Tensor, how: Steps, objective: Callable[[Tensor], Tensor]) -> Tensor:
    """Attack by signed gradient steps, each with a full backward pass."""
    low, high = x - how.radius, x + how.radius
    at = (x + how.radius * start).clamp(low, high).clamp(0, 1)
    for _ in range(how.steps):
        at.requires_grad_()
        model.zero_grad()
        objective(model(at)).backward()
        assert at.grad is not None
        at = (at.detach() + how.step * at.grad.sign()).clamp(low, high).clamp(0, 1)
    model.zero_grad()
    return at.detach()


def kl(adversarial: Tensor, natural: Tensor) -> Tensor:
    """KL(softmax adversarial ‖ softmax natural), summed over outputs and examples."""
    return F.kl_div(natural.log_softmax(1), adversarial.log_softmax(1), log_target=True, reduction="sum")
