"""DynACL: adversarial contrastive learning with views that get weaker in steps, and a slowly following key encoder.

    s(e) = 1 − ⌊e/K⌋·K/E       strength of the augmentation in epoch e = 0 … E − 1; it changes every K epochs
    ω(e) = λ·(1 − s(e))        weight of ACL's adversarial half: it grows as the views get weaker
    k ← m·k + (1 − m)·q        after every update of the query encoder q; q reads the first view, k the second

    encoder = MomentumEncoder(network)
    optimizer = SGD(encoder.query.parameters(), 0.1)
    encoder.attach(optimizer)
    for e in range(epochs):
        s = strength(e, epochs)
        train_epoch(encoder, loader, optimizer, attack, generator=g, loss=ACL(omega=omega(s)), views=…)  # views of strength s
    network = encoder.key

Source: Luo, Wang and Wang, "Rethinking the Effect of Data Augmentation in Adversarial Contrastive Learning", ICLR 2023;
the key encoder is that of He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer
from torch.utils.hooks import RemovableHandle

from coreselect.errors import RequirementError, ScheduleError, ShapeError
from coreselect.protocols import Route


def strength(epoch: int, epochs: int, interval: int = 50) -> float:
    """Compute s(e) = 1 − ⌊e/K⌋·K/E, in (0, 1].

    Args:
        epoch: e, counted from 0, below `epochs`.
        epochs: E ≥ 1, the length of the run.
        interval: K ≥ 1, epochs between changes; published 50 of 1000.
    Raises:
        ScheduleError: a number is out of range.
    """
    if interval < 1 or not 0 <= epoch < epochs:
        why = (
            f"a strength needs interval ≥ 1 and 0 ≤ epoch < epochs, got epoch {epoch} of {epochs}, interval {interval}."
        )
        raise ScheduleError(why)
    return 1 - epoch // interval * interval / epochs


def omega(strength: float, rate: float = 2 / 3) -> float:
    """Compute ω = λ·(1 − s), in [0, λ].

    The authors' program counts epochs from 1 here and from 0 in the strength, so its ω changes one epoch too early.

    Args:
        strength: s in [0, 1].
        rate: λ in [0, 1]; published 2/3.
    Raises:
        ScheduleError: a number is out of range.
    """
    if not (0 <= strength <= 1 and 0 <= rate <= 1):
        why = f"ω needs a strength and a rate in [0, 1], got strength {strength} and rate {rate}."
        raise ScheduleError(why)
    return rate * (1 - strength)


class MomentumEncoder(nn.Module):
    """Two encoders for two views: `query` is trained; `key` starts as a copy and follows it; keep `key` at the end.

    Use the pair only for training, as it takes two views at once. Select, evaluate and export with `key` (or `query`).

    Args:
        query: called as query(x, route); the object itself is used, not a copy.
        momentum: m in [0, 1]; published 0.99.
    Raises:
        RequirementError: momentum is out of range.
    """

    def __init__(self, query: nn.Module, momentum: float = 0.99) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            why = f"a key encoder needs a momentum in [0, 1], got {momentum!r}."
            raise RequirementError(why)
        self.query = query
        self.key = deepcopy(query).requires_grad_(False)
        self.momentum = momentum

    @property
    def result(self) -> nn.Module:
        """The encoder to keep: the key."""
        return self.key

    def forward(self, x: Tensor, route: Route) -> Tensor:
        """Take both views, one after the other [2B, …] → representations [2B, D]: the first half by q, the second by k.

        Gradients reach the parameters of q only, but the inputs of both, so an attack changes both views.

        Raises:
            ShapeError: an odd number of inputs.
        """
        if len(x) % 2:
            why = f"a pair of encoders needs two views of each image, an even number of inputs, got {len(x)}: use .key."
            raise ShapeError(why)
        first, second = x.chunk(2)  # [B, …] each
        return torch.cat([self.query(first, route), self.key(second, route)])

    @torch.no_grad()
    def update(self) -> None:
        """Move the key's parameters: k ← m·k + (1 − m)·q; its own BN statistics do not change."""
        for k, q in zip(self.key.parameters(), self.query.parameters(), strict=True):
            k.mul_(self.momentum).add_(q, alpha=1 - self.momentum)

    def attach(self, optimizer: Optimizer) -> RemovableHandle:
        """Call `update` after every step of an optimiser of the query's parameters, until the handle's `remove()`.

        Raises:
            RequirementError: the optimiser holds no parameter of the query.
        """
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if held.isdisjoint(id(p) for p in self.query.parameters()):
            why = "this optimiser holds no parameter of the query encoder: make it of encoder.query.parameters()."
            raise RequirementError(why)
        return optimizer.register_step_post_hook(lambda *_: self.update())
