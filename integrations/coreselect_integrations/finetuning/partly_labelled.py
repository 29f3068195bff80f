"""Data of which a part is labelled: a class-balanced draw of that part, a dataset with pseudo-labels for the rest, and its loss.

    n labelled examples   (1 − α)·CE(z̃, y) + α·T²·H(s/T, z̃/T) + β·KL(softmax z ‖ softmax z̃)
    the others            T²·H(s/T, z̃/T) + β·KL(softmax z ‖ softmax z̃)
    H(a, b) = −Σ_c softmax(a)_c · log softmax(b)_c

z are the logits of natural images, z̃ those of attacked images, s those of the network that gives pseudo-labels. The attack
raises CE(z̃, y), with y = argmax s for images without a label.

Source: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, and its semi-supervised program.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from coreselect.attacks import PGD
from coreselect.budget import Budget, resolve
from coreselect.divergences import KL
from coreselect.errors import BudgetError
from coreselect.protocols import Views
from coreselect.support.seeding import generator
from coreselect.types import Int64
from coreselect_integrations.finetuning.pseudo_labels import image_of


def draw_labelled(labels: Int64, size: Budget, seed: int = 0) -> Int64:
    """Draw the labelled examples: as many of each class as possible, int64 [n] in ascending order.

    Args:
        labels: int64 [N], ≥ 0.
        size: n: a count, or a share of N; a class with too few examples gives all of them, and the others give more.
        seed: decides the draw; global random states do not change.
    Raises:
        BudgetError: n is out of range, or less than one of each class.
    """
    n, order = resolve(size, len(labels)), torch.randperm(len(labels), generator=generator(seed, "labelled")).numpy()
    classes = np.unique(labels)
    if n < len(classes):
        why = f"{n} labelled examples are less than one of each of the {len(classes)} classes: label more."
        raise BudgetError(why)
    shuffled = labels[order]
    turn = np.empty(len(labels), np.int64)  # how many of its class stand before an example in the random order
    for c in classes:
        of_class = np.flatnonzero(shuffled == c)
        turn[of_class] = np.arange(len(of_class))
    return np.sort(order[np.argsort(turn, kind="stable")[:n]]).astype(np.int64)


class PartlyLabelled(Dataset[Any]):
    """Images with targets (class, logits of the teacher, whether the class is a given label); other entries are not used.

    Args:
        dataset: map-style, items x or (x, …).
        logits: s, float32 [N, classes].
        labelled: positions [n] of the labelled examples.
        labels: int64 [n], their labels.
    """

    def __init__(self, dataset: Any, logits: Tensor, labelled: Int64, labels: Int64) -> None:
        self.dataset, self.logits = dataset, logits
        self.classes = logits.argmax(1)  # [N]
        self.known = torch.zeros(len(logits), dtype=torch.bool)
        self.known[torch.as_tensor(labelled)] = True
        self.classes[torch.as_tensor(labelled)] = torch.as_tensor(labels)

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, index: int) -> tuple[Any, tuple[Tensor, Tensor, Tensor]]:
        return image_of(self.dataset[index]), (self.classes[index], self.logits[index], self.known[index])


@dataclass(frozen=True)
class DistilledTRADES:
    """The loss above: logits [B, C], and targets (classes [B], s [B, C], known [B]) → [B], in nats. Plain labels [B] are all known.

    Args:
        alpha: α in [0, 1]; published 0.5. With plain labels it is 0.
        temperature: T > 0; published 1.
        beta: β ≥ 0; published 6.
    """

    alpha: float = 0.5
    temperature: float = 1.0
    beta: float = 6.0
    name = "semi"
    views = 1
    streams = (("natural", 0), ("adversarial", 0))
    per_example = True
    needs_labels = True
    default_attack = PGD(8 / 255, 2 / 255, 10)

    def ascend(self, adversarial: Views, natural: Views, labels: Any) -> Tensor:
        classes = labels if isinstance(labels, Tensor) else labels[0]
        return F.cross_entropy(adversarial[0], classes, reduction="sum")

    def __call__(self, adversarial: Views, natural: Views, labels: Any) -> Tensor:
        z, z_ = natural[0], adversarial[0]  # [B, C] each
        robust = self.beta * KL()(z, z_)  # [B]
        if isinstance(labels, Tensor):
            return F.cross_entropy(z_, labels, reduction="none") + robust
        (y, s, known), T = labels, self.temperature
        soft = T * T * F.cross_entropy(z_ / T, (s / T).softmax(1), reduction="none")  # [B]
        hard = (1 - self.alpha) * F.cross_entropy(z_, y, reduction="none") + self.alpha * soft
        return torch.where(known, hard, soft) + robust
