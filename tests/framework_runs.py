"""Small runs for the tests of frameworks: the data, the network, and the plain loop that a framework must agree with."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from coreselect import CoresetSampler, History, Indexed, Task
from coreselect.selectors import get_selector

N, K, SIZE, EPOCHS, CLASSES = 96, 32, 8, 4, 3


class Killed(Exception):
    """Raised in the middle of a run, in place of a kill."""


def data(n: int = N, seed: int = 1) -> TensorDataset:
    """Inputs [n, 8] in [0, 1], with labels that depend on them."""
    x = torch.rand(n, 8, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, x[:, :CLASSES].argmax(1))


def network() -> nn.Module:
    """A linear network, the same at each call."""
    made = nn.Linear(8, CLASSES)
    draws = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn(p.shape, generator=draws) / 3)
    return made


def sampler(net: nn.Module, pool: Any, name: str = "craig", **options: Any) -> CoresetSampler:
    """One epoch on all, then a selection under the model of each epoch."""
    history = History(len(pool)) if name == "importance" else None
    task = Task.from_model(net, pool, loss="ce", history=history)
    return CoresetSampler(task, get_selector(name), K, **{"warmup": 1, "every": 1, "seed": 5, **options})


def optimiser(net: nn.Module) -> torch.optim.Optimizer:
    """Without momentum, so that a resumed run needs no state of it."""
    return torch.optim.SGD(net.parameters(), 0.5)


def losses(net: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The losses [B] and the logits [B, C]."""
    z = net(x)
    return F.cross_entropy(z, y, reduction="none"), z


Seen = list[tuple[int, list[int]]]  # (epoch, positions) of each batch


def plain(name: str = "craig", epochs: int = EPOCHS, step: Callable[..., Any] | None = None) -> tuple[Seen, nn.Module]:
    """Train by the loop of the README, in a process group under DistributedDataParallel; return what was seen, and the network.

    Args:
        step: records a batch: (sampler, indices, losses, logits, labels).
    """
    pool, net = data(), network()
    wrapped: nn.Module = net
    if dist.is_initialized():
        wrapped = nn.parallel.DistributedDataParallel(net)
    order, seen, own = sampler(net, pool, name), [], optimiser(net)
    loader = DataLoader(Indexed(pool), SIZE, sampler=order)
    for epoch in range(epochs):
        order.set_epoch(epoch)
        for x, y, i in loader:
            seen.append((epoch, i.tolist()))
            each, z = losses(wrapped, x, y)
            if step is not None:
                step(order, i, each, z, y)
            loss = (each * order.weights(i)).mean()
            own.zero_grad()
            loss.backward()
            own.step()
    return seen, net


def same(net: nn.Module, other: Any) -> bool:
    """Whether all parameters are equal, bit by bit."""
    theirs = other.state_dict()
    return all(torch.equal(p, theirs[name]) for name, p in net.state_dict().items())
