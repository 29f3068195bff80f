"""The contrastive loop attacks both views jointly and averages NT-Xent over two routes."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from bright_dark import SHORT as ATTACK
from bright_dark import gen
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from coreselect import Indexed, Task
from coreselect.attacks import PGD
from coreselect.errors import RequirementError
from coreselect.history import History
from coreselect.losses import ACL, CL, nt_xent
from coreselect.protocols import Loss
from coreselect_integrations.networks import small_conv_contrastive
from coreselect_integrations.systems import acl
from coreselect_integrations.systems.air import IR, with_original


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
    """With batches of images only, the loss falls below that of a new network, and there is no accuracy."""
    model = net()
    logs = [epoch(model, images().split(12), seed=s) for s in range(6)]

    assert logs[-1].loss < logs[0].loss
    assert logs[0].accuracy is None
    assert logs[0].examples == 24


def test_the_loss_is_the_mean_of_both_routes() -> None:
    """With fixed views, rate 0 and radius 0, the loss is the mean of NT-Xent over both routes, with both views in one batch."""
    model, x = net(), images()
    first, second = x, x.flip(-1)
    log = epoch(model, [x], lr=0.0, attack=PGD(0.0, 1.0, 0), views=lambda x, _: (x, x.flip(-1)))
    twin = net().train()
    both = [nt_xent(*twin(torch.cat([first, second]), r).chunk(2)) for r in ("natural", "adversarial")]

    assert log.loss == pytest.approx(sum(b.item() for b in both) / 2, abs=1e-6)


def test_the_attack_is_joint_and_raises_the_adversarial_half() -> None:
    """Both views are in one call, the model is frozen and in evaluation mode, and the result raises the objective."""
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
    """Labels that are not numbers make no difference."""
    one, two = net(), net()
    epoch(one, [images()])
    epoch(two, [(images(), object())])

    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


def test_warm_up_is_decided_by_its_seed() -> None:
    """The same seed gives the same parameters, and the global generator does not change."""
    dataset = TensorDataset(images())
    one, two = net(), net()
    state = torch.get_rng_state()
    for model in (one, two):
        logs = acl.warm_up(model, dataset, epochs=1, attack=ATTACK, batch_size=10, seed=2)

    assert logs[0].examples == 24
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


def test_a_loader_of_any_form_will_do() -> None:
    """A DataLoader of one-tuples and an iterator of tensors give the same result."""
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


def fixed_views(x: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """The image and its mirror image, so that a second forward pass has the same inputs as training."""
    del generator
    return (x, x.flip(-1))


def anchors(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    """NT-Xent of t = ½, the mean over both anchors of each pair, by a loop over all the others."""
    every = [v / v.norm() for v in (*first.double(), *second.double())]
    b = len(first)

    def anchor(u: int) -> float:
        others = sum(math.exp(2 * float(every[u] @ v)) for i, v in enumerate(every) if i != u)
        return math.log(others) - 2 * float(every[u] @ every[(u + b) % (2 * b)])

    return np.array([(anchor(k) + anchor(k + b)) / 2 for k in range(b)])


@pytest.mark.parametrize("loss", [CL(), ACL(), ACL(omega=0.4), IR(sir=0.0, air=0.0)])
def test_a_history_gets_what_each_example_added(loss: Loss) -> None:
    """With rate 0 and radius 0, the recorded losses equal a loop over anchors, weighted by ω over the routes."""
    model, x, history = net(), images(10), History(10)
    attack = PGD(0.0, 1.0, 0) if any(r == "adversarial" for r, _ in loss.streams) else None
    views = with_original(fixed_views) if loss.views == 3 else fixed_views
    order = [3, 1, 4, 0, 9, 2, 6, 5, 8, 7]
    batches = [(x[order[a:b]], "unread", torch.tensor(order[a:b])) for a, b in ((0, 6), (6, 10))]
    log = epoch(model, batches, lr=0.0, attack=attack, loss=loss, views=views, history=history)

    twin, want = net().train(), np.zeros(10)
    omega = getattr(loss, "omega", 0.0)
    for part in (order[:6], order[6:]):
        both = torch.cat([x[part], x[part].flip(-1)])
        natural, attacked = (
            anchors(*(z.detach() for z in twin(both, route).chunk(2))) for route in ("natural", "adversarial")
        )
        want[part] = natural if attack is None else 0.5 * ((1 + omega) * attacked + (1 - omega) * natural)
    record = history.at(np.arange(10))
    np.testing.assert_allclose(record.loss, want, rtol=1e-5)
    assert record.loss.mean() == pytest.approx(log.loss, rel=1e-6)
    assert record.columns["loss_seen"].tolist() == [1] * 10
    assert record.seen.tolist() == [0] * 10


def test_air_s_history_has_its_loss_for_mean() -> None:
    """With invariance terms too, the mean of what the examples of a batch added is the loss of the batch."""
    history = History(12)
    log = epoch(
        net(), [(images(12), torch.arange(12))], loss=IR(omega=0.3), views=with_original(fixed_views), history=history
    )
    assert history.at(np.arange(12)).loss.mean() == pytest.approx(log.loss, rel=1e-6)


def test_recording_and_equal_weights_do_not_change_training() -> None:
    """A history and weights of 1 leave the trained network the same, bit for bit."""
    one, two = net(), net()
    a = epoch(one, DataLoader(TensorDataset(images()), 12, generator=gen()))
    loader = DataLoader(Indexed(TensorDataset(images())), 12, generator=gen())
    b = epoch(two, loader, history=History(24), weights=lambda i: torch.ones(i.shape))

    assert a.loss == b.loss
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


def test_weights_multiply_what_each_example_adds() -> None:
    """For one batch at rate 0, the log has the weighted mean of the losses, and the history the unweighted losses."""
    history, w = History(8), torch.tensor([2.0, 0, 1, 1, 0.5, 1.5, 3, 0])
    log = epoch(net(), [(images(8), torch.arange(8))], lr=0.0, history=history, weights=lambda i: w[i])
    assert log.loss == pytest.approx(float((history.at(np.arange(8)).loss * w.numpy()).mean()), rel=1e-6)


def test_losses_and_loaders_that_cannot_be_recorded_are_refused() -> None:
    """A loss that is one number for a batch, and batches without positions, are each refused in one sentence."""

    class Whole:
        """NT-Xent as a loss that does not say what each example adds."""

        name, views, streams, per_example, needs_labels = "own", 2, CL().streams, False, False
        default_attack = None
        ascend = CL().ascend

        def __call__(self, adversarial: Any, natural: Any, labels: Any) -> torch.Tensor:
            return nt_xent(*natural)

    with pytest.raises(RequirementError, match="'own' does not say what each example adds"):
        epoch(net(), [(images(), torch.arange(24))], attack=None, loss=Whole(), history=History(24))
    assert epoch(net(), [images()], attack=None, loss=Whole()).examples == 24
    for batch in (images(), (images(),)):
        with pytest.raises(RequirementError, match="end with the index"):
            epoch(net(), [batch], history=History(24))
