"""The training systems of the papers by name: their loss and views at every epoch, and their published settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from coreselect.attacks import PGD
from coreselect.errors import RequirementError, UnknownNameError
from coreselect.losses import ACL, CE, CL, SAT, TRADES
from coreselect.protocols import Loss, MakeViews
from coreselect_integrations.air import IR, with_original
from coreselect_integrations.dynacl import omega, strength
from coreselect_integrations.schedule import Curve, constant, cosine, stairs, triangle
from coreselect_integrations.views import two_views

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that decides a training run beside its data, in numbers and names that JSON holds.

    Attributes:
        system: a name in `SYSTEMS`.
        arch, stem, projection: the network, as `networks.Spec` says; `projection` serves the contrastive systems.
        epochs, batch_size, optimiser, lr, weight_decay, momentum: lr at its peak.
        curve: `cosine`, `triangle`, `stairs` or `constant`; `lr_warmup` epochs of rise and the last factor `floor`
            belong to the cosine, `milestones` (epochs at which the rate falls to a tenth) to the stairs.
        radius, step, attack_steps: of training's PGD, in units of pixels in [0, 1].
        temperature: t of NT-Xent. beta: of TRADES.
        interval, rate: K epochs between steps of DynACL's strength s, and λ of its weight ω = λ(1 − s).
        key_momentum: of DynACL's key encoder; 0 trains a single encoder.
        sir, air, form: weights of invariant regularisation, and its `form`, as `air.IR` says.
        flip: whether images are mirrored; None mirrors those of more than one channel, so no digits or letters.
        fraction, warmup, every: of the coreset: its share, epochs on everything first, epochs between selections.
        select_attack_steps: of the training attack while gradients are captured; None means training's own attack,
            fewer are a faster approximation, 1¼ radii in all.
        validation: images held out for RD, a share below 1 or a count.
        precision: of forward passes, `fp32` or `bf16` (selection is always in the precision of the model).
        seed: decides every draw.
    """

    system: str
    arch: str = "resnet18"
    stem: str = "cifar"
    projection: int = 3
    epochs: int = 100
    batch_size: int = 128
    optimiser: str = "sgd"
    lr: float = 0.1
    weight_decay: float = 5e-4
    momentum: float = 0.9
    curve: str = "cosine"
    lr_warmup: int = 0
    floor: float = 0.0
    milestones: tuple[int, ...] = ()
    radius: float = 8 / 255
    step: float = 2 / 255
    attack_steps: int = 10
    temperature: float = 0.5
    beta: float = 6.0
    interval: int = 50
    rate: float = 2 / 3
    key_momentum: float = 0.0
    sir: float = 0.5
    air: float = 0.5
    form: str = "kl"
    flip: bool | None = None
    fraction: float = 0.1
    warmup: int = 10
    every: int = 10
    select_attack_steps: int | None = None
    validation: float = 0.01
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.system not in SYSTEMS:
            why = f"no training system is called {self.system!r}; there are {', '.join(SYSTEMS)}."
            raise UnknownNameError(why)
        if self.precision not in PRECISIONS:
            why = f"precision is one of {' and '.join(PRECISIONS)}, got {self.precision!r}."
            raise UnknownNameError(why)
        if self.epochs < 1 or self.batch_size < 2 or not self.lr > 0:
            why = (
                f"a run needs at least one epoch, batches of 2 and a rate above 0, got {self.epochs} epochs, "
                f"batches of {self.batch_size}, rate {self.lr}."
            )
            raise RequirementError(why)
        if self.key_momentum and (self.system not in ("acl", "dynacl") or not 0 < self.key_momentum < 1):
            why = (
                f"a key encoder with momentum in (0, 1) belongs to acl and dynacl, got momentum {self.key_momentum} for "
                f"{self.system}."
            )
            raise RequirementError(why)
        self.rate_curve()

    @property
    def attack(self) -> PGD | None:
        """The attack of training, None for systems without."""
        return PGD(self.radius, self.step, self.attack_steps) if SYSTEMS[self.system].attacked else None

    @property
    def select_attack(self) -> PGD | None:
        """The attack under which the gradients of a selection are captured: `select_attack_steps` of 1¼ radii in all."""
        n = self.select_attack_steps
        return self.attack if n is None or self.attack is None else PGD(self.radius, 1.25 * self.radius / max(1, n), n)

    def rate_curve(self) -> Curve:
        """Return the curve of the learning rate.

        Raises:
            UnknownNameError: no such curve.
        """
        curves: dict[str, Callable[[], Curve]] = {
            "cosine": lambda: cosine(self.epochs, self.lr_warmup, self.floor),
            "triangle": lambda: triangle(self.epochs),
            "stairs": lambda: stairs(self.milestones),
            "constant": constant,
        }
        if self.curve not in curves:
            why = f"no curve is called {self.curve!r}; there are {', '.join(curves)}."
            raise UnknownNameError(why)
        return curves[self.curve]()

    def strength(self, epoch: int) -> float:
        """Strength of augmentation in an epoch: steps down under the dynamic systems, 1 under the others."""
        return strength(epoch, self.epochs, self.interval) if SYSTEMS[self.system].dynamic else 1.0

    def loss(self, epoch: int) -> Loss:
        """Return the training loss of an epoch."""
        return SYSTEMS[self.system].loss(self, omega(self.strength(epoch), self.rate))

    def views(self, epoch: int) -> MakeViews | None:
        """Return how an epoch makes its views; None for systems of one view."""
        system = SYSTEMS[self.system]
        if system.supervised:
            return None
        pair = partial(two_views, strength=self.strength(epoch), flip=0.5 if self.flip else 0.0)
        return with_original(pair) if system.regularised else pair


@dataclass(frozen=True, slots=True)
class System:
    """What a name means: (settings, ω) → loss, whether labels are read, inputs attacked, augmentation weakened."""

    loss: Callable[[Settings, float], Loss]
    supervised: bool = False
    attacked: bool = True
    dynamic: bool = False
    regularised: bool = False


def _acl(s: Settings, w: float) -> Loss:
    return ACL(s.temperature, omega=w)


def _ir(s: Settings, w: float) -> Loss:
    return IR(s.temperature, omega=w, sir=s.sir, air=s.air, form=s.form)  # type: ignore[arg-type]  # IR checks the name


SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        "standard": System(lambda s, w: CE(), supervised=True, attacked=False),
        "sat": System(lambda s, w: SAT(), supervised=True),
        "trades": System(lambda s, w: TRADES(s.beta), supervised=True),
        "fast-at": System(lambda s, w: SAT(), supervised=True),
        "cl": System(lambda s, w: CL(s.temperature), attacked=False),
        "acl": System(_acl),
        "dynacl": System(_acl, dynamic=True),
        "acl-air": System(_ir, regularised=True),
        "dynacl-air": System(_ir, dynamic=True, regularised=True),
    }
)

_CONTRASTIVE = {
    "epochs": 1000, "batch_size": 512, "optimiser": "lars", "lr": 5.0, "weight_decay": 1e-6, "lr_warmup": 10,
    "floor": 1e-6 / 5.0, "attack_steps": 5, "warmup": 100, "every": 20,
}  # fmt: skip
_SUPERVISED: dict[str, Any] = {"epochs": 100, "lr": 0.1, "weight_decay": 5e-4, "warmup": 10, "every": 10}
_FAST = {
    "epochs": 30, "lr": 0.2, "curve": "triangle", "step": 10 / 255, "attack_steps": 1, "warmup": 3, "every": 3,
}  # fmt: skip
_IMAGENET32 = {"arch": "wrn28_10", "validation": 0.005, "fraction": 0.05}


def defaults(system: str) -> Settings:
    """Return a system's published small-scale settings.

    The contrastive systems: Xu et al., NeurIPS 2023 (ResNet-18, LARS 5.0, batches of 512, 1000 epochs, 5 steps of
    2/255, selection from epoch 100 on, every 20 epochs). SAT and TRADES: 100 epochs of SGD 0.1, 10 steps of 2/255,
    selection from epoch 10 on, every 10. Fast-AT: Wong et al., ICLR 2020 (30 epochs, a triangle up to 0.2, one step of
    10/255).

    Raises:
        UnknownNameError: no such system.
    """
    if system not in SYSTEMS:
        return Settings(system=system)  # which refuses it
    own = _FAST if system == "fast-at" else _SUPERVISED if SYSTEMS[system].supervised else _CONTRASTIVE
    return replace(Settings(system=system), **own)


def _presets() -> dict[str, Settings]:
    small = {f"cifar10-{name}": defaults(name) for name in SYSTEMS}
    acl = {
        **_IMAGENET32, "projection": 2, "epochs": 200, "lr": 0.6, "lr_warmup": 2, "floor": 1e-6 / 0.6,
        "temperature": 0.1, "warmup": 20, "every": 10, "select_attack_steps": 1,
    }  # fmt: skip
    sat = {**_IMAGENET32, "batch_size": 256, "floor": 1e-5, "select_attack_steps": 1}
    return {
        **small,
        **{name.replace("cifar10", "cifar100"): preset for name, preset in small.items()},
        "stl10-acl": defaults("acl"),
        "stl10-dynacl": defaults("dynacl"),
        "imagenet32-cl": replace(defaults("cl"), **acl),
        "imagenet32-acl": replace(defaults("acl"), **acl),
        "imagenet32-sat": replace(defaults("sat"), **sat),
    }


PRESETS: Mapping[str, Settings] = MappingProxyType(_presets())


def preset(name: str) -> Settings:
    """Return the settings of a published experiment.

    Raises:
        UnknownNameError: no such preset.
    """
    if name not in PRESETS:
        why = f"no preset is called {name!r}; there are {', '.join(PRESETS)}."
        raise UnknownNameError(why)
    return PRESETS[name]


NAMES = tuple(f.name for f in fields(Settings))
