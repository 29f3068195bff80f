"""What the commands measure, by name: no attack, PGD-20 (a quarter of the radius a step), AutoAttack, corruptions."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from coreselect.attacks import PGD
from coreselect_integrations.evaluation.accuracy import cross_entropies, evaluate
from coreselect_integrations.evaluation.autoattack import autoattack
from coreselect_integrations.evaluation.corruptions import (
    OURS,
    CorruptionReport,
    evaluate_corruptions,
    evaluate_generated,
)
from coreselect_integrations.evaluation.margin import margin
from coreselect_integrations.evaluation.severities import SEVERITIES

ATTACKS = ("none", "pgd20", "margin", "autoattack")
STEPS = {"none": 0, "pgd20": 20, "margin": 20}  # of PGD; that of the margin raises max_{j ≠ y} z_j − z_y


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
            pgd = PGD(radius, radius / 4 or 1.0, STEPS[name], random_start=name != "none")
            raised = margin if name == "margin" else cross_entropies
            record = evaluate(network, test, attack=pgd, raised=raised, seed=seed, **common)
        out["standard"] = record.standard
        if name != "none":
            out[name] = asdict(record)
    return out


def under_corruptions(
    network: nn.Module,
    test: Dataset[Any],
    corruptions: str,
    *,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    rows: int | None = None,
    size: int | None = None,
    resize: Any = "fit",
    **common: Any,
) -> CorruptionReport:
    """Measure the accuracy on the corrupted images of a folder, or on corruptions that are made here of the test images.

    Args:
        network, test: see `evaluate_generated`.
        corruptions: a folder, or `OURS`.
        severities: some of 1…5.
        seed: of corruptions that are made here.
        rows, size, resize: of the images of a folder, see `evaluate_corruptions`; the test images are as they are.
        common: see `evaluate_corruptions`: batch size, call, device, progress.
    Raises:
        as `evaluate_corruptions` and `evaluate_generated`.
    """
    if corruptions == OURS:
        return evaluate_generated(network, test, severities=severities, seed=seed, **common)
    return evaluate_corruptions(
        network, corruptions, severities=severities, rows=rows, size=size, resize=resize, **common
    )
