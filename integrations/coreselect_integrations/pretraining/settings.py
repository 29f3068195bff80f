"""The settings of a pre-training run, and what follows from them: attack, loss, views and learning rate of each epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from math import inf
from types import MappingProxyType
from typing import Literal

import torch

from coreselect.attacks import PGD
from coreselect.errors import RequirementError, UnknownNameError
from coreselect.network.precision import DTYPES, attack_in
from coreselect.objectives import RD
from coreselect.protocols import Attack, Loss, MakeViews
from coreselect_integrations.lookup import look_up
from coreselect_integrations.networks.architectures import maker_of
from coreselect_integrations.pretraining.own_parts import check_own_parts, loss_of, views_of
from coreselect_integrations.pretraining.systems import SYSTEMS
from coreselect_integrations.systems.air import with_original
from coreselect_integrations.systems.augment import CROPS
from coreselect_integrations.systems.dynacl import omega, strength
from coreselect_integrations.systems.views import two_views
from coreselect_integrations.training.effort import STARTS, short_attack
from coreselect_integrations.training.nfgsm import NFGSM
from coreselect_integrations.training.optimisers import OPTIMISERS
from coreselect_integrations.training.schedule import Curve, constant, cosine, stairs, triangle

ALIGNMENTS = ("warmup", "absolute")
CAPTURES = ("head", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that decides a training run except its data, as numbers and names that JSON can hold.

    Attributes:
        system: a name in `SYSTEMS`.
        arch, stem, projection: the network, see `networks.NetworkSpec`; only the contrastive systems use `projection`.
        epochs, batch_size, optimiser, lr, weight_decay, momentum: `lr` is the largest learning rate.
        curve: `cosine`, `triangle`, `stairs` or `constant`. The cosine uses `lr_warmup`, the number of epochs in which the
            rate rises, and `floor`, its last factor. The stairs use `milestones`, the epochs at which the rate falls to a
            tenth.
        radius: within which the network is judged, and of RD, in units of pixels in [0, 1].
        train_radius, step, attack_steps, start: of the training attack; the radius None is `radius`, and the start `uniform` in
            the ball, or `nfgsm`: wider noise and no projection.
        guard: against catastrophic overfitting, see `pretraining.guard`; None guards attacks of one or two steps.
        temperature: t of NT-Xent.
        beta: of TRADES.
        interval, rate: K, the epochs between changes of DynACL's strength s, and λ of its weight ω = λ(1 − s).
        key_momentum: of the key encoder of MoCo or DynACL, or of BYOL's target at the start; 0 trains a single encoder in
            acl and dynacl.
        queue: of MoCo, the number of old keys that serve as negatives.
        sir, air, form: weights of invariant regularisation, and its `form`, see `air.IR`.
        crop: how supervised systems cut images at random: `pad` (out of a frame of zeros) or `resized` (a part of the image,
            resized to the whole, as for ImageNet).
        flip: whether images are mirrored; None mirrors images with more than one channel, so not digits or letters.
        fraction, warmup, every: of the coreset: its share of the pool, the epochs on the whole pool before it, and the
            epochs between selections.
        align: from where these epochs are counted, see `CoresetSampler`: from the `warmup`, or `absolute`.
        select_attack_steps: steps of the attack on the pool while a selection captures gradients, 1¼ radii in all. One step
            costs a fifth of ten and picks nearly the same; None means the attack of training, as in the published programs.
        capture: the parameters whose gradients a selection computes: those of the `head`, or `all`, sketched.
        rd_steps, eta, group_size: steps of RD's attack, 1¼ radii in all, the scratch step of RCS, and the examples in one of
            its groups; None means the default of RCS.
        validation: images held out for RD, a share below 1 or a count.
        precision: `fp32` or `bf16`, of the forward passes of training, and of the training attack in a selection. Gradients,
            RD and the attack of RD always use the precision of the model.
        seed: decides every draw.
        routes: see `networks.NetworkSpec`.
        own_loss, own_views, own_epoch: names of code of yours (`own_code.admit`) in place of the system's loss, views and loop of
            an epoch, see `own_parts`; None takes those of the system.
        classes: that the network tells apart at least, where the pool does not hold all of them.
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
    train_radius: float | None = None
    start: str = "uniform"
    guard: bool | None = None
    temperature: float = 0.5
    beta: float = 6.0
    interval: int = 50
    rate: float = 2 / 3
    key_momentum: float = 0.0
    queue: int = 4096
    sir: float = 0.5
    air: float = 0.5
    form: str = "kl"
    crop: str = "pad"
    flip: bool | None = None
    fraction: float = 0.1
    warmup: int = 10
    every: int = 10
    align: Literal["warmup", "absolute"] = "warmup"
    select_attack_steps: int | None = 1
    capture: str = "head"
    rd_steps: int = 3
    eta: float = 0.01
    group_size: int | None = None
    validation: float = 0.01
    precision: str = "fp32"
    seed: int = 0
    routes: str | None = None
    own_loss: str | None = None
    own_views: str | None = None
    own_epoch: str | None = None
    classes: int | None = None

    def __post_init__(self) -> None:
        look_up(SYSTEMS, self.system, "training system")
        maker_of(self.arch)
        for name, known in (
            ("precision", tuple(DTYPES)), ("optimiser", OPTIMISERS), ("capture", CAPTURES), ("crop", CROPS), ("align", ALIGNMENTS),
            ("start", STARTS),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                why = f"{name} is one of {' and '.join(known)}, got {getattr(self, name)!r}."
                raise UnknownNameError(why)
        for name, right, needed in (
            ("epochs", self.epochs >= 1, "at least one epoch"),
            ("batch_size", self.batch_size >= 2, "batches of 2 or more"),
            ("lr", 0 < self.lr < inf, "a rate above 0"),
            ("momentum", 0 <= self.momentum < 1, "a momentum in [0, 1)"),
            ("temperature", 0 < self.temperature < inf, "a temperature above 0"),
            ("queue", self.queue >= 1, "a queue of at least one key"),
            ("train_radius", self.train_radius is None or 0 <= self.train_radius < inf, "a finite training radius"),
            ("rd_steps", self.rd_steps >= 1, "at least one step of RD's attack"),
            ("milestones", self.milestones or self.curve != "stairs", "milestones for the curve stairs"),
        ):
            if not right:
                raise RequirementError(f"a run needs {needed}, got {name} {getattr(self, name)!r}.")
        if self.key_momentum and not (SYSTEMS[self.system].follower and 0 < self.key_momentum < 1):
            able = ", ".join(name for name, system in SYSTEMS.items() if system.follower)
            why = (
                f"a second encoder, with momentum in (0, 1), is for {able}: got momentum {self.key_momentum} for "
                f"{self.system}."
            )
            raise RequirementError(why)
        self.rate_curve()
        check_own_parts(self)

    @property
    def supervised(self) -> bool:
        """Whether the system reads labels."""
        return SYSTEMS[self.system].supervised

    @property
    def first_selection(self) -> int:
        """The first epoch on a coreset."""
        return self.warmup if self.align == "warmup" else -(-self.warmup // self.every) * self.every

    @property
    def attack_radius(self) -> float:
        """The radius of the training attack, which may be another than the one in which the network is judged."""
        return self.radius if self.train_radius is None else self.train_radius

    @property
    def attack(self) -> PGD | NFGSM | None:
        """The attack of training; None for systems without an attack."""
        if not SYSTEMS[self.system].attacked:
            return None
        return (NFGSM if self.start == "nfgsm" else PGD)(self.attack_radius, self.step, self.attack_steps)

    @property
    def select_attack(self) -> Attack | None:
        """The attack while a selection captures gradients, in the precision of training.

        It is the attack of training, or has `select_attack_steps` steps, 1¼ training radii in all.
        """
        attack: Attack | None = self.attack
        n = self.select_attack_steps
        if attack is None:
            return None
        if n is not None:
            attack = short_attack(self.attack_radius, n)
        return attack_in(attack, self.precision)

    @property
    def rd(self) -> RD:
        """The objective of RCS: RD with KL, attacked within the radius in which the network is judged."""
        return RD("kl", attack=short_attack(self.radius, self.rd_steps))

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """The type of mixed-precision forward passes in training; None means the precision of the model."""
        return DTYPES[self.precision]

    def scaled_to(self, epochs: int) -> Settings:
        """Return the settings of a run of another length: numbers of epochs are scaled, and are at least one."""
        counted = {n: getattr(self, n) for n in ("lr_warmup", "interval", "warmup", "every")}
        shares = {n: max(1, round(v * epochs / self.epochs)) for n, v in counted.items() if v}
        stops = tuple(max(1, round(m * epochs / self.epochs)) for m in self.milestones)
        return replace(self, epochs=epochs, milestones=stops, **shares)

    def rate_curve(self) -> Curve:
        """Return the curve of the learning rate.

        Raises:
            UnknownNameError: no curve has this name.
        """
        curves: dict[str, Callable[[], Curve]] = {
            "cosine": lambda: cosine(self.epochs, self.lr_warmup, self.floor),
            "triangle": lambda: triangle(self.epochs),
            "stairs": lambda: stairs(self.milestones),
            "constant": constant,
        }
        return look_up(curves, self.curve, "curve")()

    def strength(self, epoch: int) -> float:
        """Return the strength of augmentation in an epoch: it falls in steps in dynamic systems, and is 1 in the others."""
        return strength(epoch, self.epochs, self.interval) if SYSTEMS[self.system].dynamic else 1.0

    def loss(self, epoch: int) -> Loss:
        """Return the training loss of an epoch."""
        if self.own_loss is not None:
            return loss_of(self.own_loss, attacked=SYSTEMS[self.system].attacked)
        return SYSTEMS[self.system].loss(self, omega(self.strength(epoch), self.rate))

    def views(self, epoch: int) -> MakeViews | None:
        """Return the function that makes the views of an epoch; None for systems with one view."""
        system = SYSTEMS[self.system]
        if system.supervised:
            return None
        if self.own_views is not None:
            pair = views_of(self.own_views, self.strength(epoch))
        else:
            pair = partial(two_views, strength=self.strength(epoch), flip=0.0 if self.flip is False else 0.5)
        return with_original(pair) if system.regularised else pair


SETTING_NAMES = tuple(f.name for f in fields(Settings))
# Values that older versions used without writing them down.
OLD_DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "capture": "head", "select_precision": "fp32", "align": "warmup", "crop": "pad", "group_size": None, "queue": 4096,
        "routes": None, "own_loss": None, "own_views": None, "own_epoch": None, "train_radius": None, "start": "uniform",
        "guard": False, "classes": None,
    }
)  # fmt: skip
