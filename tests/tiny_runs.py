"""Runs that take a second: small images, and settings of three short epochs for any system."""

from dataclasses import replace
from typing import Any

from bright_dark import bright_dark
from torch.utils.data import TensorDataset

from coreselect_integrations.pretraining.presets import defaults
from coreselect_integrations.pretraining.settings import Settings


def images(n: int, seed: int = 7) -> TensorDataset:
    """Dark and bright images of three channels, with labels 0 and 1."""
    return bright_dark(n, channels=3, seed=seed)


def tiny(system: str, **changes: Any) -> Settings:
    """Settings: one epoch on the whole pool, two on a quarter, a small network and an attack of one step."""
    fixed = {
        "arch": "small", "epochs": 3, "batch_size": 16, "optimiser": "sgd", "lr": 0.05, "lr_warmup": 0, "attack_steps": 1,
        "step": 8 / 255, "guard": False, "interval": 1, "fraction": 0.25, "warmup": 1, "every": 1,
    }  # fmt: skip
    return replace(defaults(system), **{**fixed, **changes})
