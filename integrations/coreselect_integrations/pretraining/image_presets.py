"""Presets of experiments on larger images: STL-10 for AIR at 96 pixels, and ImageNet at 32 and 224 pixels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from coreselect_integrations.pretraining.settings import Settings

Defaults = Callable[[str], Settings]  # system → its published settings at small scale


def stl10(defaults: Defaults) -> dict[str, Settings]:
    """Return the presets of AIR on STL-10, for its unlabelled images of 96 pixels, with the 7×7 stem.

    Source: Xu et al., "Enhancing Adversarial Contrastive Learning via Adversarial Invariant Regularization", NeurIPS 2023:
    the settings of CIFAR-10 with crops of 96 pixels.
    """
    return {f"stl10-{name}": replace(defaults(name), stem="imagenet") for name in ("acl-air", "dynacl-air")}


def imagenet(defaults: Defaults, at_32: dict[str, Any]) -> dict[str, Settings]:
    """Return the presets of supervised systems on ImageNet that are not among the small-scale ones, and ACL at 224 pixels.

    At 224 pixels SAT follows the published program of RCS: ResNet-50, 90 epochs with × 0.1 at the 30th and 60th, batches of
    256, ε = 4/255, three steps of 2ε/3, random resized crops, selections from epoch 10 on. Fast-AT follows Wong et al.,
    "Fast is better than free", ICLR 2020: 15 epochs of one step of 1.25·ε; its growing image sizes are left out. No paper
    has ACL at 224 pixels: this is ACL of ImageNet-32 with that network and ε.

    Args:
        defaults: see above.
        at_32: network and coreset of the experiments at 32 pixels.
    """
    quick: dict[str, Any] = {"select_attack_steps": 1, "rd_steps": 1}
    small: dict[str, Any] = {**at_32, **quick, "batch_size": 256}
    coreset: dict[str, Any] = {"validation": 0.005, "fraction": 0.05}
    large: dict[str, Any] = {
        "arch": "resnet50", "stem": "imagenet", "batch_size": 256, "radius": 4 / 255, **coreset, **quick,
    }  # fmt: skip
    long: dict[str, Any] = {
        **large, "epochs": 90, "weight_decay": 1e-4, "curve": "stairs", "milestones": (29, 59), "step": 8 / 3 / 255,
        "attack_steps": 3, "crop": "resized",
    }  # fmt: skip
    contrastive: dict[str, Any] = {
        "projection": 2, "epochs": 200, "lr": 0.6, "lr_warmup": 2, "floor": 1e-6 / 0.6, "temperature": 0.1, "warmup": 20,
        "every": 10, "step": 1 / 255, "attack_steps": 5,
    }  # fmt: skip
    return {
        "imagenet32-standard": replace(defaults("standard"), **small, floor=1e-5),
        "imagenet32-fast-at": replace(defaults("fast-at"), **small),
        "imagenet224-standard": replace(defaults("standard"), **long),
        "imagenet224-sat": replace(defaults("sat"), **long),
        "imagenet224-fast-at": replace(
            defaults("fast-at"), **large, epochs=15, weight_decay=1e-4, step=5 / 255, crop="resized"
        ),
        "imagenet224-cl": replace(defaults("cl"), **{**large, **contrastive, "batch_size": 512}),
        "imagenet224-acl": replace(defaults("acl"), **{**large, **contrastive, "batch_size": 512}),
    }
