"""Supervised losses, one value per example.

CE      CE(h(x), y), not attacked: standard training
SAT     CE(h(x̃), y),  x̃ raises CE                          Madry et al. 2018
TRADES  CE(h(x), y) + β·KL(p ‖ p̃),  x̃ raises that KL        Zhang et al. 2019, equation (5), p = softmax h(x)
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from coreselect.attacks import PGD
from coreselect.divergences import KL
from coreselect.protocols import Views


@dataclass(frozen=True)
class CE:
    """Cross-entropy on natural inputs: outputs [B, C], labels [B] → [B], nats."""

    name = "ce"
    views = 1
    streams = (("natural", 0),)
    per_example = True
    needs_labels = True
    default_attack = None

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return F.cross_entropy(adversarial[0], labels, reduction="sum")

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        assert labels is not None  # needs_labels is checked where the task is opened
        return F.cross_entropy(natural[0], labels, reduction="none")


@dataclass(frozen=True)
class SAT:
    """Cross-entropy on adversarial inputs: outputs [B, C], labels [B] → [B], nats."""

    name = "sat"
    views = 1
    streams = (("adversarial", 0),)
    per_example = True
    needs_labels = True
    default_attack = PGD(8 / 255, 2 / 255, 10)

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return self(adversarial, natural, labels).sum()

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        assert labels is not None  # needs_labels is checked where the task is opened
        return F.cross_entropy(adversarial[0], labels, reduction="none")


@dataclass(frozen=True)
class TRADES:
    """Natural cross-entropy plus β times KL(natural ‖ adversarial): outputs [B, C], labels [B] → [B], nats.

    Args:
        beta: weight of the robust term, ≥ 0; published 6.
    """

    beta: float = 6.0
    name = "trades"
    flat_at_start = True  # the gradient of its attack vanishes at x̃ = x
    views = 1
    streams = (("natural", 0), ("adversarial", 0))
    per_example = True
    needs_labels = True
    default_attack = PGD(8 / 255, 2 / 255, 10)

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return KL()(natural[0].detach(), adversarial[0]).sum()

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return F.cross_entropy(natural[0], labels, reduction="none") + self.beta * KL()(natural[0], adversarial[0])
