"""DynACL weakens views in steps, weights the adversarial half accordingly, and its key encoder follows the query."""

import copy
from typing import Any

import pytest
import torch
from bright_dark import SHORT as ATTACK
from bright_dark import gen
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from coreselect import select
from coreselect.attacks import PGD
from coreselect.errors import RequirementError, ScheduleError, ShapeError
from coreselect.losses import ACL, nt_xent
from coreselect.objectives import RD
from coreselect.selectors import RCS
from coreselect_integrations.networks import route_call, small_conv_contrastive
from coreselect_integrations.systems import acl
from coreselect_integrations.systems.dynacl import MomentumEncoder, omega, strength
from coreselect_integrations.training.contexts import evaluation_mode


def images(n: int = 12, seed: int = 7) -> Tensor:
    return torch.rand(n, 3, 8, 8, generator=gen(seed))


def net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return small_conv_contrastive(3, 8)


def copied(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def statistics(module: nn.Module) -> list[Tensor]:
    return [b.clone() for n, b in module.named_buffers() if "running" in n]


def epoch(encoder: MomentumEncoder, x: Tensor, optimizer: torch.optim.Optimizer, attack: Any = ATTACK) -> Any:
    return acl.train_epoch(
        encoder, [x], optimizer, attack, generator=gen(), loss=ACL(omega=omega(0.5)), call=route_call
    )


def test_strength_falls_in_steps() -> None:
    """Of 1000 epochs: 1 through epoch 49, then 0.95, …, 0.05 from epoch 950; of 7 by 3: 1, 4/7 and 1/7."""
    assert [strength(e, 1000) for e in (0, 49, 50, 99, 100, 949, 950, 999)] == pytest.approx(
        [1, 1, 0.95, 0.95, 0.9, 0.1, 0.05, 0.05]
    )
    assert [strength(e, 7, 3) for e in range(7)] == pytest.approx([1, 1, 1, 4 / 7, 4 / 7, 4 / 7, 1 / 7])
    assert strength(9, 10, 100) == 1
    assert [strength(e, 4, 1) for e in range(4)] == [1, 0.75, 0.5, 0.25]


def test_omega_rises_as_strength_falls() -> None:
    """ω = λ(1 − s): 0 at full strength, 2/3 at none, and ACL takes it at every epoch of a run."""
    assert omega(1.0) == 0
    assert omega(0.0) == pytest.approx(2 / 3)
    assert omega(0.25, 0.4) == pytest.approx(0.3)
    weights = [omega(strength(e, 20, 5)) for e in range(20)]
    assert weights == sorted(weights)
    assert weights[-1] == pytest.approx(2 / 3 * 0.75)


@pytest.mark.parametrize("bad", [(-1, 10, 5), (10, 10, 5), (0, 0, 5), (3, 10, 0), (3, 10, -1)])
def test_epochs_outside_the_run_are_refused(bad: tuple[int, int, int]) -> None:
    """An epoch outside 0 … E − 1 and an interval below 1 are refused."""
    with pytest.raises(ScheduleError, match="interval"):
        strength(*bad)


@pytest.mark.parametrize("bad", [(1.1, 0.5), (-0.1, 0.5), (0.5, 1.5), (0.5, -0.1), (float("nan"), 0.5)])
def test_weights_out_of_range_are_refused(bad: tuple[float, float]) -> None:
    """A strength or a rate outside [0, 1] is refused."""
    with pytest.raises(ScheduleError, match="strength"):
        omega(*bad)


def test_each_view_passes_its_own_encoder() -> None:
    """The query encodes the first half of a batch, the key the second, each with its own batch statistics."""
    encoder = MomentumEncoder(net()).train()
    with torch.no_grad():
        for p in encoder.key.parameters():
            p.mul_(0.9)
    query, key = copy.deepcopy(encoder.query), copy.deepcopy(encoder.key)
    x, y = images(6, 1), images(6, 2)
    out = encoder(torch.cat([x, y]), "adversarial")
    assert torch.equal(out, torch.cat([query(x, "adversarial"), key(y, "adversarial")]))
    assert all(torch.equal(a, b) for a, b in zip(statistics(encoder.key), statistics(key), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(statistics(encoder.key), statistics(encoder.query), strict=True))


def test_training_reaches_the_query_alone() -> None:
    """A loss of both views gives a gradient to every parameter of the query, and to none of the key."""
    encoder = MomentumEncoder(net()).train()
    first, second = encoder(torch.cat([images(6, 1), images(6, 2)]), "natural").chunk(2)
    assert not encoder.key(images(6, 2), "natural").requires_grad
    nt_xent(first, second).backward()
    routed = [p for n, p in encoder.query.named_parameters() if ".adversarial." not in n]
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in routed)
    assert all(p.grad is None and not p.requires_grad for p in encoder.key.parameters())


def test_attacks_move_both_views() -> None:
    """In evaluation mode with frozen parameters, NT-Xent has a gradient in both views, also in the view of the key."""
    encoder = MomentumEncoder(net()).train()
    views = tuple(images(6, s).requires_grad_() for s in (1, 2))
    with evaluation_mode(encoder):
        z = encoder(torch.cat(views), "adversarial")
        slopes = torch.autograd.grad(nt_xent(*z.chunk(2)), views)
    assert all(float(g.flatten(1).abs().amax(1).min()) > 0 for g in slopes)
    assert not any(p.requires_grad for p in encoder.key.parameters())
    assert all(p.requires_grad for p in encoder.query.parameters())


def test_an_epoch_trains_the_query_and_the_key_follows() -> None:
    """After one step of the contrastive loop k = m·k₀ + (1 − m)·q₁; both views were attacked; statistics stay apart."""
    encoder, moved = MomentumEncoder(net(), 0.9), []
    optimizer = torch.optim.SGD(encoder.query.parameters(), 0.05)
    encoder.attach(optimizer)
    before_q, before_k = copied(encoder.query), copied(encoder.key)

    class Watching:
        random_start = True

        def __call__(self, ascend: Any, inputs: Any, noise: Any) -> Any:
            from_start = PGD(0.05, 0.025, 0)(ascend, inputs, noise)
            hard = ATTACK(ascend, inputs, noise)
            moved.extend(not torch.equal(a, b) for a, b in zip(from_start, hard, strict=True))
            return hard

    log = epoch(encoder, images(), optimizer, Watching())

    assert log.examples == 12
    assert moved == [True, True]
    assert any(not torch.equal(a, b) for a, b in zip(before_q, encoder.query.parameters(), strict=True))
    for k0, q, k in zip(before_k, encoder.query.parameters(), encoder.key.parameters(), strict=True):
        assert torch.allclose(k, 0.9 * k0 + 0.1 * q.detach(), rtol=0, atol=1e-6)
    assert any(not torch.equal(a, b) for a, b in zip(statistics(encoder.key), statistics(encoder.query), strict=True))


def test_two_updates_equal_the_formula_in_float64() -> None:
    """k₂ = m²·k₀ + (1 − m)·(m·q₁ + q₂), BN statistics of the key untouched."""
    encoder = MomentumEncoder(net().double(), 0.7)
    k0, held = copied(encoder.key), statistics(encoder.key)
    queries = []
    for seed in (1, 2):
        encoder.query.load_state_dict(net(seed).double().state_dict())
        for b in encoder.query.buffers():
            b.add_(1)
        queries.append(copied(encoder.query))
        encoder.update()
    for a, q1, q2, k in zip(k0, *queries, encoder.key.parameters(), strict=True):
        assert torch.allclose(k, 0.49 * a + 0.3 * (0.7 * q1 + q2), rtol=0, atol=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(held, statistics(encoder.key), strict=True))


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_the_ends_of_the_momentum(momentum: float) -> None:
    """With momentum 0 the key is the query, with 1 it stays."""
    encoder = MomentumEncoder(net(), momentum)
    k0 = copied(encoder.key)
    with torch.no_grad():
        for p in encoder.query.parameters():
            p.add_(0.1)
    encoder.update()
    want = k0 if momentum else copied(encoder.query)
    assert all(torch.equal(a, b) for a, b in zip(want, encoder.key.parameters(), strict=True))


def test_a_removed_handle_ends_the_updates() -> None:
    """After `remove()` a step leaves the key as it is."""
    encoder = MomentumEncoder(net(), 0.5)
    optimizer = torch.optim.SGD(encoder.query.parameters(), 0.05)
    encoder.attach(optimizer).remove()
    before = copied(encoder.key)
    epoch(encoder, images(), optimizer)
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.key.parameters(), strict=True))


def test_a_saved_pair_comes_back() -> None:
    """state_dict → load_state_dict restores both encoders with their statistics, and a stopped run continues exactly."""
    whole = MomentumEncoder(net(), 0.9)
    optimizer = torch.optim.SGD(whole.query.parameters(), 0.05)
    whole.attach(optimizer)
    epoch(whole, images(), optimizer)
    again = MomentumEncoder(net(5), 0.9)
    again.load_state_dict(copy.deepcopy(whole.state_dict()))
    assert all(torch.equal(v, again.state_dict()[n]) for n, v in whole.state_dict().items())
    other = torch.optim.SGD(again.query.parameters(), 0.05)
    again.attach(other)
    for encoder, steps in ((whole, optimizer), (again, other)):
        epoch(encoder, images(12, 3), steps)
    assert all(torch.equal(v, again.state_dict()[n]) for n, v in whole.state_dict().items())


def test_the_key_can_be_selected_with() -> None:
    """A selection can use the key encoder as its model."""
    encoder = MomentumEncoder(net()).eval()
    task = acl.task(encoder.key, TensorDataset(images(16)), TensorDataset(images(6, 9)), head="head", attack=ATTACK)
    chosen = select(task, RCS(RD("kl", attack=ATTACK), group_size=4, certify=None), 8)
    assert len(set(chosen.indices.tolist())) == 8


def test_refusals() -> None:
    """An odd batch, a momentum outside [0, 1] and an optimiser of other parameters are refused."""
    encoder = MomentumEncoder(net())
    with pytest.raises(ShapeError, match="even number"):
        encoder(images(5), "natural")
    for momentum in (-0.1, 1.1, float("nan")):
        with pytest.raises(RequirementError, match="momentum"):
            MomentumEncoder(net(), momentum)
    with pytest.raises(RequirementError, match=r"encoder\.query\.parameters"):
        encoder.attach(torch.optim.SGD(net().parameters(), 0.1))
