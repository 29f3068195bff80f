"""The published settings of every system at small scale, and of named experiments."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from coreselect_integrations.lookup import look_up
from coreselect_integrations.pretraining import image_presets
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.systems import SYSTEMS

_CONTRASTIVE = {
    "epochs": 1000, "batch_size": 512, "optimiser": "lars", "lr": 5.0, "weight_decay": 1e-6, "lr_warmup": 10,
    "floor": 1e-6 / 5.0, "attack_steps": 5, "warmup": 100, "every": 20,
}  # fmt: skip
_SUPERVISED: dict[str, Any] = {"epochs": 100, "lr": 0.1, "weight_decay": 5e-4, "warmup": 10, "every": 10}
_FAST = {
    "epochs": 30, "lr": 0.2, "curve": "triangle", "step": 10 / 255, "attack_steps": 1, "warmup": 3, "every": 3,
}  # fmt: skip
_OWN: dict[str, dict[str, Any]] = {
    "fast-at": _FAST,
    "moco": {
        **_CONTRASTIVE, "epochs": 200, "optimiser": "sgd", "lr": 0.06, "weight_decay": 5e-4, "lr_warmup": 0, "floor": 0.0,
        "temperature": 0.1, "key_momentum": 0.99, "warmup": 20,
    },
    "byol": {**_CONTRASTIVE, "lr": 0.4, "weight_decay": 1.5e-6, "floor": 0.0, "key_momentum": 0.996},
}  # fmt: skip
_IMAGENET32 = {"arch": "wrn28_10", "validation": 0.005, "fraction": 0.05}


def defaults(system: str) -> Settings:
    """Return a system's published small-scale settings.

    Contrastive systems: Xu et al., NeurIPS 2023 (ResNet-18, LARS with rate 5.0, batches of 512, 1000 epochs, 5 attack steps
    of 2/255, selection from epoch 100 on, every 20 epochs). SAT and TRADES: 100 epochs of SGD with rate 0.1, 10 attack steps
    of 2/255, selection from epoch 10 on, every 10 epochs. Fast-AT: Wong et al., ICLR 2020 (30 epochs, a triangular rate up to
    0.2, one attack step of 10/255). MoCo: the notebook of its authors for CIFAR-10 (200 epochs of SGD with rate 0.06, a queue
    of 4096 keys, m = 0.99, t = 0.1). BYOL: nothing was published at this scale; Grill et al., NeurIPS 2020 (LARS with rate
    0.2·B/256, 1000 epochs, τ₀ = 0.996). No paper selects under these two: from a tenth of the epochs on, every 20 epochs.
    One thing is ours: a selection attacks the pool with one step. `preset` has the attack of the published programs, which is
    that of training.

    Raises:
        UnknownNameError: no system has this name.
    """
    supervised = look_up(SYSTEMS, system, "training system").supervised
    return replace(Settings(system=system), **_OWN.get(system, _SUPERVISED if supervised else _CONTRASTIVE))


def _published(system: str) -> Settings:
    """Return a system's settings with the attack of training in selections too, as in the published programs."""
    return replace(defaults(system), select_attack_steps=None)


def _presets() -> dict[str, Settings]:
    small = {f"cifar10-{name}": _published(name) for name in SYSTEMS}
    acl = {
        **_IMAGENET32, "projection": 2, "epochs": 200, "lr": 0.6, "lr_warmup": 2, "floor": 1e-6 / 0.6,
        "temperature": 0.1, "warmup": 20, "every": 10, "select_attack_steps": 1, "rd_steps": 1,
    }  # fmt: skip
    sat = {**_IMAGENET32, "batch_size": 256, "floor": 1e-5, "select_attack_steps": 1, "rd_steps": 1}
    wide = 1.5 * 8 / 255
    fast = replace(defaults("sat"), train_radius=wide, step=1.25 * wide, attack_steps=1)  # ours, not published
    named = {
        **small,
        **{name.replace("cifar10", "cifar100"): preset for name, preset in small.items()},
        "stl10-acl": _published("acl"),
        "stl10-dynacl": _published("dynacl"),
        "imagenet32-cl": replace(_published("cl"), **acl),
        "imagenet32-acl": replace(_published("acl"), **acl),
        "imagenet32-sat": replace(_published("sat"), **sat),
        "cifar10-sat-fast": fast,
        **image_presets.stl10(_published),
        **image_presets.imagenet(_published, _IMAGENET32),
    }
    return {name: _as_published(settings) for name, settings in named.items()}


def _as_published(settings: Settings) -> Settings:
    """Return settings with the groups of the papers, which are training batches, and AIR's formula as it is written."""
    own: dict[str, Any] = {}
    if not settings.supervised or settings.arch != "resnet18":  # nothing was published for SAT on small data
        own["group_size"] = settings.batch_size
    return replace(settings, **own, **({"form": "paper"} if SYSTEMS[settings.system].regularised else {}))


PRESETS: Mapping[str, Settings] = MappingProxyType(_presets())


def preset(name: str) -> Settings:
    """Return the settings of a published experiment.

    Raises:
        UnknownNameError: no preset has this name.
    """
    return look_up(PRESETS, name, "preset")
