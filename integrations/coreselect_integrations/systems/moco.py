"""MoCo: contrast with a queue of old keys, which a slowly following encoder makes.

    q = f(xⁱ; θ),  k = f(xʲ; θ_k)      of unit length; no gradient flows through k
    ℓ(q, k) = −log [ e^{⟨q, k⟩/t} / (e^{⟨q, k⟩/t} + Σ_{n=1…K} e^{⟨q, k_n⟩/t}) ]      k_n: the last K keys, oldest out first
    θ_k ← m·θ_k + (1 − m)·θ            after every update of θ

    encoder = MomentumContrast(network, queue=4096, seed=0)
    optimizer = SGD(encoder.query.parameters(), 0.06)
    encoder.attach(optimizer)
    for e in range(epochs):
        train_epoch(encoder, loader, optimizer, None, generator=g, loss=MoCo(0.1, encoder.negatives))
    network = encoder.query

A key is normalised in other company than its query, so that batch statistics do not tell them ("shuffling BN"): queries go
through the network in runs of neighbours, keys in strides.

Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020, Algorithm 1 and section
3.3; the head of more than one layer is that of Chen et al., "Improved Baselines with Momentum Contrastive Learning", 2020.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coreselect.errors import RequirementError, ShapeError
from coreselect.protocols import Route, Views
from coreselect.support.seeding import generator
from coreselect_integrations.networks import RoutedNetwork
from coreselect_integrations.systems.dynacl import MomentumEncoder

SPLITS, LEAST = 8, 8  # at most so many forward passes of a batch in training, each of at least so many images


@dataclass(frozen=True)
class MoCo:
    """The loss above: outputs [B, D] of two natural views, queries and keys → scalar, in nats.

    Args:
        temperature: t > 0; published 0.07 (ImageNet), 0.1 in the authors' notebook for CIFAR-10.
        negatives: () → keys [K, D] of unit length, read at each call. None takes the other keys of the batch, as in
            Chen, Xie and He, "An Empirical Study of Training Self-Supervised Vision Transformers", ICCV 2021 (MoCo v3).
    Raises:
        ShapeError: the temperature is not positive.
    """

    temperature: float = 0.1
    negatives: Callable[[], Tensor] | None = None
    name = "moco"
    views = 2
    streams = (("natural", 0), ("natural", 1))
    per_example = False
    needs_labels = False
    default_attack = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ShapeError(f"a contrastive loss needs a temperature > 0, got {self.temperature}.")

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return self.each((), adversarial, labels).sum()

    def each(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        """Compute what each example adds, [B], ≥ 0; the loss is the mean."""
        q, k = F.normalize(natural[0], dim=1), F.normalize(natural[1].detach(), dim=1)  # [B, D] each
        if self.negatives is None:
            right = torch.arange(len(q), device=q.device)
            return F.cross_entropy(q @ k.T / self.temperature, right, reduction="none")
        scores = torch.cat([(q * k).sum(1, keepdim=True), q @ self.negatives().to(q).T], 1)  # [B, 1 + K]
        return F.cross_entropy(scores / self.temperature, scores.new_zeros(len(q), dtype=torch.long), reduction="none")

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return self.each(adversarial, natural, labels).mean()


class MomentumContrast(MomentumEncoder):
    """The two encoders of MoCo with their queue; `query` is trained, and is the result.

    Args:
        query: a network with a projection head, called as query(x, route); the object itself is used.
        queue: K ≥ 1, the number of old keys; published 65,536 (ImageNet) and 4,096 (the authors' notebook for CIFAR-10). With
            almost as many keys as training images, or more, an image's own old keys are among its negatives.
        momentum: m in [0, 1]; published 0.999, and 0.99 in the notebook.
        seed: decides the keys of the first queue, which are random.
    Raises:
        RequirementError: a number is out of range.
    """

    queue: Tensor
    oldest: Tensor

    def __init__(self, query: RoutedNetwork, queue: int = 4096, momentum: float = 0.99, seed: int = 0) -> None:
        super().__init__(query, momentum)
        if queue < 1:
            raise RequirementError(f"MoCo needs a queue of at least one key, got {queue}.")
        like = next(query.parameters())
        first = torch.randn(queue, query.width, generator=generator(seed, "queue"))
        self.register_buffer("queue", F.normalize(first, dim=1).to(like))  # [K, D]
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long, device=like.device))
        self._keys: Tensor | None = None  # of the last batch

    @property
    def result(self) -> nn.Module:
        """The encoder to keep: the query."""
        return self.query

    def forward(self, x: Tensor, route: Route) -> Tensor:
        """Take both views, one after the other [2B, …] → queries and keys [2B, D]; the keys have no gradient.

        Raises:
            ShapeError: an odd number of inputs.
        """
        if len(x) % 2:
            why = f"MoCo needs two views of each image, an even number of inputs, got {len(x)}: use .query."
            raise ShapeError(why)
        first, second = x.chunk(2)  # [B, …] each
        parts = max(1, min(SPLITS, len(first) // LEAST)) if self.training else 1
        q = torch.cat([self.query(part, route) for part in first.tensor_split(parts)])  # [B, D]
        with torch.no_grad():
            k = torch.empty_like(q)
            for i in range(parts):
                k[i::parts] = self.key(second[i::parts], route).to(k)
        self._keys = F.normalize(k.float(), dim=1) if self.training else None
        return torch.cat([q, k])

    def negatives(self) -> Tensor:
        """Return the queue [K, D]; the training loop changes it in place after each update."""
        return self.queue

    @torch.no_grad()
    def update(self) -> None:
        """Move the key's parameters, and put the keys of the last batch in the place of the oldest ones."""
        super().update()
        if self._keys is not None:
            keys = self._keys[-len(self.queue) :].to(self.queue)
            places = (self.oldest + torch.arange(len(keys), device=keys.device)) % len(self.queue)
            self.queue[places] = keys
            self.oldest.copy_((self.oldest + len(keys)) % len(self.queue))
            self._keys = None
