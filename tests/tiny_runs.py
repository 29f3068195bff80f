"""Runs that take a second: images whose brightness is their class, and settings of three short epochs for any system."""

from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import TensorDataset

from coreselect_integrations.pretraining.presets import defaults
from coreselect_integrations.pretraining.settings import Settings


def images(n: int, seed: int = 7) -> TensorDataset:
    """Bright and dark images of three channels, labelled so."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    return TensorDataset((0.3 + 0.4 * y.view(-1, 1, 1, 1) + 0.2 * torch.rand(n, 3, 8, 8, generator=g)).clamp(0, 1), y)


def tiny(system: str, **changes: Any) -> Settings:
    """One epoch on everything, two on a quarter, a small net and an attack of one step."""
    fixed = {
        "arch": "small", "epochs": 3, "batch_size": 16, "optimiser": "sgd", "lr": 0.05, "lr_warmup": 0, "attack_steps": 1,
        "step": 8 / 255, "interval": 1, "fraction": 0.25, "warmup": 1, "every": 1,
    }  # fmt: skip
    return replace(defaults(system), **{**fixed, **changes})
