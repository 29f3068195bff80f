"""Contrastive losses, one value per batch.

NT-Xent (Chen et al. 2020) over the 2B views of a batch, z normalised, temperature t:

    ℓ = (1/2B) Σ_u −log ( e^{⟨z_u, z_u⁺⟩/t} / Σ_{v ≠ u} e^{⟨z_u, z_v⟩/t} )

ACL (Jiang et al. 2020; weights of DynACL, Luo et al. 2023):  ½ [ (1+ω)·ℓ(adversarial views) + (1−ω)·ℓ(natural views) ],
the adversarial views attacked jointly to raise ℓ.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from coreselect.attacks import PGD
from coreselect.errors import ShapeError
from coreselect.protocols import Views


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """Compute the normalised-temperature cross-entropy of two views: [B, D], [B, D] → scalar, nats.

    Args:
        temperature: t > 0; published 0.5 (CIFAR), 0.1 (ImageNet-32).

    Half precision is raised to float32: e^{1/t} leaves its range. With one pair the loss is 0.
    """
    z = torch.cat([first, second])  # [2B, D]
    if z.dtype in (torch.float16, torch.bfloat16):
        z = z.float()
    z = F.normalize(z, dim=1)
    similarity = z @ z.T / temperature  # [2B, 2B]
    similarity = similarity.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), float("-inf"))
    b = len(first)
    partner = torch.arange(2 * b, device=z.device).roll(b)  # [2B]: u ↔ u + B
    return F.cross_entropy(similarity, partner)


def _refuse(temperature: float, omega: float) -> None:
    if not (temperature > 0 and 0 <= omega <= 1):
        why = f"a contrastive loss needs temperature > 0 and omega in [0, 1], got {temperature} and {omega}."
        raise ShapeError(why)


@dataclass(frozen=True)
class CL:
    """NT-Xent of two natural views: outputs [B, D] twice → scalar.

    Args:
        temperature: t > 0.
    Raises:
        ShapeError: it is not.
    """

    temperature: float = 0.5
    name = "cl"
    views = 2
    streams = (("natural", 0), ("natural", 1))
    per_example = False
    needs_labels = False
    default_attack = None

    def __post_init__(self) -> None:
        _refuse(self.temperature, 0.0)

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return nt_xent(*adversarial, temperature=self.temperature)

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return nt_xent(*natural, temperature=self.temperature)


@dataclass(frozen=True)
class ACL:
    """Adversarial contrastive loss ½[(1+ω)·ℓ(x̃¹, x̃²) + (1−ω)·ℓ(x¹, x²)]: outputs [B, D] twice per route → scalar.

    Args:
        temperature: of NT-Xent, > 0.
        omega: ω in [0, 1]; 0 is ACL, DynACL raises it as its augmentation weakens.
    Raises:
        ShapeError: one of them is out of range.
    """

    temperature: float = 0.5
    omega: float = field(default=0.0, kw_only=True)
    name = "acl"
    views = 2
    streams = (("natural", 0), ("natural", 1), ("adversarial", 0), ("adversarial", 1))
    per_example = False
    needs_labels = False
    default_attack = PGD(8 / 255, 2 / 255, 5)

    def __post_init__(self) -> None:
        _refuse(self.temperature, self.omega)

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return nt_xent(*adversarial, temperature=self.temperature)

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        t = self.temperature
        return 0.5 * (
            (1 + self.omega) * nt_xent(*adversarial, temperature=t)
            + (1 - self.omega) * nt_xent(*natural, temperature=t)
        )
