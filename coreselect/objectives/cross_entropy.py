"""The objectives that read validation labels: adversarial cross-entropy, and natural cross-entropy plus RD.

adversarial_ce   CE(h(x̃), y),  x̃ raises CE: GLISTER (Killamsetty et al. 2021) with a robust validation loss
ce_plus_rd       CE(h(x), y) + β·KL(h(x̃) ‖ h(x)),  x̃ raises that KL
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from coreselect.divergences import KL
from coreselect.objectives.objective import Objective
from coreselect.protocols import Attack


@dataclass(frozen=True)
class AdversarialCE(Objective):
    """The cross-entropy of attacked validation inputs, in nats; it needs validation labels.

    Args:
        attack: the attack that raises the cross-entropy; None: as for `RD`.
    """

    attack: Attack | None = field(default=None, kw_only=True)
    name: ClassVar[str] = "adversarial_ce"
    needs_labels: ClassVar[bool] = True
    softmax: ClassVar[bool] = True

    def value(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None  # `ValidationObjective` has checked needs_labels
        return F.cross_entropy(adversarial, labels, reduction="none")


@dataclass(frozen=True)
class CEPlusRD(Objective):
    """Natural cross-entropy plus β times the KL representational divergence, in nats; it needs validation labels.

    Args:
        beta: β ≥ 0, the weight of RD.
        attack: the attack that raises the divergence; None: as for `RD`.
    """

    beta: float = 6.0
    attack: Attack | None = field(default=None, kw_only=True)
    name: ClassVar[str] = "ce_plus_rd"
    needs_labels: ClassVar[bool] = True
    softmax: ClassVar[bool] = True

    def value(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return F.cross_entropy(natural, labels, reduction="none") + self.beta * KL()(adversarial, natural)

    def ascend(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        return KL()(adversarial, natural).sum()

    @property
    def flat_at_start(self) -> bool:
        return True
