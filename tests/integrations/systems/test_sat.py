"""The supervised loop attacks in evaluation mode, updates in training mode, and trains on what the loader gives."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from bright_dark import SHORT as ATTACK
from bright_dark import bright_dark, gen
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from coreselect import Task
from coreselect.attacks import PGD
from coreselect.errors import ScheduleError
from coreselect.losses import CE, TRADES
from coreselect_integrations.networks import small_conv
from coreselect_integrations.systems import sat
from coreselect_integrations.training.schedule import Schedule, constant


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return small_conv(2, 1, 8)


def loader(dataset: TensorDataset, batch_size: int = 10) -> DataLoader:
    return DataLoader(dataset, batch_size, generator=gen())


def epoch(model: nn.Module, batches, *, lr: float = 0.05, attack: Any = ATTACK, seed: int = 0, **settings: Any):
    return sat.train_epoch(
        model, batches, torch.optim.SGD(model.parameters(), lr), attack, generator=gen(seed), **settings
    )


class Watching:
    """PGD that checks the state of the model before each attack."""

    random_start = True

    def __init__(self, model: nn.Module) -> None:
        self.model, self.noise = model, []

    def __call__(self, ascend, inputs, noise):
        assert not any(m.training for m in self.model.modules())
        assert not any(p.requires_grad for p in self.model.parameters())
        self.noise.append(noise[0])
        return ATTACK(ascend, inputs, noise)


def test_attacks_see_a_closed_model_in_evaluation_mode() -> None:
    """During the attack nothing trains; afterwards the model is in training mode and has moved."""
    model = net()
    attack = Watching(model)
    before = [p.clone() for p in model.parameters()]
    log = epoch(model, loader(bright_dark()), attack=attack)

    assert model.training
    assert all(not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert log.examples == 40
    assert all(n.min() >= -1 and n.max() < 1 for n in attack.noise)


def test_the_log_is_the_mean_over_attacked_inputs() -> None:
    """For one batch at rate 0, loss and accuracy are those of the model on the result of PGD."""
    model, dataset = net(), bright_dark()
    log = epoch(model, loader(dataset, 40), lr=0.0)
    x, y = dataset.tensors
    model.eval()
    start = 2 * torch.rand(x.shape, generator=gen()) - 1
    fresh = net().eval()
    (hard,) = ATTACK(lambda v: F.cross_entropy(fresh(v[0]), y, reduction="sum"), (x,), (start,))
    logits = fresh.train()(hard)

    assert log.loss == pytest.approx(F.cross_entropy(logits, y).item(), abs=1e-6)
    assert log.accuracy == pytest.approx((logits.argmax(1) == y).double().mean().item())


def test_an_epoch_learns() -> None:
    """A few epochs on bright and dark images lower the adversarial loss."""
    model = net()
    logs = [epoch(model, loader(bright_dark()), seed=s) for s in range(4)]

    assert logs[-1].loss < 0.5 * logs[0].loss
    assert logs[-1].accuracy == 1.0


def test_same_generator_same_training() -> None:
    """The generator decides augmentation and random starts; the global generator does not change."""

    def noisy(x: Tensor, generator: torch.Generator) -> Tensor:
        return x + 0.01 * torch.rand(x.shape, generator=generator)

    one, two, other = net(), net(), net()
    state = torch.get_rng_state()
    for model, seed in ((one, 0), (two, 0), (other, 1)):
        epoch(model, loader(bright_dark()), seed=seed, augment=noisy)

    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def test_weights_multiply_the_per_example_loss() -> None:
    """Weight 2 on half of a batch and 0 on the rest equals twice the gradient of that half's share of the mean."""
    dataset = bright_dark(8)
    weights = torch.tensor([2.0, 0, 2, 0, 2, 0, 2, 0])
    batch = (*dataset.tensors, torch.arange(8))
    weighted, plain = net(), net()
    epoch(weighted, [batch], attack=PGD(0.0, 1.0, 0), weights=lambda i: weights[i])
    plain.train()
    x, y = dataset.tensors
    optimizer = torch.optim.SGD(plain.parameters(), 0.05)
    (F.cross_entropy(plain(x), y, reduction="none")[::2].sum() * 2 / 8).backward()
    optimizer.step()

    for p, q in zip(weighted.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_the_scheduler_steps_once_an_update() -> None:
    """Four batches make four steps, and a fifth step is refused."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = Schedule(optimizer, constant())
    scheduler.set_epoch(0, 4)
    sat.train_epoch(model, loader(bright_dark()), optimizer, ATTACK, generator=gen(), scheduler=scheduler)

    with pytest.raises(ScheduleError):
        scheduler.step()


@pytest.mark.parametrize("half", [None, torch.bfloat16])
def test_trades_is_its_formula_on_both_passes(half: torch.dtype | None) -> None:
    """For one batch at rate 0, the float32 loss is natural cross-entropy plus β·KL(p ‖ p̃), with an attack that raised the KL."""
    model, dataset = net(), bright_dark()
    seen: list[tuple[Tensor, Tensor]] = []

    def attack(ascend: Any, inputs: Any, noise: Any) -> Any:
        hit = ATTACK(ascend, inputs, noise)
        seen.append((inputs[0], hit[0]))
        return hit

    attack.random_start = True  # type: ignore[attr-defined]
    log = epoch(model, loader(dataset, 40), lr=0.0, attack=attack, loss=TRADES(3.0), precision=half)
    y, twin = dataset.tensors[1], net().train()
    x, x_hit = seen[0]
    with torch.autocast("cpu", dtype=half, enabled=half is not None):
        natural, hit = twin(x).float(), twin(x_hit).float()
    p = natural.softmax(1)
    kl = (p * (natural.log_softmax(1) - hit.log_softmax(1))).sum(1)
    assert kl.mean() > 0
    assert log.loss == pytest.approx((F.cross_entropy(natural, y, reduction="none") + 3 * kl).mean().item(), abs=1e-5)
    assert log.accuracy == (hit.argmax(1) == y).float().mean().item()


def test_standard_training_attacks_nothing() -> None:
    """For CE without an attack, the loss is that of the natural images."""
    model, dataset = net(), bright_dark()
    log = epoch(model, loader(dataset, 40), lr=0.0, attack=None, loss=CE())
    x, y = dataset.tensors
    assert log.loss == pytest.approx(F.cross_entropy(net().train()(x), y).item(), abs=1e-6)


def test_a_head_trains_alone_while_the_rest_stays_as_it_is() -> None:
    """With `trained=model.head`, the extractor stays in evaluation mode and does not change; only the head is trained."""
    model = net()
    head: nn.Module = model.head  # type: ignore[assignment]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.SGD(head.parameters(), 0.1)
    sat.train_epoch(model, loader(bright_dark()), optimizer, ATTACK, generator=gen(), trained=head)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"head.weight", "head.bias"}
    assert head.training
    assert not model.training


def test_fast_at_takes_one_step_and_stays_in_its_ball() -> None:
    """FAST is one step of 1¼ radii from a random start, projected: Wong et al., section 4."""
    x = torch.full((1, 1, 2, 2), 0.5)
    (hit,) = sat.FAST(lambda v: v[0].sum(), (x,), (torch.zeros_like(x),))
    assert torch.allclose(hit, x + 8 / 255)
    assert sat.FAST.steps == 1


def test_warm_up_is_decided_by_its_seed_and_reports_progress() -> None:
    """The same seed gives the same parameters; progress counts examples up to the announced total."""
    one, two = net(), net()
    seen: list[tuple[str, int, int]] = []
    state = torch.get_rng_state()
    logs = sat.warm_up(
        one, bright_dark(), epochs=2, attack=ATTACK, batch_size=16, seed=3, progress=lambda *p: seen.append(p)
    )
    sat.warm_up(two, bright_dark(), epochs=2, attack=ATTACK, batch_size=16, seed=3)

    assert [log.examples for log in logs] == [40, 40]
    assert seen == [("warm-up", done, 80) for done in (16, 32, 40, 56, 72, 80)]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


def test_no_epochs_leave_the_model_as_it_is() -> None:
    """Zero epochs of warm-up change nothing and log nothing."""
    model = net()

    assert sat.warm_up(model, bright_dark(), epochs=0) == []
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), net().parameters(), strict=True))


def test_task_says_what_this_loop_trains_with() -> None:
    """The task of a supervised loop has labels and validation."""
    dataset = bright_dark()
    pool, validation = torch.utils.data.random_split(dataset, [30, 10], generator=gen())
    task = sat.task(net(), pool, validation, batch_size=8)

    assert isinstance(task, Task)
    assert task.n == 30
