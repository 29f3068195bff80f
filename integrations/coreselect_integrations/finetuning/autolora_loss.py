"""The loss of AutoLoRa, which weighs natural and attacked images by the accuracy on natural images.

    λ₁·CE(z, y) + (1 − λ₁)·CE(z̃, y) + λ₂·KL(softmax z ‖ softmax z̃),  λ₁ = 1 − p,  λ₂ = 6 p

z are the logits of natural images, z̃ those of attacked images, and p is the share of natural training images that are
classified correctly.

Source: Xu, Zhang and Kankanhalli, "AutoLoRa: An Automated Robust Fine-Tuning Framework", ICLR 2024; the direction of the KL
is that of the authors' program.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coreselect.divergences import KL
from coreselect.protocols import Views
from coreselect_integrations.finetuning.modes import ATTACK


class AutoLoRaLoss:
    """The loss above, of logits [B, classes] and labels [B] → [B]; p is updated four times in each epoch.

    Args:
        classes: p is 1 / classes until the first update; this is the accuracy of a head of zeros.
        examples: ≥ 1, in an epoch.
        beta: λ₂ / p; published 6.
    """

    name = "autolora"
    views = 1
    streams = (("natural", 0), ("adversarial", 0))
    per_example = True
    needs_labels = True
    default_attack = ATTACK

    def __init__(self, classes: int, examples: int, beta: float = 6.0) -> None:
        self.p, self.beta, self.every = 1 / classes, beta, -(-examples // 4)
        self.right, self.seen = 0, 0  # natural images since the last update of p: correct ones, and all
        self._unread: list[Tensor] = []  # counts of correct ones that are still on their device

    @property
    def scalars(self) -> tuple[float, float]:
        """λ₁ = 1 − p and λ₂ = β·p."""
        return 1 - self.p, self.beta * self.p

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return F.cross_entropy(adversarial[0], labels, reduction="sum")

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        assert labels is not None
        (z,), (z_), (l1, l2) = natural, adversarial[0], self.scalars
        ce = F.cross_entropy(z, labels, reduction="none"), F.cross_entropy(z_, labels, reduction="none")  # [B] each
        values = l1 * ce[0] + (1 - l1) * ce[1] + l2 * KL()(z, z_)  # [B]
        self._unread.append((z.argmax(1) == labels).sum())
        self.seen += len(z)
        if self.seen >= self.every:
            self._read()
            self.p, self.right, self.seen = self.right / self.seen, 0, 0
        return values

    def _read(self) -> None:
        if self._unread:
            self.right += int(torch.stack(self._unread).sum())
        self._unread.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return p, and the counts since its last update."""
        self._read()
        return {"p": self.p, "right": self.right, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a run stopped."""
        self.p, self.right, self.seen = state["p"], state["right"], state["seen"]
