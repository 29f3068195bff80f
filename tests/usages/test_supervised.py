"""Usage (a): a supervised classifier with a linear head and labels, attacked by cross-entropy, on scanned digits, end to end."""

from typing import Any

import numpy as np
import pytest
import torch
from contract import photograph, random_states
from torch import nn
from torch.utils.data import DataLoader

from coreselect import CoresetSampler, Indexed, Normalized, Selection, Task, certify, holdout, select
from coreselect.attacks import PGD
from coreselect.data import load
from coreselect.objectives import RD
from coreselect.selectors import RCS

pytest.importorskip("sklearn", reason="scikit-learn's digits are not installed")

STRONG = PGD(0.15, 0.05, 4)


class Net(nn.Module):
    """A small conv net on 8×8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten()
        )
        self.fc = nn.Linear(8 * 16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(x))


def train(model: nn.Module, loader: Any, epochs: int, sampler: Any = None) -> None:
    """The user's own loop: adversarial training."""
    optimiser = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for epoch in range(epochs):
        if sampler is not None:
            sampler.set_epoch(epoch)
        for x, y, ids in loader:
            model.eval()
            own = torch.rand(x.shape, generator=torch.Generator().manual_seed(epoch)) * 2 - 1
            (hit,) = STRONG(lambda v, y=y: nn.functional.cross_entropy(model(v[0]), y, reduction="sum"), (x,), (own,))
            model.train()
            optimiser.zero_grad()
            losses = nn.functional.cross_entropy(model(hit), y, reduction="none")
            (losses if sampler is None else losses * sampler.weights(ids)).mean().backward()
            optimiser.step()


def test_from_digits_to_a_trained_model(tmp_path: Any) -> None:
    """A briefly trained net selects 10 % of real digits: this lowers RD and is certified, saved, loaded, and trained on."""
    data = load("digits")
    pool, validation = holdout(data, 100, seed=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Normalized(Net(), [0.3], [0.35])
        loader: Any = DataLoader(
            Indexed(pool), batch_size=128, shuffle=True, generator=torch.Generator().manual_seed(0)
        )
        train(model, loader, 3)
    task = Task.from_model(model, pool, validation, loss="sat", attack=PGD(0.15, 0.05, 2))
    selector = RCS(RD("kl", attack=PGD(0.15, 0.05, 3)), eta=0.05)

    before, states = photograph(model), random_states()
    chosen = select(task, selector, 0.1, seed=1)
    assert photograph(model) == before
    assert random_states() == states

    k = len(pool) // 10
    assert len(chosen) == len(set(chosen.indices.tolist())) == k
    assert not set(chosen.source_indices.tolist()) & set(validation.indices)
    s, c = chosen.diagnostics, chosen.certificate
    assert s is not None
    assert c is not None
    assert s.rd_before is not None
    assert s.rd_after_held is not None
    assert s.rd_after_held < s.rd_before
    assert s.predicted_true_correlation is not None
    assert s.predicted_true_correlation > 0.7
    assert s.effective_classes is not None
    assert s.effective_classes > 8  # groups are balanced by class
    assert c.upper_bound is not None
    assert c.upper_bound >= c.value > 0

    chosen.save(tmp_path / "coreset.npz")
    back = Selection.load(tmp_path / "coreset.npz")
    assert np.array_equal(back.source_indices, chosen.source_indices)
    again = certify(back, task)
    assert again is not None
    assert again.value == pytest.approx(c.value, rel=1e-4)
    assert len(back.subset(pool)) == k

    sampler = CoresetSampler(task, selector, 0.1, warmup=1, every=2, seed=1)
    loader = DataLoader(Indexed(pool), batch_size=32, sampler=sampler, generator=torch.Generator())
    train(model, loader, 3, sampler)
    assert sampler.selection is not None
    assert sampler.selection.provenance.round == 0
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_a_random_draw_lowers_rd_less() -> None:
    """On real digits the selection's RD, attacked inputs held, is below the mean of ten random draws of as many groups."""
    data = load("digits")
    pool, validation = holdout(data, 100, seed=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Net()
        loader: Any = DataLoader(
            Indexed(pool), batch_size=128, shuffle=True, generator=torch.Generator().manual_seed(0)
        )
        train(model, loader, 2)
    task: Any = Task.from_model(model, pool, validation, loss="sat", attack=PGD(0.15, 0.05, 2))
    selector: Any = RCS(RD("kl", attack=PGD(0.15, 0.05, 3)), eta=0.02, group_size=16)
    chosen = select(task, selector, 160)
    with task.snapshot(0, 0) as snapshot:
        held = snapshot.objective(selector.objective)
        rows, _ = snapshot.rows(selector._groups(snapshot, 160))
        theta = snapshot.theta()
        falls = []
        for seed in range(10):
            some = np.random.default_rng(seed).permutation(rows.count)[:10]
            step = torch.stack([rows.full(int(m)) for m in some]).sum(0)
            falls.append(held.value(theta) - held.value(theta - selector.eta * step))
    assert chosen.diagnostics is not None
    assert chosen.diagnostics.rd_before is not None
    assert chosen.diagnostics.rd_after_held is not None
    assert chosen.diagnostics.rd_before - chosen.diagnostics.rd_after_held > max(falls)
