"""Measures of the network of a cell: accuracies, RD of held-out images, and the classes of its last selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from coreselect import Selection, Task
from coreselect.attacks import PGD
from coreselect.certificates.diagnostics import effective_classes
from coreselect.data import labels_of
from coreselect_integrations.comparison.plan import TRAINED, EvaluationMode, Runtime, Study
from coreselect_integrations.evaluation.corruptions import evaluate_generated
from coreselect_integrations.evaluation.named import accuracies
from coreselect_integrations.finetuning import MODES, finetune
from coreselect_integrations.networks import RoutedNetwork, route_call
from coreselect_integrations.pretraining.coreset_file import CORESET
from coreselect_integrations.pretraining.dataset_shape import count_classes, evenly_spaced
from coreselect_integrations.pretraining.run import Pretrained
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.systems.augment import cropped_by, usual_crop


@dataclass(frozen=True, slots=True)
class CellData:
    """The data of a cell and the folder of its run; `sets` are (train, test) by name, with "" for the cell's own data."""

    pool: Any
    validation: Any
    sets: Mapping[str, tuple[Any, Any]]
    folder: Path


def measure(result: Pretrained, data: CellData, study: Study, settings: Settings, runtime: Runtime) -> dict[str, Any]:
    """Return `accuracy` {evaluation: {standard, robust, n}}, `rd` and `classes` of a trained network."""
    return {
        "accuracy": {j: accuracy_by(j, result, data, study, settings, runtime) for j in study.judged},
        "rd": final_rd(result.network, data, replace(study.settings, seed=settings.seed), runtime),
        "classes": classes_covered(data),
    }


def accuracy_by(
    name: str, result: Pretrained, data: CellData, study: Study, settings: Settings, runtime: Runtime
) -> dict[str, float]:
    """Evaluate the network, as it is or after fine-tuning, by PGD-20 on the test images, and as `Study.also` asks."""
    network, radius, how, evaluation = result.network, settings.radius, study.finetuning, EvaluationMode.parse(name)
    train, test = data.sets[evaluation.where]
    if evaluation.mode != TRAINED:
        mode, spec = MODES[evaluation.mode], result.spec
        if mode.attack is not None:
            mode = replace(mode, attack=PGD(radius, 2.5 * radius / how.attack_steps, how.attack_steps))
        mirror = spec.channels > 1 if settings.flip is None else settings.flip
        network = finetune(
            mode, network.state_dict(), spec, evenly_spaced(train, how.rows), classes=count_classes(train), seed=settings.seed,
            epochs=how.epochs, lr=how.lr, batch_size=128, folder=data.folder / name,
            augment=cropped_by(usual_crop(spec.size), spec.size, flip=mirror), num_workers=runtime.num_workers,
            timeout=runtime.timeout, precision=settings.autocast_dtype, device=runtime.device, progress=runtime.progress,
        ).network  # fmt: skip
    common: dict[str, Any] = {"call": route_call, "device": runtime.device, "progress": runtime.progress}
    harder = [name for name in ("margin", "autoattack") if name in study.also]
    found = accuracies(network, test, ["pgd20", *harder], radius=radius, seed=settings.seed, **common)
    out = {"standard": found["standard"], "robust": found["pgd20"]["robust"], "n": found["pgd20"]["n"]}
    out |= {name: found[name]["robust"] for name in harder}
    if "corruptions" in study.also:
        out["corruptions"] = evaluate_generated(network, test, seed=settings.seed, **common).mean
    return out


def final_rd(network: RoutedNetwork, data: CellData, settings: Settings, runtime: Runtime) -> float:
    """Return RD of the validation images at the trained network, by the objective of the settings that all cells share."""
    task = Task.from_model(
        network, data.pool, data.validation, loss=settings.loss(0), attack=settings.select_attack, call=route_call,
        views=settings.views(0), batch_size=runtime.select_batch_size, device=runtime.device,
    )  # fmt: skip
    with task.snapshot(settings.seed, 0) as shot:
        return float(shot.objective(settings.rd).value(shot.theta()))


def classes_covered(data: CellData) -> float | None:
    """Return exp(entropy) of the class histogram of the last selection, or of the pool if there is none; None without labels."""
    path, labels = data.folder / CORESET, labels_of(data.pool)
    trusted = labels_of(data.validation)  # behind the pool where a method draws from it too, over and over
    if labels is None:
        return None
    chosen = np.asarray(labels)
    if path.exists():
        i = Selection.load(path).indices
        own, drawn = i[i < len(chosen)], i[i >= len(chosen)] - len(chosen)
        chosen = np.concatenate([chosen[own], *([] if trusted is None else [trusted[drawn % len(trusted)]])])
    return effective_classes(np.bincount(chosen))
