"""The name of a system decides loss and views of every epoch; presets have the published numbers."""

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from coreselect.attacks import PGD
from coreselect.errors import RequirementError, UnknownNameError
from coreselect.losses import ACL, CE, CL, SAT, TRADES
from coreselect.network.precision import HalfPrecision
from coreselect.selectors import RCS
from coreselect_integrations.comparison.methods import selector_for
from coreselect_integrations.networks import spec_for
from coreselect_integrations.pretraining.presets import PRESETS, defaults, preset
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.systems import SYSTEMS
from coreselect_integrations.systems.air import IR
from coreselect_integrations.systems.byol import OnlineBYOL
from coreselect_integrations.systems.moco import MoCo

LOSSES: dict[str, Any] = {
    "standard": CE(), "sat": SAT(), "trades": TRADES(6.0), "fast-at": SAT(), "cl": CL(0.5), "acl": ACL(0.5),
    "moco": MoCo(0.1), "byol": OnlineBYOL(), "dynacl": ACL(0.5), "acl-air": IR(0.5), "dynacl-air": IR(0.5),
}  # fmt: skip


def test_presets_of_imagenet_at_224_pixels_carry_the_published_numbers() -> None:
    """SAT: 90 epochs, falling at the 30th and 60th, ε = 4/255 in three steps of 2ε/3; Fast-AT: one step of 1.25·ε."""
    sat, fast = preset("imagenet224-sat"), preset("imagenet224-fast-at")
    assert (sat.arch, sat.stem, sat.epochs, sat.batch_size, sat.weight_decay) == ("resnet50", "imagenet", 90, 256, 1e-4)
    assert [round(sat.rate_curve()(e), 6) for e in (0, 28, 29, 58, 59)] == [1, 1, 0.1, 0.1, 0.01]
    assert sat.attack == PGD(4 / 255, 8 / 3 / 255, 3)
    assert fast.attack == PGD(4 / 255, 5 / 255, 1)
    assert preset("imagenet224-standard").attack is None
    assert preset("stl10-dynacl-air").stem == "imagenet"


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_begins_with_its_papers_loss(name: str) -> None:
    """At epoch 0, dynamic systems have s = 1 and ω = 0; there are as many views as the loss reads."""
    settings = replace(defaults(name), flip=False)
    assert settings.loss(0) == LOSSES[name]
    views = settings.views(0)
    assert (views is None) == SYSTEMS[name].supervised
    assert (settings.attack is None) == (name in ("standard", "cl", "moco", "byol"))
    if views is not None:
        pytest.importorskip("kornia")
        x = torch.rand(2, 3, 8, 8)
        made = views(x, torch.Generator().manual_seed(0))
        assert len(made) == settings.loss(0).views
        assert torch.equal(made[0], x) == SYSTEMS[name].regularised


@pytest.mark.parametrize("name", ["dynacl", "dynacl-air"])
def test_dynamic_systems_weaken_their_views_and_weigh_the_adversarial_half(name: str) -> None:
    """Published: 1000 epochs, K = 50, λ = 2/3. By hand: s(149) = 0.9, ω = 1/15; at the end s = 0.05, ω = 0.6333."""
    settings = defaults(name)
    assert settings.strength(149) == pytest.approx(0.9)
    assert settings.loss(149).omega == pytest.approx(1 / 15)  # type: ignore[attr-defined]
    assert settings.strength(999) == pytest.approx(0.05)
    assert settings.loss(999).omega == pytest.approx(0.95 * 2 / 3)  # type: ignore[attr-defined]
    pytest.importorskip("kornia")
    x = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    short = replace(settings, flip=False, epochs=100, interval=1, warmup=0)
    moved = []
    for epoch in (0, 99):
        views = short.views(epoch)
        assert views is not None
        moved.append((views(x, torch.Generator().manual_seed(0))[-1] - x).abs().mean().item())
    assert moved[1] < 0.3 * moved[0]


def test_presets_carry_the_published_numbers() -> None:
    """Spot values of three published experiments, and the attack of each."""
    acl = preset("cifar10-acl")
    assert (acl.epochs, acl.batch_size, acl.optimiser, acl.lr, acl.weight_decay) == (1000, 512, "lars", 5.0, 1e-6)
    assert (acl.lr_warmup, acl.warmup, acl.every, acl.temperature, acl.arch) == (10, 100, 20, 0.5, "resnet18")
    assert acl.attack == PGD(8 / 255, 2 / 255, 5)
    assert acl.lr * acl.floor == pytest.approx(1e-6)
    sat = preset("imagenet32-sat")
    assert (sat.arch, sat.epochs, sat.batch_size, sat.lr, sat.weight_decay) == ("wrn28_10", 100, 256, 0.1, 5e-4)
    assert (sat.warmup, sat.every, sat.validation) == (10, 10, 0.005)
    assert sat.attack == PGD(8 / 255, 2 / 255, 10)
    small = preset("imagenet32-acl")
    assert (small.temperature, small.lr, small.projection, small.epochs) == (0.1, 0.6, 2, 200)
    assert (small.warmup, small.every, small.fraction) == (20, 10, 0.05)
    assert small.select_attack == PGD(8 / 255, 1.25 * 8 / 255, 1)
    assert (acl.group_size, small.group_size, sat.group_size) == (512, 512, 256)  # a group is a training batch
    assert (defaults("acl").group_size, preset("cifar10-sat").group_size) == (None, None)
    assert (preset("cifar10-acl-air").form, defaults("acl-air").form, acl.form) == ("paper", "kl", "kl")
    assert selector_for("rcs", acl) == RCS(acl.rd, acl.eta, group_size=512)
    assert selector_for("rcs:group_size=64", acl) == RCS(acl.rd, acl.eta, group_size=64)
    assert selector_for("rcs:divergence=js", acl) == selector_for("rcs:objective=js", acl)
    moco, byol = preset("cifar10-moco"), preset("cifar10-byol")
    assert (moco.epochs, moco.optimiser, moco.lr, moco.weight_decay, moco.temperature) == (200, "sgd", 0.06, 5e-4, 0.1)
    assert (moco.queue, moco.key_momentum, moco.batch_size) == (4096, 0.99, 512)
    assert (byol.lr, byol.weight_decay, byol.key_momentum, byol.epochs) == (0.4, 1.5e-6, 0.996, 1000)
    fast = defaults("fast-at")
    assert fast.attack == PGD(8 / 255, 10 / 255, 1)


def test_under_half_precision_gradients_are_captured_as_training_attacks() -> None:
    """bf16 changes the attack of selections; the settings' attacks of training and of RD stay the same."""
    full, half = (replace(defaults("sat"), precision=p, select_attack_steps=None) for p in ("fp32", "bf16"))
    assert full.attack is not None
    assert half.select_attack == HalfPrecision(full.attack)
    assert replace(half, select_attack_steps=1).select_attack == HalfPrecision(PGD(8 / 255, 10 / 255, 1))
    assert (half.attack, half.rd, selector_for("rcs", half)) == (full.attack, full.rd, selector_for("rcs", full))
    assert replace(defaults("cl"), precision="bf16").select_attack is None


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_describes_a_network_and_a_schedule(name: str) -> None:
    """Its architecture fits its data, its rate is 0 < c ≤ 1 in the middle, and its selections begin before its end."""
    settings = preset(name)
    family = "sat" if SYSTEMS[settings.system].supervised else "acl"
    spec = spec_for(settings.arch, family, channels=3, size=32, classes=10, projection=settings.projection)
    assert (spec.projection is None) == SYSTEMS[settings.system].supervised
    assert 0 < settings.rate_curve()(settings.epochs / 2) <= 1
    assert 0 < settings.warmup < settings.epochs
    assert all(v is None or isinstance(v, str | int | float | tuple) for v in asdict(settings).values())


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        ({"system": "sit"}, UnknownNameError, "dynacl-air"),
        ({"precision": "fp8"}, UnknownNameError, "bf16"),
        ({"curve": "square"}, UnknownNameError, "cosine"),
        ({"epochs": 0}, RequirementError, "at least one epoch"),
        ({"batch_size": 1}, RequirementError, "batches of 2"),
        ({"lr": 0.0}, RequirementError, "rate above 0"),
        ({"key_momentum": 0.9}, RequirementError, "moco, byol, acl, dynacl"),
        ({"system": "moco", "queue": 0}, RequirementError, "at least one key"),
        ({"system": "dynacl", "key_momentum": 1.0}, RequirementError, "momentum in"),
    ],
)
def test_settings_that_make_no_run_are_refused(bad: dict[str, Any], error: type[Exception], says: str) -> None:
    """They are refused in one sentence when the settings are made."""
    with pytest.raises(error, match=says):
        Settings(**{"system": "sat", **bad})


def test_unknown_presets_and_systems_name_those_there_are() -> None:
    """The messages list the known presets and systems."""
    with pytest.raises(UnknownNameError, match="imagenet32-sat"):
        preset("cifar11-acl")
    with pytest.raises(UnknownNameError, match="fast-at"):
        defaults("nothing")


def test_a_shorter_run_keeps_every_share() -> None:
    """Published ACL over 100 epochs has a tenth of all numbers of epochs, and at least one epoch."""
    short = defaults("acl").scaled_to(100)
    assert (short.epochs, short.lr_warmup, short.warmup, short.every, short.interval) == (100, 1, 10, 2, 5)
    assert defaults("acl").scaled_to(1000) == defaults("acl")
    tiny = defaults("dynacl").scaled_to(7)
    assert (tiny.warmup, tiny.every, tiny.interval) == (1, 1, 1)
    assert replace(defaults("sat"), curve="stairs", milestones=(75, 90)).scaled_to(10).milestones == (8, 9)


def test_the_objective_attacks_within_the_runs_radius() -> None:
    """The steps of RD's attack are 1¼ radii long in all, published 10/255 at 8/255."""
    assert defaults("acl").rd.attack == PGD(8 / 255, 10 / 765, 3)
    assert replace(defaults("sat"), radius=0.1, step=0.1, rd_steps=1).rd.attack == PGD(0.1, 0.125, 1)


def test_a_selection_takes_one_step_and_a_preset_the_published_attack() -> None:
    """The defaults of every system have one step of 1¼ radii; presets at small scale have the attack of training."""
    for system in SYSTEMS:
        own, published = defaults(system), PRESETS[f"cifar10-{system}"]
        assert own.select_attack == (None if own.attack is None else PGD(8 / 255, 10 / 255, 1))
        assert published.select_attack == published.attack
    assert PRESETS["imagenet32-sat"].select_attack_steps == 1
