"""The published settings of fine-tuning, by data set and pre-training: one table, from the programs of the papers.

    linear, ACL and DynACL(-RCS)   25 epochs, × 0.1 at 10 and 20, batches of 512; lr 0.01 (CIFAR-10), 0.05 (CIFAR-100),
                                   0.1 (STL-10, 96 px); lr 0.01 in batches of 128 (STL-10, 32 px)
    linear, ACL-AIR, DynACL-AIR    the same with other rates, and 5 epochs of SLF (4 of ALF after the ++) on CIFAR-10
    AFF (TRADES), batches of 128   lr 0.1; 25 epochs, × 0.1 at 15 and 20 (STL-10 at 96 px: 10 and 20); after ACL and ACL-AIR 100
                                   epochs, × 0.1 at 40 and 60
    ImageNet-32 → CIFAR            30 epochs of cosine to 1e-6, Nesterov, weight decay 5e-4; cross-entropy on attacked images
    ImageNet-224 → CIFAR           150 epochs, × 0.1 at 50 and 100, batches of 64, weight decay 5e-4

Sources: the fine-tuning programs of Xu et al., "Efficient Adversarial Contrastive Learning via Robustness-Aware Coreset
Selection" and "Enhancing Adversarial Contrastive Learning via Adversarial Invariant Regularization", NeurIPS 2023, and their
benchmark RobustSSL. `docs/published-settings.md` has the same table with what differs here.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from coreselect.attacks import PGD
from coreselect.errors import RequirementError, UnknownNameError
from coreselect.losses import SAT, TRADES
from coreselect.protocols import Loss
from coreselect_integrations.finetuning.modes import ATTACK, MODES, Mode
from coreselect_integrations.lookup import look_up
from coreselect_integrations.networks import NetworkSpec

TARGETS = ("cifar10", "cifar100", "stl10", "stl10-32", "imagenet32", "imagenet224")
FAST = PGD(8 / 255, 10 / 255, 1)
_SMALL = {"batch_size": 128, "lr": 0.01}  # linear modes on STL-10 at 32 pixels, after any pre-training
# (mode, whether after AIR, target) → what differs from `MODES`; a name without a row has the settings of `MODES`
_LINEAR: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("acl", "cifar100"): {"lr": 0.05}, ("acl", "stl10"): {"lr": 0.1}, ("acl", "stl10-32"): _SMALL,
    ("acl-air", "cifar100"): {"lr": 0.1}, ("acl-air", "stl10"): {"lr": 0.01}, ("acl-air", "stl10-32"): _SMALL,
    ("dynacl-air", "cifar100"): {"lr": 0.1}, ("dynacl-air", "stl10"): {"lr": 0.1}, ("dynacl-air", "stl10-32"): _SMALL,
}  # fmt: skip
_SHORT: Mapping[tuple[str, str, bool], Mapping[str, Any]] = {  # (pre-training, mode, after the ++), on CIFAR-10 alone
    ("acl-air", "slf", False): {"lr": 0.005},
    ("dynacl-air", "slf", False): {"epochs": 5, "milestones": ()},
    ("dynacl-air", "alf", True): {"epochs": 4, "milestones": ()},
}
_IMAGENET32 = {"epochs": 30, "weight_decay": 5e-4, "milestones": (), "shape": "cosine", "nesterov": True}
_IMAGENET224 = {"epochs": 150, "weight_decay": 5e-4, "milestones": (50, 100), "batch_size": 64}
TRAINED_BY = ("standard", "sat", "trades", "fast-at", "cl", "moco", "byol", "acl", "dynacl", "acl-air", "dynacl-air")
LOSSES = ("trades", "sat", "fast-at")


def published(mode: str, target: str, *, trained_by: str = "dynacl", post: bool = False) -> Mode:
    """Return a mode with the published settings.

    Args:
        mode: a name in `MODES`.
        target: one of `TARGETS`: the data that is fine-tuned on at 32 px, STL-10 at 96 or 32 px, or CIFAR after a
            pre-training on ImageNet at 32 or 224 px.
        trained_by: the pre-training, a name in `SYSTEMS`.
        post: whether the ++ followed it (`lpaft`).
    Raises:
        UnknownNameError: no mode or target has this name.
    """
    base = look_up(MODES, mode, "mode of fine-tuning")
    if target not in TARGETS:
        raise UnknownNameError(f"no published target is called {target!r}; there are {', '.join(TARGETS)}.")
    if target == "imagenet32":
        # the programs' own fine-tuning attacks and trains one set of statistics, by cross-entropy
        lr = {"slf": 0.01, "alf": 0.01, "sff": 0.1}.get(mode, 0.01 if trained_by == "sat" else 0.1)
        own = {"batch_size": 64 if mode in ("slf", "sff") else 128, "lr": lr, "floor": 1e-6 / lr, **_IMAGENET32}
        return replace(with_loss(base, "sat") if mode == "aff" else base, **own)
    if target == "imagenet224":
        return replace(base, lr=0.001 if mode in ("sff", "aff") else 0.01, **_IMAGENET224)
    family = trained_by if trained_by.endswith("-air") else "acl"
    if base.linear:
        short = _SHORT.get((family, mode, post), {}) if target == "cifar10" else {}
        return replace(base, **_LINEAR.get((family, target), {}), **short)
    if mode == "aff" and trained_by.startswith("acl"):
        return replace(base, epochs=100, milestones=(40, 60))
    return replace(base, milestones=(10, 20)) if target == "stl10" and mode == "aff" else base


def read_preset(name: str) -> tuple[str, str, bool]:
    """Read `cifar100-dynacl`, or `stl10-32-dynacl-air++`: the target, the pre-training, and whether the ++ followed it.

    Raises:
        UnknownNameError: it is none of these.
    """
    post = name.endswith("++")
    for target in sorted(TARGETS, key=len, reverse=True):
        system = name.removesuffix("++").removeprefix(f"{target}-")
        if name.startswith(f"{target}-") and system in TRAINED_BY:
            return target, system, post
    why = (
        f"no published fine-tuning is called {name!r}: write the target ({', '.join(TARGETS)}), a dash and the pre-training "
        f"({', '.join(TRAINED_BY)}), such as cifar100-dynacl or cifar10-dynacl-air++."
    )
    raise UnknownNameError(why)


LARGE = 200_000  # images or more: of ImageNet, not of CIFAR or STL-10


def target_of(spec: NetworkSpec, classes: int, data: str, pool: int | None = None) -> str:
    """Guess the published target from the network and the data: what `published` takes.

    Args:
        spec: of the pre-trained network.
        classes: of the data.
        data: its name on the command line, which tells STL-10 at 32 pixels from CIFAR-10.
        pool: the number of images of pre-training; None, for published files, takes a wide ResNet as trained on ImageNet-32.
    """
    large = pool is None or pool >= LARGE or spec.classes == 1000
    if spec.arch == "wrn28_10" and large:
        return "imagenet32"
    if spec.arch == "resnet50" and spec.size >= 160:
        return "imagenet224"
    if spec.size >= 64:
        return "stl10"
    if "stl10" in data.lower().replace("-", "").replace("_", ""):
        return "stl10-32"
    return "cifar100" if classes == 100 else "cifar10"


def with_loss(mode: Mode, loss: str) -> Mode:
    """Return adversarial full fine-tuning with another loss.

    Args:
        mode: with an attack, and not linear.
        loss: `trades`; `sat`, the cross-entropy of attacked images; or `fast-at`, the same under one step of 1¼ radii. The
            last two train one set of statistics.
    Raises:
        RequirementError: the mode has one loss only.
        UnknownNameError: no loss has this name.
    """
    if mode.linear or mode.attack is None:
        raise RequirementError(f"{mode.name} has one loss: another one is for aff.")
    if loss not in LOSSES:
        raise UnknownNameError(f"aff has the losses {', '.join(LOSSES)}, got {loss!r}.")
    if loss == "trades":
        return replace(mode, loss=TRADES(6.0), attack=ATTACK, dual_bn=True)
    return replace(mode, loss=SAT(), attack=FAST if loss == "fast-at" else ATTACK, dual_bn=False)


def with_own_loss(mode: Mode, loss: Loss, name: str) -> Mode:
    """Return a mode with a loss of the user's; it has two sets of statistics if the loss reads both routes.

    Args:
        mode: any.
        loss: of one view; it reads attacked inputs if the mode attacks, and natural ones alone if it does not.
        name: see `Mode.own_loss`.
    Raises:
        RequirementError: the loss reads more views, or does not fit the mode.
    """
    if loss.views != 1:
        raise RequirementError(f"the loss {name} reads {loss.views} views, and fine-tuning has one: give another loss.")
    attacked = any(route == "adversarial" for route, _ in loss.streams)
    if attacked != (mode.attack is not None):
        reads, trains = ("attacked" if attacked else "natural"), ("attacked" if mode.attack else "natural")
        raise RequirementError(
            f"the loss {name} reads {reads} inputs, and {mode.name} trains on {trains} ones: take another mode."
        )
    both = len({route for route, _ in loss.streams}) > 1
    return replace(mode, loss=loss, own_loss=name, dual_bn=both and not mode.linear)
