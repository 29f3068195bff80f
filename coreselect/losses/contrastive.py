"""Contrastive losses, which have one value for a whole batch: NT-Xent and the adversarial contrastive loss.

NT-Xent (Chen et al. 2020) over the 2B views of a batch, z normalised, temperature t:

    ℓ = (1/2B) Σ_u a_u = (1/B) Σ_k ℓ_k,    a_u = −log ( e^{⟨z_u, z_u⁺⟩/t} / Σ_{v ≠ u} e^{⟨z_u, z_v⟩/t} ) ≥ 0

ℓ_k = ½(a_k + a_{k+B}), the mean over the two anchors of example k, is what example k adds; the method `each` returns it.
ℓ_k still depends on every other example of the batch, so the loss has rows of batches and no rows of single examples.

ACL (Jiang et al. 2020; weights of DynACL, Luo et al. 2023):  ½ [ (1+ω)·ℓ(adversarial views) + (1−ω)·ℓ(natural views) ],
where both adversarial views are attacked together to raise ℓ.
"""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from coreselect.attacks import PGD
from coreselect.errors import ShapeError
from coreselect.protocols import Views


@runtime_checkable
class Divided(Protocol):
    """A batch loss that can be divided into what each example adds."""

    def each(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        """Compute what each example adds, [B], from the outputs of each view; the loss is the mean."""
        ...


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """Compute the normalised-temperature cross-entropy of two views: [B, D], [B, D] → scalar, in nats.

    Half precision is converted to float32, because e^{1/t} is out of its range. With one pair the loss is 0.

    Args:
        temperature: t > 0; published: 0.5 (CIFAR) and 0.1 (ImageNet-32).
    """
    return nt_xent_each(first, second, temperature).mean()


def nt_xent_each(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """Compute the mean over the two anchors of each pair: [B, D], [B, D] → [B], in nats, ≥ 0; see `nt_xent`."""
    z = torch.cat([first, second])  # [2B, D]
    if z.dtype in (torch.float16, torch.bfloat16):
        z = z.float()
    z = F.normalize(z, dim=1)
    similarity = z @ z.T / temperature  # [2B, 2B]
    similarity = similarity.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), float("-inf"))
    b = len(first)
    partner = torch.arange(2 * b, device=z.device).roll(b)  # [2B]: u ↔ u + B
    return F.cross_entropy(similarity, partner, reduction="none").view(2, b).mean(0)  # [B]


def _check(temperature: float, omega: float) -> None:
    if not (temperature > 0 and 0 <= omega <= 1):
        why = f"a contrastive loss needs temperature > 0 and omega in [0, 1], got {temperature} and {omega}."
        raise ShapeError(why)


@dataclass(frozen=True)
class CL:
    """NT-Xent of two natural views: outputs [B, D] of each view → scalar, in nats.

    Args:
        temperature: t > 0.
    Raises:
        ShapeError: the temperature is not positive.
    """

    temperature: float = 0.5
    name = "cl"
    views = 2
    streams = (("natural", 0), ("natural", 1))
    per_example = False
    needs_labels = False
    default_attack = None

    def __post_init__(self) -> None:
        _check(self.temperature, 0.0)

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return nt_xent(*adversarial, temperature=self.temperature)

    def each(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        """Compute what each example adds, [B], ≥ 0; the loss is the mean."""
        return nt_xent_each(*natural, temperature=self.temperature)

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return self.each(adversarial, natural, labels).mean()


@dataclass(frozen=True)
class ACL:
    """The adversarial contrastive loss ½[(1+ω)·ℓ(x̃¹, x̃²) + (1−ω)·ℓ(x¹, x²)]: outputs [B, D] of each view and route → scalar.

    Args:
        temperature: t > 0 of NT-Xent.
        omega: ω in [0, 1]; ACL has 0, DynACL raises it while its augmentation becomes weaker.
    Raises:
        ShapeError: the temperature or ω is out of range.
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
        _check(self.temperature, self.omega)

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return nt_xent(*adversarial, temperature=self.temperature)

    def each(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        """Compute what each example adds, [B], ≥ 0; the loss is the mean."""
        t = self.temperature
        return 0.5 * (
            (1 + self.omega) * nt_xent_each(*adversarial, temperature=t)
            + (1 - self.omega) * nt_xent_each(*natural, temperature=t)
        )

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return self.each(adversarial, natural, labels).mean()
