"""BYOL: an online network predicts what a slowly following target network sees in another view; there are no negatives.

    z = f(x; θ),  z′ = f(x; ξ)         representations of the online and the target network; no gradient flows through z′
    p = h(z)                           h: the predictor, Linear–BN–ReLU–Linear, of the online network alone
    ℓ = ½[ ‖p̄ⁱ − z̄′ʲ‖² + ‖p̄ʲ − z̄′ⁱ‖² ],   ā = a/‖a‖      = 2 − ⟨p̄ⁱ, z̄′ʲ⟩ − ⟨p̄ʲ, z̄′ⁱ⟩
    ξ ← τ·ξ + (1 − τ)·θ,               τ = 1 − (1 − τ₀)·(1 + cos(π·e/E))/2 in epoch e of E

    networks = Bootstrap(network, momentum=0.996, seed=0)
    optimizer = SGD([*networks.query.parameters(), *networks.predictor.parameters()], 0.4)
    networks.attach(optimizer)
    for e in range(epochs):
        networks.momentum = momentum(0.996, e, epochs)
        train_epoch(networks, loader, optimizer, None, generator=g, loss=BYOL())
    network = networks.query

The paper's loss is the sum of both directions and not ½ of it, and τ moves with every update.

Source: Grill et al., "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning", NeurIPS 2020, section 3.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coreselect.errors import ScheduleError, ShapeError
from coreselect.protocols import Route, Views
from coreselect.support.seeding import derive, rng_kept
from coreselect_integrations.networks import RoutedNetwork
from coreselect_integrations.systems.dynacl import MomentumEncoder
from coreselect_integrations.training.contexts import evaluation_mode


def momentum(base: float, epoch: int, epochs: int) -> float:
    """Compute τ = 1 − (1 − τ₀)·(1 + cos(π·e/E))/2: τ₀ at first, and almost 1 at the end.

    Raises:
        ScheduleError: a number is out of range.
    """
    if not (0 <= base <= 1 and 0 <= epoch < epochs):
        why = f"τ needs a base in [0, 1] and 0 ≤ epoch < epochs, got {base} and epoch {epoch} of {epochs}."
        raise ScheduleError(why)
    return 1 - (1 - base) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def distances(p: Views, targets: Views) -> Tensor:
    """Compute ℓ from predictions [B, D] and targets [B, D] of two views: [B], in [0, 4]."""
    (p1, p2), (t1, t2) = p, (t.detach() for t in targets)
    return 2 - F.cosine_similarity(p1, t2, dim=1) - F.cosine_similarity(p2, t1, dim=1)


class _TwoViews:
    """What the losses below share: two natural views, no attack, no labels, a mean over the batch."""

    name = "byol"
    views = 2
    streams = (("natural", 0), ("natural", 1))
    per_example = False
    needs_labels = False
    default_attack = None

    def ascend(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return self.each((), adversarial, labels).sum()

    def each(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        """Compute what each example adds, [B], in [0, 4]; the loss is the mean."""
        raise NotImplementedError

    def __call__(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        return self.each(adversarial, natural, labels).mean()


@dataclass(frozen=True)
class BYOL(_TwoViews):
    """ℓ from the outputs of `Bootstrap`, the prediction beside the target [B, 2D] of each of two views → scalar."""

    def each(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        (p1, t1), (p2, t2) = (view.chunk(2, dim=1) for view in natural)  # [B, D] each
        return distances((p1, p2), (t1, t2))


@dataclass(frozen=True)
class OnlineBYOL(_TwoViews):
    """ℓ from the representations [B, D] of one network, which stands for its target too → scalar.

    A selection reads this loss, as it sees the online network alone. It is ℓ for τ = 0, which is the loss of Chen and He,
    "Exploring Simple Siamese Representation Learning", CVPR 2021.

    Args:
        predict: h, [B, D] → [B, D]; None leaves it out, as a finished network has none.
    """

    predict: Callable[[Tensor], Tensor] | None = None

    def each(self, adversarial: Views, natural: Views, labels: Tensor | None) -> Tensor:
        first, second = natural
        p = natural if self.predict is None else (self.predict(first), self.predict(second))  # [B, D] each
        return distances(p, natural)


class Bootstrap(MomentumEncoder):
    """Online network, predictor and target network; `query` is the online network, `key` the target.

    Args:
        query: a network with a projection head, called as query(x, route); the object itself is used.
        momentum: τ in [0, 1]; published 0.996 at the start of 1000 epochs.
        seed: decides the parameters of the predictor, whose hidden layer has 4·D units.
    Raises:
        RequirementError: momentum is out of range.
    """

    def __init__(self, query: RoutedNetwork, momentum: float = 0.996, seed: int = 0) -> None:
        super().__init__(query, momentum)
        D = query.width
        with rng_kept(), torch.device("cpu"):
            torch.default_generator.manual_seed(derive(seed, "predictor"))
            made = nn.Sequential(nn.Linear(D, 4 * D), nn.BatchNorm1d(4 * D), nn.ReLU(), nn.Linear(4 * D, D))
        self.predictor = made.to(next(query.parameters()))

    @property
    def result(self) -> nn.Module:
        """The network to keep: the online one."""
        return self.query

    def predict(self, z: Tensor) -> Tensor:
        """Compute h(z) in evaluation mode, [B, D] → [B, D], for a selection; gradients reach z alone."""
        with evaluation_mode(self.predictor):
            return self.predictor(z)

    def forward(self, x: Tensor, route: Route) -> Tensor:
        """Take both views, one after the other [2B, …] → of each, the prediction beside the target [2B, 2D].

        Each view has batch statistics of its own.

        Raises:
            ShapeError: an odd number of inputs.
        """
        if len(x) % 2:
            why = f"BYOL needs two views of each image, an even number of inputs, got {len(x)}: use .query."
            raise ShapeError(why)
        views = x.chunk(2)  # [B, …] each
        p = [self.predictor(self.query(view, route)) for view in views]  # [B, D] each
        with torch.no_grad():
            targets = [self.key(view, route) for view in views]
        return torch.cat([torch.cat(pair, 1) for pair in zip(p, targets, strict=True)])
