"""The training systems of the papers by name: the settings of a run, and the loss and views of each of its epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from math import inf
from types import MappingProxyType

import torch

from coreselect.attacks import PGD
from coreselect.errors import RequirementError, UnknownNameError
from coreselect.losses import ACL, CE, CL, SAT, TRADES
from coreselect.network.precision import HalfPrecision
from coreselect.objectives import RD
from coreselect.protocols import Attack, Loss, MakeViews
from coreselect_integrations.networks.making import maker_of
from coreselect_integrations.systems.air import IR, with_original
from coreselect_integrations.systems.dynacl import omega, strength
from coreselect_integrations.systems.views import two_views
from coreselect_integrations.training.optimisers import OPTIMISERS
from coreselect_integrations.training.schedule import Curve, constant, cosine, stairs, triangle

HALF: Mapping[str, torch.dtype | None] = MappingProxyType({"fp32": None, "bf16": torch.bfloat16})
PRECISIONS = tuple(HALF)
CAPTURES = ("head", "all")


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
        capture: whose gradients a selection computes: of the `head`, or of `all` parameters, sketched.
        rd_steps, eta: of RD's attack, 1¼ radii in all, and the scratch step of RCS.
        validation: images held out for RD, a share below 1 or a count.
        precision: of training's passes, those of its attack in a selection among them, `fp32` or `bf16`; gradients, RD and its
            attack are always in the precision of the model.
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
    capture: str = "head"
    rd_steps: int = 3
    eta: float = 0.01
    validation: float = 0.01
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.system not in SYSTEMS:
            why = f"no training system is called {self.system!r}; there are {', '.join(SYSTEMS)}."
            raise UnknownNameError(why)
        maker_of(self.arch)
        for name, known in (("precision", PRECISIONS), ("optimiser", OPTIMISERS), ("capture", CAPTURES)):
            if getattr(self, name) not in known:
                why = f"{name} is one of {' and '.join(known)}, got {getattr(self, name)!r}."
                raise UnknownNameError(why)
        for name, right, needed in (
            ("epochs", self.epochs >= 1, "at least one epoch"),
            ("batch_size", self.batch_size >= 2, "batches of 2 or more"),
            ("lr", 0 < self.lr < inf, "a rate above 0"),
            ("momentum", 0 <= self.momentum < 1, "a momentum in [0, 1)"),
            ("temperature", 0 < self.temperature < inf, "a temperature above 0"),
            ("rd_steps", self.rd_steps >= 1, "at least one step of RD's attack"),
            ("milestones", self.milestones or self.curve != "stairs", "milestones for the curve stairs"),
        ):
            if not right:
                raise RequirementError(f"a run needs {needed}, got {name} {getattr(self, name)!r}.")
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
    def select_attack(self) -> Attack | None:
        """The attack under which the gradients of a selection are captured: training's, in training's precision, or
        `select_attack_steps` of 1¼ radii in all."""
        n, r, own = self.select_attack_steps, self.radius, self.attack
        if own is None:
            return None
        attack = own if n is None else PGD(r, 1.25 * r / max(1, n) or 1.0, n)
        return attack if self.half is None else HalfPrecision(attack)

    @property
    def rd(self) -> RD:
        """The objective of RCS: KL, attacked within the radius of training."""
        return RD("kl", attack=PGD(self.radius, 1.25 * self.radius / self.rd_steps or 1.0, self.rd_steps))

    @property
    def half(self) -> torch.dtype | None:
        """What forward passes of training are in, None for the precision of the model."""
        return HALF[self.precision]

    def over(self, epochs: int) -> Settings:
        """Return the settings of a run of another length: what is counted in epochs keeps its share, at least one."""
        counted = {n: getattr(self, n) for n in ("lr_warmup", "interval", "warmup", "every")}
        shares = {n: max(1, round(v * epochs / self.epochs)) for n, v in counted.items() if v}
        stops = tuple(max(1, round(m * epochs / self.epochs)) for m in self.milestones)
        return replace(self, epochs=epochs, milestones=stops, **shares)

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
        pair = partial(two_views, strength=self.strength(epoch), flip=0.0 if self.flip is False else 0.5)
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

NAMES = tuple(f.name for f in fields(Settings))
# what earlier versions did and did not write
EARLIER: Mapping[str, object] = MappingProxyType({"capture": "head", "select_precision": "fp32"})
