"""BYOL: the online network predicts the target's representation of the other view, and the target follows."""

import copy

import pytest
import torch
from bright_dark import gen
from oracles import bootstrap_distance
from torch import Tensor
from torch.utils.data import TensorDataset

from coreselect import select
from coreselect.attacks import PGD
from coreselect.errors import ScheduleError, ShapeError
from coreselect.objectives import RD
from coreselect.selectors import RCS
from coreselect_integrations.networks import route_call
from coreselect_integrations.networks.small import SmallConv, small_conv_contrastive
from coreselect_integrations.systems import acl
from coreselect_integrations.systems.byol import BYOL, Bootstrap, OnlineBYOL, momentum


def images(n: int = 12, seed: int = 7) -> Tensor:
    return torch.rand(n, 3, 8, 8, generator=gen(seed))


def net(seed: int = 0) -> SmallConv:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return small_conv_contrastive(3, 8, dual_bn=False)


def test_the_losses_are_their_definition() -> None:
    """One example at a time, from squared distances of unit vectors; the online loss predicts with its own targets."""
    p1, p2, t1, t2 = (torch.randn(5, 6, generator=gen(s), dtype=torch.float64) for s in range(4))
    want = torch.stack([bootstrap_distance((p1[i], p2[i]), (t1[i], t2[i])) for i in range(5)])
    views = (torch.cat([p1, t1], 1), torch.cat([p2, t2], 1))
    assert torch.allclose(BYOL().each((), views, None), want, rtol=1e-12)
    assert torch.allclose(BYOL()((), views, None), want.mean(), rtol=1e-12)
    want = torch.stack([bootstrap_distance((p1[i].tanh(), p2[i].tanh()), (p1[i], p2[i])) for i in range(5)])
    assert torch.allclose(OnlineBYOL(torch.tanh).each((), (p1, p2), None), want, rtol=1e-12)
    assert float(OnlineBYOL()((), (p1, p1), None)) == pytest.approx(0, abs=1e-12)


def test_no_gradient_flows_through_the_targets() -> None:
    """The derivative of the online loss is that with the targets held, by central differences."""
    z = torch.randn(2, 1, 4, generator=gen(1), dtype=torch.float64)
    at = z.clone().requires_grad_()
    OnlineBYOL(torch.tanh)((), (at[0], at[1]), None).backward()
    for place in range(4):
        moved = []
        for h in (1e-6, -1e-6):
            near = z.clone()
            near[0, 0, place] += h
            moved.append(bootstrap_distance((near[0, 0].tanh(), near[1, 0].tanh()), (z[0, 0], z[1, 0])))
        assert at.grad is not None
        assert float(at.grad[0, 0, place]) == pytest.approx(float(moved[0] - moved[1]) / 2e-6, abs=1e-7)


def test_the_momentum_rises_to_one_along_a_cosine() -> None:
    """τ₀ at first, half-way between τ₀ and 1 in the middle."""
    assert momentum(0.996, 0, 100) == pytest.approx(0.996)
    assert momentum(0.9, 50, 100) == pytest.approx(0.95)
    rising = [momentum(0.9, e, 20) for e in range(20)]
    assert rising == sorted(rising)
    for bad in ((1.5, 0, 2), (0.9, 2, 2), (0.9, -1, 2)):
        with pytest.raises(ScheduleError, match="τ needs"):
            momentum(*bad)


def test_each_view_passes_both_networks_by_itself() -> None:
    """The output is h(f(x)) beside the target's f(x), with batch statistics of one view at a time."""
    pair = Bootstrap(net()).train()
    with torch.no_grad():
        for p in pair.key.parameters():
            p.mul_(0.9)
    other = copy.deepcopy(pair)
    x, y = images(6, 1), images(6, 2)
    first, second = pair(torch.cat([x, y]), "natural").chunk(2)
    assert torch.equal(first[:, :128], other.predictor(other.query(x, "natural")))
    assert torch.equal(second[:, :128], other.predictor(other.query(y, "natural")))
    assert torch.equal(second[:, 128:], other.key(y, "natural"))
    with pytest.raises(ShapeError, match="even number"):
        pair(images(5), "natural")


def test_an_epoch_trains_network_and_predictor_and_the_target_follows() -> None:
    """After one step ξ = τ·ξ₀ + (1 − τ)·θ₁; the predictor has moved; the loss was that of the first networks."""
    pair, again = Bootstrap(net(), 0.9, seed=2), Bootstrap(net(), 0.9, seed=2).train()
    trained = [p for p in pair.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, 0.05)
    pair.attach(optimizer)
    before = [p.detach().clone() for p in (*pair.key.parameters(), *pair.predictor.parameters())]
    log = acl.train_epoch(
        pair, [images()], optimizer, None, generator=gen(), loss=BYOL(), call=route_call, views=lambda x, g: (x, x.flip(-1))
    )  # fmt: skip
    after = [*pair.key.parameters(), *pair.predictor.parameters()]
    for a, q, k in zip(before, pair.query.parameters(), pair.key.parameters(), strict=False):
        assert torch.allclose(k, 0.9 * a + 0.1 * q.detach(), atol=1e-6)
    assert all(not torch.equal(a, b) for a, b in zip(before[-6:], after[-6:], strict=True) if a.ndim > 1)
    x, y = images(), images().flip(-1)
    z, t = ([f(v, "natural") for v in (x, y)] for f in (again.query, again.key))
    p = [again.predictor(each) for each in z]
    first = [bootstrap_distance((p[0][i], p[1][i]), (t[0][i], t[1][i])) for i in range(12)]
    assert log.loss == pytest.approx(float(torch.stack(first).mean().detach()), rel=1e-4)


def test_rcs_selects_with_the_predictor_in_evaluation_mode() -> None:
    """A selection changes neither statistics nor modes of the predictor, and reads it: another one gives other gains."""
    gains = []
    for seed in (1, 2):
        pair = Bootstrap(net(), seed=seed).train()
        held = copy.deepcopy(pair.predictor.state_dict())
        task = acl.task(
            pair.query, TensorDataset(images(16)), TensorDataset(images(6, 9)), head="head",
            loss=OnlineBYOL(pair.predict), attack=None, views=lambda x, g: (x, x.flip(-1)),
        )  # fmt: skip
        chosen = select(task, RCS(RD("kl", attack=PGD(8 / 255, 10 / 255, 1)), group_size=4, certify=None), 8)
        assert len(set(chosen.indices.tolist())) == 8
        assert chosen.provenance.task["loss"]["predict"] == "Bootstrap.predict"
        assert pair.predictor.training
        assert all(torch.equal(v, held[n]) for n, v in pair.predictor.state_dict().items())
        gains.append(torch.as_tensor(chosen.gains))
    assert not torch.equal(gains[0], gains[1])
