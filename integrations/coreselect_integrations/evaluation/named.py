"""The attacks of the commands by name: none, PGD-20 of a quarter of the radius a step, and AutoAttack's standard version."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from coreselect.attacks import PGD
from coreselect_integrations.evaluation.accuracy import evaluate
from coreselect_integrations.evaluation.autoattack import autoattack

ATTACKS = ("none", "pgd20", "autoattack")


def accuracies(
    network: nn.Module,
    test: Dataset[Any],
    attacks: Sequence[str],
    *,
    radius: float = 8 / 255,
    seed: int = 0,
    **common: Any,
) -> dict[str, Any]:
    """Measure the standard accuracy, and the robust accuracy under each attack.

    Args:
        network, test: see `evaluate`.
        attacks: names in `ATTACKS`.
        radius: l∞, of pixels in [0, 1].
        seed, common: see `evaluate`: batch size, call, device, progress.
    Returns:
        `standard`, and for each attack but `none` the record of its evaluation.
    Raises:
        as `evaluate` and `autoattack`.
    """
    out: dict[str, Any] = {}
    for name in attacks:
        if name == "autoattack":
            record = autoattack(network, test, radius=radius, seed=seed, **common)
        else:
            pgd = PGD(radius, radius / 4 or 1.0, 20 if name == "pgd20" else 0, random_start=name == "pgd20")
            record = evaluate(network, test, attack=pgd, seed=seed, **common)
        out["standard"] = record.standard
        if name != "none":
            out[name] = asdict(record)
    return out
