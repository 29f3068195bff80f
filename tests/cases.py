"""Tiny problems for tests: models, datasets and tasks, seeded without changing a global random state."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from coreselect import Task
from coreselect.attacks import PGD
from coreselect.history import History
from coreselect.objectives import RD
from coreselect.protocols import Route
from coreselect.selectors import RCS

SIDE = 6  # images [1, 6, 6]
CLASSES = 4
WEAK = PGD(0.1, 0.05, 2)  # a quick attack, strong enough to move outputs
RD_WEAK = RD("kl", attack=WEAK)


def built(factory: Callable[[], nn.Module], *, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Make a module with its own seed, in evaluation mode, with BN statistics other than the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = factory()
        for m in model.modules():
            if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and m.running_mean is not None:
                assert m.running_var is not None
                m.running_mean.normal_(0, 0.3)
                m.running_var.uniform_(0.5, 1.5)
                if m.affine:
                    nn.init.uniform_(m.weight, 0.5, 1.5)
                    nn.init.normal_(m.bias, 0, 0.2)
    return model.to(dtype).eval()


class ConvNet(nn.Module):
    """A convolution with BN, then a linear head: [B, 1, 6, 6] → [B, C]."""

    def __init__(self, classes: int = CLASSES, width: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width * 4, classes)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.tanh(self.norm(self.conv(x)))
        return self.fc(nn.functional.adaptive_avg_pool2d(z, 2).flatten(1))


class DeepHead(nn.Module):
    """A linear body and an MLP head with BN in between: [B, 1, 6, 6] → [B, C]."""

    def __init__(self, classes: int = CLASSES, hidden: int = 5, *, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 7), nn.Tanh())
        self.head = nn.Sequential(
            nn.Linear(7, hidden), nn.BatchNorm1d(hidden), activation or nn.ReLU(), nn.Linear(hidden, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class DualNorm(nn.Module):
    """Two normalisation layers; the route chooses one."""

    def __init__(self, make: Callable[[int], nn.Module], width: int) -> None:
        super().__init__()
        self.natural, self.adversarial = make(width), make(width)

    def forward(self, x: Tensor, route: Route) -> Tensor:
        return self.natural(x) if route == "natural" else self.adversarial(x)


class Projection(nn.Module):
    """Three linear layers with dual-route BN in between: [B, D], route → [B, C]."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.first, self.second, self.third = (
            nn.Linear(width, hidden),
            nn.Linear(hidden, hidden),
            nn.Linear(hidden, out),
        )
        self.norm1, self.norm2 = DualNorm(nn.BatchNorm1d, hidden), DualNorm(nn.BatchNorm1d, hidden)

    def forward(self, z: Tensor, route: Route) -> Tensor:
        z = torch.relu(self.norm1(self.first(z), route))
        z = torch.relu(self.norm2(self.second(z), route))
        return self.third(z)


class DualNet(nn.Module):
    """An encoder and a projection head, both with dual-route BN: [B, 1, 6, 6], route → [B, C]."""

    def __init__(self, width: int = 3, hidden: int = 6, out: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.norm = DualNorm(nn.BatchNorm2d, width)
        self.head = Projection(width * 4, hidden, out)

    def forward(self, x: Tensor, route: Route = "natural") -> Tensor:
        z = torch.relu(self.norm(self.conv(x), route))
        return self.head(nn.functional.adaptive_avg_pool2d(z, 2).flatten(1), route)


def routed(model: nn.Module, x: Tensor, route: Route) -> Tensor:
    """Call a dual-route model."""
    return model(x, route)


def two_views(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return two views of x [1, …] with random brightness and shift, drawn only from the generator."""

    def view() -> Tensor:
        shift = int(torch.randint(-1, 2, (), generator=generator))
        scale = 0.7 + 0.3 * float(torch.rand((), generator=generator))
        return (scale * x).roll(shift, -1).clamp(0, 1)

    return view(), view()


def images(n: int, *, seed: int = 0, dtype: torch.dtype = torch.float64, side: int = SIDE) -> Tensor:
    """Draw random images [n, 1, side, side] in [0, 1]."""
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def classes(n: int, *, seed: int = 0, count: int = CLASSES) -> Tensor:
    """Draw random labels, int64 [n]."""
    return torch.randint(count, (n,), generator=torch.Generator().manual_seed(1000 + seed))


class Items(Dataset[Any]):
    """Items (x, y), or only x without labels; the dataset does not list its labels."""

    def __init__(self, x: Tensor, y: Tensor | None = None) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        return self.x[index] if self.y is None else (self.x[index], int(self.y[index]))


def items(n: int, *, seed: int, dtype: torch.dtype, labels: bool = False) -> Items:
    """Make a dataset of n random images, with random labels if asked."""
    return Items(images(n, seed=seed, dtype=dtype), classes(n, seed=seed) if labels else None)


class Augmenting(Items):
    """The same items with noise from the global generators of Python, numpy and torch."""

    def __getitem__(self, index: int) -> Any:
        noise = 0.05 * (random.random() + float(np.random.rand()) + torch.rand(1, SIDE, SIDE, dtype=self.x.dtype))
        x = (self.x[index] + noise).clamp(0, 1)
        return x if self.y is None else (x, int(self.y[index]))


class Broken(RuntimeError):
    """The error that datasets and view functions of these tests raise."""


class Failing(Items):
    """Items of which one cannot be read after `armed` is set."""

    def __init__(self, x: Tensor, y: Tensor | None = None, *, at: int) -> None:
        super().__init__(x, y)
        self.at, self.armed = at, False

    def __getitem__(self, index: int) -> Any:
        if self.armed and index == self.at:
            torch.rand(3)  # the failure comes after a change of the global state
            raise Broken(f"item {index}")
        return super().__getitem__(index)


def sat_task(
    n: int = 24,
    *,
    u: int = 10,
    model: nn.Module | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    pool: Any = None,
    validation: Any = None,
    **settings: Any,
) -> Any:
    """Make a supervised task on random images: SAT, the weak attack, labels in pool and validation."""
    model = built(ConvNet, dtype=dtype) if model is None else model
    pool = items(n, seed=seed, dtype=dtype, labels=True) if pool is None else pool
    validation = items(u, seed=seed + 77, dtype=dtype, labels=True) if validation is None else validation
    return Task.from_model(model, pool, validation, **{"loss": "sat", "attack": WEAK, **settings})


def acl_task(
    n: int = 24,
    *,
    u: int = 8,
    model: nn.Module | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    pool: Any = None,
    validation: Any = None,
    **settings: Any,
) -> Any:
    """Make a contrastive task without labels on a dual-route network."""
    model = built(DualNet, dtype=dtype) if model is None else model
    pool = items(n, seed=seed, dtype=dtype) if pool is None else pool
    validation = items(u, seed=seed + 77, dtype=dtype) if validation is None else validation
    fixed = {"loss": "acl", "attack": WEAK, "call": routed, "views": two_views, "head": "head"}
    return Task.from_model(model, pool, validation, **{**fixed, **settings})


def array_task(n: int = 24, *, width: int = 9, seed: int = 0, groups: Sequence[int] | None = None, **more: Any) -> Any:
    """Make a task of arrays: gradients, a validation gradient, features, logits and labels."""
    rng = np.random.default_rng(seed)
    rows = n if groups is None else max(groups) + 1
    return Task.from_arrays(
        **{
            "features": rng.normal(size=(n, 5)),
            "labels": rng.integers(0, CLASSES, n),
            "logits": rng.normal(size=(n, CLASSES)),
            "gradients": rng.normal(size=(rows, width)),
            "validation_gradient": rng.normal(size=width),
            "groups": None if groups is None else np.asarray(groups),
            **more,
        }
    )


def history(n: int = 24, *, epochs: int = 6, seed: int = 0, classes: int = CLASSES) -> History:
    """Make a history of random attacked logits whose margins drift apart, with input gradients."""
    rng = np.random.default_rng(seed)
    out, y = History(n), rng.integers(0, classes, n)
    drift = rng.normal(size=(n, classes))
    for epoch in range(epochs):
        for i in np.array_split(rng.permutation(n), min(3, n)):
            z = torch.from_numpy(rng.normal(size=(len(i), classes)) + epoch * drift[i])
            out.record(i, z, y[i], attacked=True)
            out.record_input_norms(i, torch.from_numpy(rng.random(len(i))))
    return out


def record_tasks(monkeypatch: Any) -> None:
    """Make `sat_task` and `array_task` give their tasks a history, until the patch is undone."""
    plain, arrays = sat_task, array_task

    def recorded(n: int = 24, *, pool: Any = None, **settings: Any) -> Any:
        return plain(n, pool=pool, history=history(n if pool is None else len(pool)), **settings)

    def recorded_arrays(n: int = 24, **more: Any) -> Any:
        return arrays(n, history=history(n), **more)

    monkeypatch.setattr(f"{__name__}.sat_task", recorded)
    monkeypatch.setattr(f"{__name__}.array_task", recorded_arrays)


def rcs(**settings: Any) -> RCS:
    """Make RCS with the weak attack and groups of three."""
    return RCS(**{"objective": RD_WEAK, "group_size": 3, **settings})


def parts(model: nn.Module, names: Sequence[str]) -> list[Tensor]:
    """Return some parameters of a model by name."""
    known = dict(model.named_parameters())
    return [known[n] for n in names]
