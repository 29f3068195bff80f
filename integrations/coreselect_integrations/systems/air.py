"""Invariant regularisation of adversarial contrastive learning: a loss of an image, two views and two attacked views.

For a batch of images x_k with views x_kⁱ, x_kʲ, attacked views x̃_kⁱ, x̃_kʲ, cosine similarity s of representations,
temperature t, and for each view u ∈ {i, j}

    p_u(k)    = softmax_k  s(x_k, x_kᵘ) / t                             SIR = KL(p_i ‖ p_j)
    q_u(k)    = softmax_k  [ s(x_k, x̃_kᵘ) + s(x̃_kᵘ, x_kᵘ) ] / t          AIR = KL(q_i ‖ q_j)

    IR = ½ [ (1+ω)·ℓ(x̃ⁱ, x̃ʲ) + (1−ω)·ℓ(xⁱ, xʲ) + λ₁·SIR + λ₂·AIR ] = ACL(t, ω) + ½·(λ₁·SIR + λ₂·AIR)

The softmax runs over the matched pairs of the batch: p_u is large for images whose view stays close to the image.
Source: Xu, Zhang, Liu, Sugiyama and Kankanhalli, "Enhancing Adversarial Contrastive Learning via Adversarial Invariant
Regularization", NeurIPS 2023; SIR comes from Mitrovic et al., "Representation Learning via Invariant Causal
Mechanisms", ICLR 2021.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from coreselect.attacks import PGD
from coreselect.errors import ShapeError, UnknownNameError
from coreselect.gradients.batched_views import batched, with_batches
from coreselect.losses import ACL, nt_xent
from coreselect.protocols import MakeViews, Views

Form = Literal["kl", "paper", "published"]


def sir(z: Tensor, z_i: Tensor, z_j: Tensor, *, temperature: float = 0.5, form: Form = "kl") -> Tensor:
    """Compute SIR = KL(p_i ‖ p_j), p_u = softmax over the batch of s(z, z_u) / t: three [B, D] → scalar, nats.

    Args:
        z: representations (the projection head's outputs) of the un-augmented images, through the natural route.
        z_i, z_j: of their two natural views, through the natural route.
        temperature: t > 0.
        form: `"kl"` is ≥ 0, and 0 if both views are equal; `"paper"` is the same here. `"published"` is what the authors'
            program computes,
            Σ_k p_j(k)·(log p_j(k) − p_i(k)): it uses the probability p_i instead of its logarithm. This equals
            −H(p_j) − ⟨p_j, p_i⟩. Its larger part pushes p_j to the uniform distribution, whatever p_i is. The value is
            −log B − 1/B if both are uniform.
    Raises:
        ShapeError: the three differ in shape, or are not matrices.
        UnknownNameError: no form has this name.

    Half precision is converted to float32.
    """
    p_i, p_j = (_log_softmax(_similarity(z, z_u, temperature)) for z_u in (z_i, z_j))  # [B], logarithms
    return _divergence(p_i, p_j, form)


def air(
    z: Tensor,
    z_i: Tensor,
    z_j: Tensor,
    adversarial_i: Tensor,
    adversarial_j: Tensor,
    *,
    temperature: float = 0.5,
    form: Form = "kl",
) -> Tensor:
    """Compute AIR = KL(q_i ‖ q_j), q_u ∝ p_u(y|x̃)·p_u(x̃|x): five [B, D] → scalar, nats.

    p_u(y|x̃) = softmax over the batch of s(z, z̃_u) / t and p_u(x̃|x) = softmax of s(z̃_u, z_u) / t. Their product is not a
    distribution: its sum is about 1/B, and Σ a·log(a/b) of two such products can be negative. So `"kl"` divides the product
    by its sum. Then q_u is the softmax of the summed similarities, and AIR is a divergence: ≥ 0, and 0 if both views are
    equal. It is about B times the sum over unnormalised products, and so of the same size as SIR.

    Args:
        z: representations of the un-augmented images, through the natural route.
        z_i, z_j: of their two natural views, through the natural route.
        adversarial_i, adversarial_j: z̃_i, z̃_j, of the attacked views, through the adversarial route.
        temperature: t > 0.
        form: `"kl"`; `"paper"`, the formula as it is written, Σ_k a_i(k)·log(a_i(k) / a_j(k)) with the unnormalised products
            a_u, which can be negative and has about 1/B of the gradient of `"kl"`; or `"published"`, what the authors' program
            computes: Σ_k a_j(k)·(log a_j(k) − a_i(k)), with the probability a_i instead of its logarithm. The value of the
            last is −(2·log B + 1/B²)/B for uniform similarities. `docs/published-settings.md` has sizes and directions of
            the three gradients.
    Raises:
        ShapeError: the five differ in shape, or are not matrices.
        UnknownNameError: no form has this name.

    Half precision is converted to float32.
    """
    products = []
    for z_u, adversarial in ((z_i, adversarial_i), (z_j, adversarial_j)):
        y, x = _similarity(z, adversarial, temperature), _similarity(adversarial, z_u, temperature)  # [B]
        products.append(_log_softmax(y + x) if form == "kl" else _log_softmax(y) + _log_softmax(x))
    return _divergence(products[0], products[1], form)


def _similarity(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """[B, D], [B, D] → cosine of matched rows divided by t, [B], in float32 or better."""
    if a.shape != b.shape or a.dim() != 2:
        why = f"representations must be matrices [B, D] of one shape, got {tuple(a.shape)} and {tuple(b.shape)}."
        raise ShapeError(why)
    a, b = (F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1) for z in (a, b))
    return (a * b).sum(1) / temperature


def _log_softmax(similarity: Tensor) -> Tensor:
    return similarity.log_softmax(0)  # over the batch


def _divergence(log_p: Tensor, log_q: Tensor, form: Form) -> Tensor:
    """Logarithms [B], [B] → scalar."""
    _check_form(form)
    if form in ("kl", "paper"):  # they differ in whether the products of AIR are normalised
        return (log_p.exp() * (log_p - log_q)).sum()
    return (log_q.exp() * (log_q - log_p.exp())).sum()


def _check_form(form: str) -> None:
    if form not in get_args(Form):
        why = f"the invariance terms have the forms {', '.join(get_args(Form))}, got {form!r}."
        raise UnknownNameError(why)


@dataclass(frozen=True)
class IR:
    """ACL(t, ω) + ½·(λ₁·SIR + λ₂·AIR): outputs [B, D] of (x, xⁱ, xʲ) and of (x̃ⁱ, x̃ʲ) → scalar, a training loss.

    View 0 is the un-augmented image (`with_original`). It goes through the natural route and is never attacked. Views 1
    and 2 are attacked together to raise NT-Xent, as in ACL. IR() is ACL-AIR, IR(omega=dynacl.omega(…)) DynACL-AIR.

    Args:
        temperature: t > 0, of all terms.
        omega: ω in [0, 1], of ACL.
        sir, air: λ₁, λ₂ ≥ 0, published ½; 0 leaves a term out. The factor ½ before all terms comes from ACL: the paper's
            total is twice this one. In the form `"kl"`, AIR compares distributions, so λ₂ has about B times the effect that
            it has in the form `"paper"` (see `air`).
        form: of both terms, `"kl"`, `"paper"` or `"published"`.
    Raises:
        ShapeError: temperature or a weight is out of range.
        UnknownNameError: no form has this name.
    """

    temperature: float = 0.5
    omega: float = field(default=0.0, kw_only=True)
    sir: float = field(default=0.5, kw_only=True)
    air: float = field(default=0.5, kw_only=True)
    form: Form = field(default="kl", kw_only=True)
    name = "ir"
    views = 3
    streams = (("natural", 0), ("natural", 1), ("natural", 2), ("adversarial", 1), ("adversarial", 2))
    per_example = False
    needs_labels = False
    default_attack = PGD(8 / 255, 2 / 255, 5)

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and 0 <= self.omega <= 1 and self.sir >= 0 and self.air >= 0):
            why = f"IR needs temperature > 0, omega in [0, 1] and weights sir, air ≥ 0, got {self}."
            raise ShapeError(why)
        _check_form(self.form)

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return nt_xent(*adversarial, temperature=self.temperature)

    def each(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        """What each example adds, [B]: its part of ACL, plus the invariance terms of the batch, the same for every example.

        The values are ≥ 0 in the form `"kl"`; the loss is their mean.
        """
        t = self.temperature
        z, z_i, z_j = natural  # [B, D] each
        total = ACL(t, omega=self.omega).each(adversarial, (z_i, z_j), labels)
        if self.sir:
            total = total + 0.5 * self.sir * sir(z, z_i, z_j, temperature=t, form=self.form)
        if self.air:
            total = total + 0.5 * self.air * air(z, z_i, z_j, *adversarial, temperature=t, form=self.form)
        return total

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return self.each(adversarial, natural, labels).mean()


def with_original(views: MakeViews) -> MakeViews:
    """Put the image itself before its views: (x, generator) → (x, *views(x, generator)), the three inputs of IR."""

    def three(x: Tensor, generator: torch.Generator) -> Views:
        return (x, *views(x, generator))

    for_each = batched(views)
    if for_each is None:
        return three
    return with_batches(lambda x, seeds: (x, *for_each(x, seeds)))(three)
