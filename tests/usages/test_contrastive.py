"""Usage (b): dual-route BN in encoder and three-layer projection head, two views, a 5-step joint attack, ACL, no labels."""

from typing import Any

import cases
import numpy as np
import pytest
import torch
from contract import photograph, random_states
from torch import Tensor, nn

from coreselect import CoresetSampler, Task, certify, holdout, select
from coreselect.attacks import PGD
from coreselect.objectives import RD
from coreselect.selectors import RCS, Windowed

pytest.importorskip("sklearn", reason="scikit-learn's digits are not installed")
from coreselect.data import load

FIVE = PGD(0.15, 0.04, 5)


class Encoder(nn.Module):
    """Two convolutions with dual-route BN, then a projection head with dual-route BN: [B, 1, 8, 8], route → [B, 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.norm1, self.norm2 = cases.DualNorm(nn.BatchNorm2d, 6), cases.DualNorm(nn.BatchNorm2d, 8)
        self.projection = cases.Projection(8 * 16, 24, 16)

    def forward(self, x: Tensor, route: Any) -> Tensor:
        z = torch.relu(self.norm1(self.one(x), route))
        z = torch.relu(self.norm2(self.two(z), route))
        return self.projection(z.flatten(1), route)


class Unlabelled:
    """Images without labels."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor:
        return self.data[index][0]


def warmed(pool: Any) -> nn.Module:
    """Train a few contrastive steps on both routes, so that statistics and features are not the initial ones."""
    from coreselect.losses import nt_xent

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Encoder().train()
        optimiser = torch.optim.Adam(model.parameters(), 0.003)
        own = torch.Generator().manual_seed(0)
        for step in range(12):
            ids = torch.randperm(len(pool), generator=own)[:64]
            views = [cases.two_views(pool[int(i)][None], own) for i in ids]
            first, second = (torch.cat([v[side] for v in views]) for side in (0, 1))
            noise = 0.1 * (torch.rand(first.shape, generator=own) * 2 - 1)
            optimiser.zero_grad()
            loss = nt_xent(model(first, "natural"), model(second, "natural"))
            loss = loss + nt_xent(model(first + noise, "adversarial"), model(second - noise, "adversarial"))
            loss.backward()
            optimiser.step()
            assert step >= 0
    return model.eval()


@pytest.fixture(scope="module")
def setting() -> tuple[Any, Any, nn.Module]:
    """Real digits without labels, a validation split, and a network that was trained briefly."""
    pool, validation = holdout(Unlabelled(load("digits")), 60, seed=3)
    return pool, validation, warmed(pool)


@pytest.mark.parametrize("capture", [None, "all"])
def test_from_digits_to_a_contrastive_coreset(setting: Any, capture: Any) -> None:
    """On real images without labels, gradients of the projection head or of the whole network give a coreset that lowers RD."""
    pool, validation, model = setting
    task = Task.from_model(
        model,
        pool,
        validation,
        loss="acl",
        attack=FIVE,
        head="projection",
        capture=capture,
        call=cases.routed,
        views=cases.two_views,
    ).restrict(range(400))
    assert "labels" not in task.provides
    selector = RCS(RD("kl", attack=PGD(0.15, 0.05, 3)), eta=0.05, group_size=16)
    before, states = photograph(model), random_states()
    chosen = select(task, selector, 0.2, seed=2)
    assert photograph(model) == before
    assert random_states() == states
    assert len(chosen) == 80
    s = chosen.diagnostics
    assert s is not None
    assert s.rd_before is not None
    assert s.rd_after_held is not None
    assert s.rd_clean is not None
    assert s.rd_after_held < s.rd_before
    assert s.rd_clean > 0  # the gap between the two routes, told beside RD
    assert s.effective_classes is None
    if capture is None:
        c = certify(chosen, task)
        assert c is not None
        assert chosen.certificate is not None
        assert c.upper_bound is not None
        assert c.value == pytest.approx(chosen.certificate.value, rel=1e-4)
        assert c.upper_bound >= c.value
    same = select(task, selector, 0.2, seed=2)
    assert same.indices.tolist() == chosen.indices.tolist()


def test_the_projection_head_has_three_linears_and_both_routes(setting: Any) -> None:
    """The head is found by name with its three Linears, and its two routes give different outputs."""
    pool, validation, model = setting
    task: Any = Task.from_model(
        model, pool, validation, loss="acl", attack=FIVE, head="projection", call=cases.routed, views=cases.two_views
    )
    with task.snapshot(0, 0) as snapshot:
        assert snapshot.net.routes == 2
        assert len(snapshot.layout().names) == 6


def test_windows_and_a_sampler(setting: Any) -> None:
    """A windowed selector inside a sampler gives exact sizes, the whole pool in warmup, and a renewed subset."""
    pool, validation, model = setting
    task = Task.from_model(
        model,
        pool,
        validation,
        loss="acl",
        attack=PGD(0.15, 0.04, 2),
        head="projection",
        call=cases.routed,
        views=cases.two_views,
    ).restrict(range(200))
    inner = RCS(RD("kl", attack=PGD(0.15, 0.05, 1)), group_size=16, certify=None)
    sampler = CoresetSampler(task, Windowed(inner, window=64), 0.25, warmup=1, every=1, seed=0)
    seen = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        seen.append(list(sampler))
    assert [len(e) for e in seen] == [200, 50, 50]
    assert sorted(seen[1]) != sorted(seen[2])
    assert np.max(seen[1]) < 200
