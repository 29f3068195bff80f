"""Supervised losses, which have one value for each example: CE, SAT and TRADES.

CE      CE(h(x), y), without an attack: standard training
SAT     CE(h(x̃), y),  x̃ raises CE                          Madry et al. 2018
TRADES  CE(h(x), y) + β·KL(p ‖ p̃),  x̃ raises that KL        Zhang et al. 2019, equation (5), p = softmax h(x)
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from coreselect.attacks import PGD
from coreselect.divergences import KL
from coreselect.protocols import Views
from coreselect.support.one_logit import refuse_one_logit


class _Supervised:
    """What the supervised losses share: one view, class numbers as labels, a value per example, a softmax of 2 outputs or more."""

    views = 1
    per_example = True
    needs_labels = True
    softmax = True
    reads_classes = True


@dataclass(frozen=True)
class CE(_Supervised):
    """Cross-entropy of natural inputs: outputs [B, C], labels [B] → [B], in nats."""

    name = "ce"
    streams = (("natural", 0),)
    default_attack = None

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return _cross_entropy(adversarial[0], labels).sum()

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return _cross_entropy(natural[0], labels)


@dataclass(frozen=True)
class SAT(_Supervised):
    """Cross-entropy of adversarial inputs: outputs [B, C], labels [B] → [B], in nats."""

    name = "sat"
    streams = (("adversarial", 0),)
    default_attack = PGD(8 / 255, 2 / 255, 10)

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return self(adversarial, natural, labels).sum()

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return _cross_entropy(adversarial[0], labels)


@dataclass(frozen=True)
class TRADES(_Supervised):
    """Natural cross-entropy plus β times KL(natural ‖ adversarial): outputs [B, C], labels [B] → [B], in nats.

    Args:
        beta: β ≥ 0, the weight of the robust term; published: 6.
    """

    beta: float = 6.0
    name = "trades"
    streams = (("natural", 0), ("adversarial", 0))
    default_attack = PGD(8 / 255, 2 / 255, 10)
    flat_at_start = True  # the gradient of its attack is zero at x̃ = x

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return KL()(natural[0].detach(), adversarial[0]).sum()

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return _cross_entropy(natural[0], labels) + self.beta * KL()(natural[0], adversarial[0])


def _cross_entropy(outputs: Tensor, labels: Tensor | None) -> Tensor:
    assert labels is not None  # needs_labels is checked where a task is opened
    refuse_one_logit(outputs.shape[-1], "cross-entropy")
    return F.cross_entropy(outputs, labels, reduction="none")
