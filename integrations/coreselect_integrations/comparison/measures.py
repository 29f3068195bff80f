"""What is measured of a trained network: accuracies, RD of held-out images, and the classes of what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Subset

from coreselect import Selection, Task
from coreselect.attacks import PGD
from coreselect.certificates.diagnostics import effective_classes
from coreselect.data import labels_of
from coreselect_integrations.comparison.plan import TRAINED, Judged, Runtime, Study
from coreselect_integrations.evaluation import evaluate
from coreselect_integrations.finetuning import MODES, finetune
from coreselect_integrations.networks import RoutedNetwork, route_call
from coreselect_integrations.pretraining.run import CORESET, Pretrained
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.warmup import count_classes
from coreselect_integrations.systems.augment import crop_flip


@dataclass(frozen=True, slots=True)
class Ground:
    """The data that a cell stands on, and the folder of its run; `sets` are (train, test) by name, "" the cell's own."""

    pool: Any
    validation: Any
    sets: Mapping[str, tuple[Any, Any]]
    folder: Path


def measure(result: Pretrained, ground: Ground, study: Study, settings: Settings, runtime: Runtime) -> dict[str, Any]:
    """Return `accuracy` {judged: {standard, robust, n}}, `rd` and `classes` of a network that has been trained."""
    return {
        "accuracy": {j: judge(j, result, ground, study, settings, runtime) for j in study.judged},
        "rd": divergence(result.network, ground, replace(study.settings, seed=settings.seed), runtime),
        "classes": coverage(ground),
    }


def judge(
    judged: str, result: Pretrained, ground: Ground, study: Study, settings: Settings, runtime: Runtime
) -> dict[str, float]:
    """Evaluate the network as it is, or fine-tuned by a mode on its pool or another set; PGD-20 on that set's test images."""
    network, radius, how, name = result.network, settings.radius, study.finetuning, Judged.named(judged)
    train, test = ground.sets[name.where]
    if name.mode != TRAINED:
        mode, spec = MODES[name.mode], result.spec
        if mode.attack is not None:
            mode = replace(mode, attack=PGD(radius, 2.5 * radius / how.attack_steps, how.attack_steps))
        mirror = spec.channels > 1 if settings.flip is None else settings.flip
        network = finetune(
            mode, network.state_dict(), spec, spread(train, how.rows), classes=count_classes(train), seed=settings.seed,
            epochs=how.epochs, lr=how.lr, batch_size=128, folder=ground.folder / judged,
            augment=partial(crop_flip, pad=spec.size // 8, flip=mirror), num_workers=runtime.num_workers,
            precision=settings.half, device=runtime.device, progress=runtime.progress,
        ).network  # fmt: skip
    found = evaluate(
        network, test, attack=PGD(radius, radius / 4, 20), seed=settings.seed, call=route_call,
        device=runtime.device, progress=runtime.progress,
    )  # fmt: skip
    return {"standard": found.standard, "robust": found.robust, "n": found.n}


def spread(dataset: Any, rows: int | None) -> Any:
    """Return so many of its images, evenly spread: the first ones of a set in the order of its classes are of one class."""
    n = len(dataset)
    return dataset if rows is None or rows >= n else Subset(dataset, [i * n // rows for i in range(rows)])


def divergence(network: RoutedNetwork, ground: Ground, settings: Settings, runtime: Runtime) -> float:
    """Return RD of the validation images at the trained network, by the objective of settings that all cells share."""
    task = Task.from_model(
        network, ground.pool, ground.validation, loss=settings.loss(0), attack=settings.select_attack, call=route_call,
        views=settings.views(0), batch_size=runtime.select_batch_size, device=runtime.device,
    )  # fmt: skip
    with task.snapshot(settings.seed, 0) as shot:
        return float(shot.objective(settings.rd).value(shot.theta()))


def coverage(ground: Ground) -> float | None:
    """Return exp(entropy) of the last selection's class histogram, of the pool's without one; None without labels."""
    path, labels = ground.folder / CORESET, labels_of(ground.pool)
    if labels is None:
        return None
    chosen = np.asarray(labels)
    return effective_classes(np.bincount(chosen[Selection.load(path).indices] if path.exists() else chosen))
