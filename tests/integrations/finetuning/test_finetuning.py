"""Fine-tuning starts from the whole extractor, trains only what its mode says, and keeps the last epoch."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from bright_dark import SHORT, SPEC, bright_dark, extractor, gen
from torch import Tensor
from torch.utils.data import TensorDataset

from coreselect.attacks import PGD
from coreselect.errors import RequirementError, UnknownNameError
from coreselect_integrations.finetuning import (
    AFF,
    ALF,
    MODES,
    SFF,
    SLF,
    Mode,
    begin,
    finetune,
    finish,
    train_all_epochs,
    train_epoch,
)
from coreselect_integrations.finetuning.protocols import TRAINED_BY, published, read_preset, target_of, with_loss
from coreselect_integrations.networks import NetworkSpec, RoutedNetwork, make
from coreselect_integrations.pretraining.systems import SYSTEMS
from coreselect_integrations.systems.augment import crop_flip
from coreselect_integrations.training.epoch_log import EpochLog
from coreselect_integrations.training.epochs import epoch_generator, run_epochs
from coreselect_integrations.training.schedule import Schedule

QUICK = {
    m.name: replace(m, attack=m.attack and SHORT, epochs=2, batch_size=16, milestones=(1,)) for m in MODES.values()
}


def body(network: RoutedNetwork) -> dict[str, Tensor]:
    """All tensors outside the head, copied."""
    return {n: t.clone() for n, t in network.state_dict().items() if not n.startswith("head.")}


def tune(mode: Mode, **settings: Any):
    return finetune(mode, extractor(), SPEC, bright_dark(), classes=2, augment=None, **settings)


@pytest.mark.parametrize("name", ["slf", "alf"])
def test_linear_modes_leave_the_extractor_bit_for_bit(name: str) -> None:
    """Kernels, scales, statistics and counters are those of the adversarial route; the head has changed."""
    mode, weights = QUICK[name], extractor()
    begun = begin(mode, weights, SPEC, classes=2)
    done = tune(mode)

    for key, t in body(done.network).items():
        assert torch.equal(t, begun.network.state_dict()[key]), key
        assert torch.equal(t, weights[key.replace("shared", "adversarial")]), key
    assert all(bool(p.any()) for p in done.network.head.parameters())
    assert not any(bool(p.any()) for p in begun.network.head.parameters())
    assert len(done.transfer.loaded) == len(body(done.network))


@pytest.mark.parametrize("name", ["sff", "aff"])
def test_full_modes_move_everything(name: str) -> None:
    """Training changes every parameter, and every statistic of every layer."""
    begun = begin(QUICK[name], extractor(), SPEC, classes=2)
    before = {n: t.clone() for n, t in begun.network.state_dict().items()}
    train_all_epochs(begun, bright_dark(), seed=0, augment=None)

    for key, t in begun.network.state_dict().items():
        assert key.startswith("normalise.") or not torch.equal(t, before[key]), key


def test_adversarial_full_tuning_loads_every_tensor_of_the_extractor() -> None:
    """The statistics of both routes and all kernels come from the weights; only the old head is left out."""
    weights = extractor()
    begun = begin(AFF, weights, SPEC, classes=2)

    assert begun.spec.dual_bn
    assert set(begun.transfer.loaded) == {n for n in weights if not n.startswith("head.")}
    assert all(n.startswith("head.") for n in (*begun.transfer.left_out, *begun.transfer.fresh))
    assert all(torch.equal(t, weights[n]) for n, t in body(begun.network).items())


def test_what_comes_out_of_two_routes_is_the_adversarial_one() -> None:
    """The exported classifier has one route and the outputs of the trained network's adversarial route."""
    begun = begin(QUICK["aff"], extractor(), SPEC, classes=2)
    train_all_epochs(begun, bright_dark(), seed=0, augment=None)
    network, spec = finish(begun)
    x = bright_dark().tensors[0]
    begun.network.eval()

    assert not network.dual_bn
    assert spec == replace(SPEC, projection=None, classes=2, dual_bn=False)
    assert not any(m.training for m in network.modules())
    assert all(p.requires_grad for p in network.parameters())
    assert torch.equal(network(x), begun.network(x, "adversarial"))
    assert not torch.equal(network(x), begun.network(x, "natural"))


def test_adversarial_linear_tuning_attacks_the_classifier_as_it_is_deployed() -> None:
    """The attack of ALF uses evaluation mode and the adversarial route; the loss is that of the result of the attack."""
    seen: list[Tensor] = []

    class Watching(PGD):
        def __call__(self, ascend: Any, inputs: Any, noise: Any) -> Any:
            assert not any(m.training for m in tuning.network.modules())
            (x,) = super().__call__(ascend, inputs, noise)
            seen.append(x)
            return (x,)

    tuning = begin(replace(ALF, attack=Watching(0.05, 0.025, 2)), extractor(), SPEC, classes=2)
    with torch.no_grad():
        tuning.network.head.weight.normal_(generator=gen())  # type: ignore[union-attr, operator]  # a Linear
    dual = make(SPEC)
    dual.load_state_dict(extractor())
    dual.eval()
    dual.head = torch.nn.Linear(dual.width, 2)
    dual.head.load_state_dict(tuning.network.head.state_dict())
    x, y = bright_dark().tensors
    log = train_epoch(tuning, [(x, y)], tuning.optimizer(), generator=gen())
    start = 2 * torch.rand(x.shape, generator=gen()) - 1
    (want,) = SHORT(lambda v: F.cross_entropy(dual(v[0], "adversarial"), y, reduction="sum"), (x,), (start,))

    torch.testing.assert_close(seen[0], want)
    assert log.loss == pytest.approx(F.cross_entropy(dual(want, "adversarial"), y).item(), abs=1e-5)


@pytest.mark.parametrize("name", list(MODES))
def test_same_seed_same_result(name: str) -> None:
    """The seed decides the classifier bit for bit, another seed gives another, and no global random state changes."""
    state = torch.get_rng_state()
    one, two, other = (
        finetune(QUICK[name], extractor(), SPEC, bright_dark(), classes=2, seed=s, epochs=1) for s in (3, 3, 4)
    )

    assert torch.equal(torch.get_rng_state(), state)
    held = one.network.state_dict()
    assert all(torch.equal(t, two.network.state_dict()[n]) for n, t in held.items())
    assert not torch.equal(held["head.weight"], other.network.state_dict()["head.weight"])


def test_a_run_that_is_taken_up_again_ends_where_a_whole_one_does() -> None:
    """Training one epoch at a time, with all states saved and restored in between, equals `finetune`."""
    mode = QUICK["aff"]
    whole = finetune(mode, extractor(), SPEC, bright_dark(), classes=2, seed=5)
    states: dict[str, Any] = {}

    def epoch(e: int, batches: Any) -> EpochLog:
        tuning = begin(mode, extractor(), SPEC, classes=2)
        optimizer = tuning.optimizer()
        parts: dict[str, Any] = {"n": tuning.network, "o": optimizer, "s": Schedule(optimizer, mode.curve())}
        for key, state in states.items():
            parts[key].load_state_dict(state)
        parts["s"].set_epoch(e, len(batches))
        log = train_epoch(
            tuning, batches, optimizer, generator=epoch_generator(5, "aff", e), scheduler=parts["s"], augment=crop_flip
        )
        states.update({key: part.state_dict() for key, part in parts.items()})
        if e == mode.epochs - 1:
            network, _ = finish(tuning)
            for name, t in network.state_dict().items():
                assert torch.equal(t, whole.network.state_dict()[name]), name
        return log

    logs = run_epochs(epoch, bright_dark(), "aff", seed=5, epochs=2, batch_size=16)
    assert [log.loss for log in logs] == [log.loss for log in whole.log]


@pytest.mark.parametrize("name", list(MODES))
def test_every_mode_learns(name: str) -> None:
    """A few epochs on bright and dark images lower the loss."""
    log = tune(replace(QUICK[name], lr=0.05), epochs=4).log

    assert len(log) == 4
    assert log[-1].loss < log[0].loss
    assert all(entry.examples == 40 for entry in log)


def test_published_settings() -> None:
    """Linear modes freeze the extractor, adversarial modes attack, AFF has two routes; milestones are scaled."""
    assert [m.linear for m in (SLF, ALF, SFF, AFF)] == [True, True, False, False]
    assert [m.attack is None for m in (SLF, ALF, SFF, AFF)] == [True, False, True, False]
    assert [m.dual_bn for m in (SLF, ALF, SFF, AFF)] == [False, False, False, True]
    assert all((m.epochs, m.weight_decay) == (25, 2e-4) for m in MODES.values())
    assert [round(SLF.curve()(t), 9) for t in (0, 9.99, 10, 19.9, 20, 24.9)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
    assert [round(SLF.curve(5)(t), 9) for t in (0.5, 1.5, 2.5, 3.5, 4.5)] == [1, 1, 0.1, 0.1, 0.01]
    assert SLF.curve(1)(0.99) == 1


@pytest.mark.parametrize(
    ("preset", "mode", "want"),
    [
        ("cifar10-acl", "slf", (25, 512, 0.01, (10, 20))), ("cifar100-dynacl", "alf", (25, 512, 0.05, (10, 20))),
        ("stl10-acl", "slf", (25, 512, 0.1, (10, 20))), ("stl10-32-dynacl", "alf", (25, 128, 0.01, (10, 20))),
        ("cifar10-acl-air", "slf", (25, 512, 0.005, (10, 20))), ("cifar100-acl-air", "alf", (25, 512, 0.1, (10, 20))),
        ("stl10-acl-air", "slf", (25, 512, 0.01, (10, 20))), ("cifar10-dynacl-air", "slf", (5, 512, 0.01, ())),
        ("cifar10-dynacl-air++", "slf", (25, 512, 0.01, (10, 20))), ("cifar10-dynacl-air++", "alf", (4, 512, 0.01, ())),
        ("cifar10-acl", "aff", (100, 128, 0.1, (40, 60))), ("cifar10-acl-air", "aff", (100, 128, 0.1, (40, 60))),
        ("cifar100-dynacl", "aff", (25, 128, 0.1, (15, 20))), ("stl10-dynacl", "aff", (25, 128, 0.1, (10, 20))),
        ("imagenet32-acl", "slf", (30, 64, 0.01, ())), ("imagenet32-acl", "alf", (30, 128, 0.01, ())),
        ("imagenet32-acl", "aff", (30, 128, 0.1, ())), ("imagenet32-sat", "aff", (30, 128, 0.01, ())),
        ("imagenet32-sat", "sff", (30, 64, 0.1, ())), ("imagenet224-sat", "slf", (150, 64, 0.01, (50, 100))),
        ("imagenet224-sat", "sff", (150, 64, 0.001, (50, 100))),
    ],
)  # fmt: skip
def test_the_published_table(preset: str, mode: str, want: tuple[Any, ...]) -> None:
    """Epochs, batch, rate and milestones by data set and pre-training, as in the programs of the papers."""
    target, system, post = read_preset(preset)
    how = published(mode, target, trained_by=system, post=post)
    assert (how.epochs, how.batch_size, how.lr, how.milestones) == want
    imagenet = target.startswith("imagenet")
    assert how.weight_decay == (5e-4 if imagenet else 2e-4)
    assert (how.nesterov, how.shape) == ((True, "cosine") if target == "imagenet32" else (False, "stairs"))
    if mode == "aff":
        assert (how.loss.name, how.dual_bn) == (("sat", False) if target == "imagenet32" else ("trades", True))
    end = how.lr * how.curve()(how.epochs)
    assert target != "imagenet32" or end == pytest.approx(1e-6)


def test_what_the_target_is_can_be_seen_from_the_network_and_the_data() -> None:
    """Architecture and size, then the name of the data, then the number of classes; wrong names list the right ones."""
    wide, large = NetworkSpec("wrn28_10", classes=10), NetworkSpec("resnet50", size=224, classes=10, stem="imagenet")
    stl, small = NetworkSpec("resnet18", size=96, classes=10, stem="imagenet"), NetworkSpec("resnet18", classes=10)
    assert target_of(wide, 100, "cifar100") == target_of(wide, 100, "cifar100", 1_281_167) == "imagenet32"
    assert target_of(wide, 100, "cifar100", 49_500) == "cifar100"  # a wide ResNet of our own, trained on CIFAR
    assert target_of(large, 10, "cifar10") == "imagenet224"
    assert target_of(stl, 10, "x") == "stl10"
    assert target_of(small, 10, "data/STL-10") == "stl10-32"
    assert [target_of(small, c, "x") for c in (10, 100)] == ["cifar10", "cifar100"]
    for wrong in ("cifar10", "svhn-acl", "cifar10-acl+", "cifar100-cifar10"):
        with pytest.raises(UnknownNameError, match="such as cifar100-dynacl"):
            read_preset(wrong)
    assert read_preset("stl10-32-acl") == ("stl10-32", "acl", False)
    assert {*TRAINED_BY} == {*SYSTEMS}


def test_adversarial_full_tuning_has_three_losses() -> None:
    """TRADES of two routes, or cross-entropy of attacked images in one, under ten steps or one; linear modes have one loss."""
    assert [(m := with_loss(AFF, loss)).dual_bn for loss in ("trades", "sat", "fast-at")] == [True, False, False]
    assert m.attack == PGD(8 / 255, 10 / 255, 1)
    done = tune(replace(QUICK["aff"], loss=with_loss(AFF, "sat").loss, dual_bn=False), epochs=4)
    assert done.log[-1].loss < done.log[0].loss
    with pytest.raises(RequirementError, match="another one is for aff"):
        with_loss(ALF, "trades")
    with pytest.raises(UnknownNameError, match="trades, sat, fast-at"):
        with_loss(AFF, "ce")


def test_other_curves_than_stairs() -> None:
    """Each named curve is that of `training.schedule`; an unknown one is refused."""
    assert replace(SLF, shape="constant").curve()(20) == 1
    assert replace(SLF, shape="cosine", floor=0.5).curve(10)(10) == 0.5
    assert replace(SLF, shape="triangle").curve(10)(5) == 1
    with pytest.raises(UnknownNameError, match="stairs, cosine"):
        replace(SLF, shape="steps")


def test_no_epochs_give_a_classifier_that_knows_nothing() -> None:
    """Zero epochs leave a head of zeros and no log."""
    done = tune(SLF, epochs=0)

    assert done.log == ()
    assert not bool(done.network(bright_dark().tensors[0]).any())


def test_progress_counts_examples_and_orders_differ_by_epoch() -> None:
    """Progress reaches the announced total, also without the last batch; each epoch has its own order."""
    seen: list[tuple[str, int, int]] = []
    orders: list[list[int]] = []

    def epoch(e: int, batches: Any) -> EpochLog:
        orders.append([int(i) for (x,) in batches for i in x])
        return EpochLog(0.0, None, len(orders[-1]), 0.0)

    dataset = TensorDataset(torch.arange(10))
    run_epochs(
        epoch, dataset, "run", seed=0, epochs=2, batch_size=4, drop_last=True,
        progress=lambda *p: seen.append((p[0], p[1], p[2])),
    )  # fmt: skip
    run_epochs(epoch, dataset, "run", seed=0, epochs=1, batch_size=40, drop_last=True)

    assert seen == [("run", done, 16) for done in (4, 8, 12, 16)]
    assert [len(o) for o in orders] == [8, 8, 10]
    assert orders[0] != orders[1]
    assert sorted(orders[2]) == list(range(10))


def test_nothing_to_train_on_is_refused() -> None:
    """No examples, epochs below zero and empty batches are refused in one sentence."""
    weights = extractor()
    bad: list[dict[str, Any]] = [{"epochs": -1}, {"batch_size": 0}]
    for settings in bad:
        with pytest.raises(RequirementError, match="at least"):
            finetune(SLF, weights, SPEC, bright_dark(), classes=2, **settings)
    with pytest.raises(RequirementError, match="0 examples"):
        finetune(SLF, weights, SPEC, bright_dark(0), classes=2)
    with pytest.raises(RequirementError, match="classes"):
        finetune(SLF, weights, SPEC, bright_dark(), classes=1)
