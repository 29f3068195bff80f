"""The contrastive loop attacks both views jointly and averages NT-Xent over two routes."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from coreselect import Task
from coreselect.attacks import PGD
from coreselect.losses import nt_xent
from coreselect_integrations import acl
from coreselect_integrations.networks import small_conv_contrastive

ATTACK = PGD(0.05, 0.025, 2)


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 24) -> torch.Tensor:
    return torch.rand(n, 3, 8, 8, generator=gen(7))


def net() -> nn.Module:
    torch.manual_seed(0)
    return small_conv_contrastive(3, 8)


def epoch(model: nn.Module, batches, *, lr: float = 0.05, attack: Any = ATTACK, seed: int = 0, **settings: Any):
    return acl.train_epoch(
        model, batches, torch.optim.SGD(model.parameters(), lr), attack, generator=gen(seed), **settings
    )


def test_an_epoch_learns_without_labels() -> None:
    """Batches of bare images: the loss falls from that of a fresh network, and there is no accuracy."""
    model = net()
    logs = [epoch(model, images().split(12), seed=s) for s in range(6)]

    assert logs[-1].loss < logs[0].loss
    assert logs[0].accuracy is None
    assert logs[0].examples == 24


def test_the_loss_is_the_mean_of_both_routes() -> None:
    """With views fixed, lr 0 and no radius: the mean of NT-Xent by either route, both views in one batch."""
    model, x = net(), images()
    first, second = x, x.flip(-1)
    log = epoch(model, [x], lr=0.0, attack=PGD(0.0, 1.0, 0), views=lambda x, _: (x, x.flip(-1)))
    twin = net().train()
    both = [nt_xent(*twin(torch.cat([first, second]), r).chunk(2)) for r in ("natural", "adversarial")]

    assert log.loss == pytest.approx(sum(b.item() for b in both) / 2, abs=1e-6)


def test_the_attack_is_joint_and_raises_the_adversarial_half() -> None:
    """Both views arrive in one call, the model is closed and in evaluation mode, the answer raises what was asked."""
    model = net()
    calls: list[int] = []

    class Watching:
        random_start = True

        def __call__(self, ascend, inputs, noise):
            assert not any(m.training for m in model.modules())
            assert not any(p.requires_grad for p in model.parameters())
            calls.append(len(inputs))
            hard = ATTACK(ascend, inputs, noise)
            assert ascend(hard) > ascend(inputs)
            return hard

    epoch(model, [images()], attack=Watching())

    assert calls == [2]
    assert model.training


def test_labels_are_never_read() -> None:
    """Labels that are not even numbers change nothing."""
    one, two = net(), net()
    epoch(one, [images()])
    epoch(two, [(images(), object())])

    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


def test_warm_up_is_decided_by_its_seed() -> None:
    """Same seed, same parameters, and the global generator does not move."""
    dataset = TensorDataset(images())
    one, two = net(), net()
    state = torch.get_rng_state()
    for model in (one, two):
        logs = acl.warm_up(model, dataset, epochs=1, attack=ATTACK, batch_size=10, seed=2)

    assert logs[0].examples == 24
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


def test_a_loader_of_any_form_will_do() -> None:
    """A DataLoader of one-tuples and an iterator of tensors see the same images."""
    dataset = TensorDataset(images())
    one, two = net(), net()
    a = epoch(one, DataLoader(dataset, 12, generator=gen()))
    b = epoch(two, iter(images().split(12)))

    assert a.loss == b.loss


def test_task_says_what_this_loop_trains_with() -> None:
    """The task has two views and two routes, and no labels are needed."""
    pool, validation = torch.utils.data.random_split(TensorDataset(images()), [16, 8], generator=gen())
    task = acl.task(net(), pool, validation, batch_size=8)

    assert isinstance(task, Task)
    assert task.n == 16
